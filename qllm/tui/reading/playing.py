"""A candidate's function as mathematics and in an episode, in a process of its own.

``python -m qllm.tui.reading.playing CANDIDATE [--home FOLDER] [--random]`` prints a JSON object a
line: ``{"mathematics": ...}``, then ``{"episode": ...}`` as in ``qllm.report.episode``, or
``{"problem": ...}`` in words. It needs torch and the task's environment, neither of which the app
ever loads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qllm.report.episode import CreditEpisode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qllm.store.store import Store


def episode_from_json(data: Mapping[str, Any]) -> CreditEpisode:
    """An episode back from ``dataclasses.asdict`` as JSON."""
    from pydantic import TypeAdapter

    return TypeAdapter(CreditEpisode).validate_python(data)


def _answers(store: Store, candidate_id: int, *, trained: bool) -> Iterator[dict[str, Any]]:
    """The mathematics of a candidate's function, then an episode under it."""
    from qllm.report.credit_episode import CannotPlayError, shown_function
    from sandbox.checker import Sandbox

    row = store.synthesis.candidate(candidate_id)
    run, check = store.runs.get(row.run_id), row.check
    if check.graph is None:
        raise CannotPlayError("the sandbox rejected this candidate: there is no function to run")
    function = shown_function(
        check.graph, run.task, f"candidate {row.id}", linear_in_q=bool(check.linear_in_q)
    )
    with Sandbox(export=False) as sandbox:
        written = check.mathematics
        if "mathematics" not in row.report:  # as in reports of earlier versions
            written = sandbox.mathematics(function.graph, function.card)
        yield {"mathematics": written}
        trainings = _trained_with(store, row.graph_hash) if trained else ()
        yield {"episode": asdict(function.episode(store, run, trainings, sandbox))}


def _trained_with(store: Store, graph_hash: str | None) -> Iterator[int]:
    """The newest runs that trained with a function."""
    for run in store.runs.listed(limit=200):
        if graph_hash is not None and run.given.graph_hash == graph_hash:
            yield run.id


def main(words: list[str]) -> int:
    """Print the answers; returns 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("candidate", type=int)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--random", action="store_true")
    given = parser.parse_args(words)
    from qllm.report.credit_episode import CannotPlayError
    from qllm.store.errors import StoreError
    from qllm.store.store import open_store
    from sandbox.checker import SandboxUnavailable

    # What libraries print must not mix with the answer.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with out:
        try:
            with open_store(given.home, readonly=True) as store:
                for answer in _answers(store, given.candidate, trained=not given.random):
                    print(json.dumps(answer), file=out, flush=True)
        except (CannotPlayError, StoreError, SandboxUnavailable, ValueError) as error:
            print(json.dumps({"problem": " ".join(str(error).split())}), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
