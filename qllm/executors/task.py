"""A task and its answer as JSON. Nothing of ours is pickled."""

from __future__ import annotations

import json
import os
import pkgutil
from typing import TYPE_CHECKING, Any

from prompts.bounded import BoundsError, parse_json
from qllm.errors import UsageError

if TYPE_CHECKING:
    from qllm.display import Display

_PERFORMED_BY = {
    "piece": "qllm.plans.piece:perform_piece",
    "pilot": "qllm.jobs.pilot_training:perform_pilot",
    "study": "bench.results:perform_training",
}
"""By a task's kind what does it: a function of the task and a display. It returns ``status``
(finished, stopped or failed), ``error`` unless it finished, and what is its own to tell."""


def task_of(kind: str, threads: int, **what: Any) -> str:
    """The text of a task.

    Args:
        what: the rest, as JSON.
    """
    return json.dumps({"kind": kind, "threads": threads, **what})


def perform(text: str, display: Display | None = None) -> str:
    """Do a task in this process.

    Returns:
        The answer as JSON: ``status``, ``error``, ``signal`` (the one that stopped it), and more.

    Raises:
        UsageError: it cannot be done here, or is damaged.
    """
    try:
        task = parse_json(text)
    except BoundsError as error:
        raise UsageError(f"the task is damaged: {error}") from None
    place = _PERFORMED_BY.get(str(task.get("kind"))) if isinstance(task, dict) else None
    if place is None or not isinstance(task.get("threads"), int):
        raise UsageError("the task is damaged, or of a kind that this version does not know")
    os.environ.setdefault("OMP_NUM_THREADS", str(task["threads"]))  # before torch is imported
    from qllm.display import make_display

    answer = pkgutil.resolve_name(place)(task, display or make_display("plain", json=True))
    return json.dumps({"error": None, "signal": None, **answer})
