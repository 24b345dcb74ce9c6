"""A task: one piece of a plan as JSON, and its answer. Nothing of ours is pickled on the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm.display import Display
    from qllm.plans.plan import Plan


def task_of(plan: Plan, index: int, home: Path) -> str:
    """The task that does a piece.

    Args:
        home: of the pieces; every machine sees it under this path.
    """
    threads = plan.settings.threads
    task = {"plan": plan.document(), "index": index, "home": str(home), "threads": threads}
    return json.dumps(task)


def perform(text: str, display: Display | None = None) -> str:
    """Do a task in this process; the piece's store holds what came of it.

    Returns:
        ``status`` of the piece (finished, stopped or failed), ``error`` and ``signal`` as JSON.

    Raises:
        UsageError: the piece is at work elsewhere, or the task is damaged.
    """
    task = json.loads(text)
    os.environ.setdefault("OMP_NUM_THREADS", str(task["threads"]))  # before torch is imported
    from qllm.display import make_display
    from qllm.errors import WorkError
    from qllm.plans.piece import work_on
    from qllm.plans.plan import plan_of

    plan, index = plan_of(task["plan"]), task["index"]
    arguments = ["worker", f"plan {plan.hash[:16]}", "--index", str(index)]
    answer: dict[str, Any] = {"status": "failed", "signal": None}
    try:
        outcome = work_on(
            plan, index, Path(task["home"]), display or make_display("plain", json=True), arguments
        )
        answer |= {
            "status": outcome.status,
            "error": outcome.error,
            "signal": outcome.signal,
        }
    except WorkError as error:
        answer["error"] = str(error)
    return json.dumps(answer)
