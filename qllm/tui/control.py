"""What the app asks of jobs, through the store. Called in short threads, never by a widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qllm.store.numbers import run_name

if TYPE_CHECKING:
    from qllm.store.commands import CommandName

_DONE: dict[CommandName, str] = {
    "pause": "is asked to pause: it finishes the step that it is in",
    "resume": "is asked to go on",
    "stop": "is asked to stop: it saves a checkpoint first",
    "stop-after-round": "is asked to stop after this round",
    "approve": "is told that its proposal is approved",
    "reject": "is told that its proposal is rejected",
}


def ask(
    home: Path | None,
    run_ids: Sequence[int],
    what: CommandName,
    payload: Mapping[str, object] | None = None,
) -> list[tuple[str, bool]]:
    """Ask jobs for something.

    Returns:
        What came of it, a line and whether it went well for each run. Runs that no living process
        works on are told apart, since nobody would ever read the request.
    """
    from qllm.store.errors import StoreError
    from qllm.store.runs import derived_status
    from qllm.store.store import open_store

    told: list[tuple[str, bool]] = []
    try:
        with open_store(home) as store:
            for run_id in run_ids:
                status = derived_status(store.runs.get(run_id))
                if status in ("running", "paused"):
                    store.commands.send(run_id, what, payload)
                    told.append((f"run {run_name(run_id)} {_DONE[what]}", True))
                else:
                    told.append((f"run {run_name(run_id)} is {status}: nobody works on it", False))
    except StoreError as error:
        told.append((str(error), False))
    return told
