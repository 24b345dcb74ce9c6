"""A task as JSON, and its answer: a piece of a plan, or a pilot training.

Nothing of ours is pickled on the way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm.display import Display
    from qllm.jobs.messages import PilotOrder
    from qllm.plans.plan import Plan
    from sandbox.config import SandboxConfig


def task_of(plan: Plan, index: int, home: Path) -> str:
    """The task that does a piece.

    Args:
        home: of the pieces; every machine sees it under this path.
    """
    threads = plan.settings.threads
    task = {"plan": plan.document(), "index": index, "home": str(home), "threads": threads}
    return json.dumps(task)


def pilot_task(order: PilotOrder, sandbox: SandboxConfig, threads: int) -> str:
    """The task that does a pilot training.

    Args:
        sandbox: settings with which its function is judged anew.
    """
    task = {"order": asdict(order), "sandbox": sandbox.model_dump(mode="json"), "threads": threads}
    return json.dumps(task)


def perform(text: str, display: Display | None = None) -> str:
    """Do a task in this process; a piece's store holds what came of it.

    Returns:
        ``status`` (finished, stopped or failed) and ``error`` as JSON, and ``signal``, the one that
        stopped a piece, or ``pilot``, the fields of `qllm.jobs.messages.PilotEnded`.

    Raises:
        UsageError: the piece is at work elsewhere, or the task is damaged.
    """
    task = json.loads(text)
    os.environ.setdefault("OMP_NUM_THREADS", str(task["threads"]))  # before torch is imported
    if "order" in task:
        from qllm.jobs.pilot_training import perform_pilot

        answer = {"error": None, **perform_pilot(task)}
    else:
        answer = _perform_piece(task, display)
    return json.dumps({"signal": None, **answer})


def _perform_piece(task: Mapping[str, Any], display: Display | None) -> dict[str, Any]:
    from qllm.display import make_display
    from qllm.errors import WorkError
    from qllm.plans.piece import work_on
    from qllm.plans.plan import plan_of

    plan, index = plan_of(task["plan"]), task["index"]
    arguments = ["worker", f"plan {plan.hash[:16]}", "--index", str(index)]
    try:
        outcome = work_on(
            plan, index, Path(task["home"]), display or make_display("plain", json=True), arguments
        )
    except WorkError as error:
        return {"status": "failed", "error": str(error)}
    return {"status": outcome.status, "error": outcome.error, "signal": outcome.signal}
