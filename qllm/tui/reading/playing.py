"""A candidate's function as mathematics and at work, in a process of its own.

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

from qllm.report.episode import CreditEpisode, SliceTrace

if TYPE_CHECKING:
    from marl.demonstration import Actors
    from prompts.cards import TaskCard
    from qllm.store.schema import Run
    from qllm.store.store import Store
    from sandbox.checker import Sandbox


class CannotPlayError(Exception):
    """There is nothing to show, for a reason in a line."""


def episode_from_json(data: Mapping[str, Any]) -> CreditEpisode:
    """An episode back from ``dataclasses.asdict`` as JSON."""
    known = dict(data)
    for name in ("weights", "actions", "agent_qs"):
        known[name] = tuple(tuple(row) for row in known[name])
    known["rewards"], known["action_names"] = tuple(known["rewards"]), tuple(known["action_names"])
    known["slices"] = tuple(
        SliceTrace(
            **{
                **trace,
                "columns": tuple(trace["columns"]),
                "values": tuple(tuple(row) for row in trace["values"]),
            }
        )
        for trace in known["slices"]
    )
    return CreditEpisode(**known)


class AtWork:
    """A candidate's function in a sandbox.

    Raises:
        CannotPlayError: there is nothing to show.
        qllm.store.errors.StoreError: there is no such candidate.
    """

    def __init__(self, store: Store, candidate_id: int) -> None:
        from prompts.cards import CardError, load_card
        from sandbox.graph import GraphError
        from sandbox.reading import read_graph

        self._store, self._row = store, store.synthesis.candidate(candidate_id)
        self._run = store.runs.get(self._row.run_id)
        if self._row.report.get("graph") is None:
            raise CannotPlayError(
                "the sandbox rejected this candidate: there is no function to run"
            )
        try:
            self._card = load_card(self._run.task)
            self._graph = read_graph(self._row.report["graph"])
        except (CardError, GraphError) as error:
            raise CannotPlayError(str(error)) from None
        if (self._graph.n_agents, self._graph.state_dim) != (
            self._card.n_agents,
            self._card.state_dim,
        ):
            raise CannotPlayError("the task's card has changed since this candidate was written")

    def mathematics(self, sandbox: Sandbox) -> str | None:
        """The function in readable form; ``None`` where it has none.

        Reports of earlier versions do not hold it, so that it is worked out.
        """
        report = self._row.report
        if "mathematics" in report:
            return report["mathematics"] if isinstance(report["mathematics"], str) else None
        return sandbox.mathematics(self._graph, self._card)

    def episode(self, sandbox: Sandbox, *, trained: bool) -> CreditEpisode:
        """An episode with the weights that the function gives along it.

        The function is shown and not trained with, so it is not proved again.

        Args:
            sandbox: where the function runs.
            trained: let trained agents act, if a run trained with this function.

        Raises:
            CannotPlayError: there is nothing to show.
        """
        from marl.envs.kinds import plays
        from qllm.errors import UsageError
        from qllm.jobs.explain import explain_episode

        if not plays(self._card):
            raise CannotPlayError(f"task {self._card.name} has no environment to play")
        row = self._row
        try:
            return explain_episode(
                self._graph,
                self._card,
                _policy(self._store, self._run, row.graph_hash, self._card, trained=trained),
                sandbox,
                function=f"candidate {row.id}",
                linear_in_q=bool(row.report.get("linear_in_q")),
            )
        except UsageError as error:
            raise CannotPlayError(str(error)) from None


def _policy(
    store: Store, run: Run, graph_hash: str | None, card: TaskCard, *, trained: bool
) -> Actors:
    """The agents of the newest run that trained with this function, or chance."""
    from marl.demonstration import random_actors
    from marl.settings.stored import stored_env
    from qllm.errors import UsageError
    from qllm.jobs.explain import agents_of

    if trained and graph_hash is not None:
        for other in store.runs.listed(limit=200):
            if (other.inputs or {}).get("graph_hash") != graph_hash:
                continue
            try:
                return agents_of(store, other.id, card)
            except UsageError:
                continue  # a search, or a training without a checkpoint yet
    return random_actors(card, stored_env(run.config, card.env.kind))


def main(words: list[str]) -> int:
    """Print what came of it; 0 unless the candidate cannot be found at all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("candidate", type=int)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--random", action="store_true")
    given = parser.parse_args(words)
    from qllm.store.errors import StoreError
    from qllm.store.store import open_store
    from sandbox.checker import Sandbox, SandboxUnavailable

    answer: dict[str, Any]
    # Libraries that print have no business in the answer.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        with open_store(given.home, readonly=True) as store:
            at_work = AtWork(store, given.candidate)
            with Sandbox(export=False) as sandbox:
                written = at_work.mathematics(sandbox)
                print(json.dumps({"mathematics": written}), file=out, flush=True)
                episode = at_work.episode(sandbox, trained=not given.random)
        answer = {"episode": asdict(episode)}
    except (CannotPlayError, StoreError, SandboxUnavailable, ValueError) as error:
        answer = {"problem": " ".join(str(error).split())}
    with out:
        print(json.dumps(answer), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
