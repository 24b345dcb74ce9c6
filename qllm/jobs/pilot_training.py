"""One pilot training, from an order in JSON: in the job's process, in one of its crew, or anywhere.

A process that a job started on this machine proves nothing: the job has had the function judged.
A worker elsewhere judges it again before it trains with it.
"""

from __future__ import annotations

import atexit
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qllm.errors import UsageError
from qllm.executors.task import task_of
from qllm.jobs.messages import PilotEnded, PilotOrder, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from marl.events import Emit
    from qllm.display import Display
    from sandbox.checker import Sandbox
    from sandbox.config import SandboxConfig


def train_pilot(
    order: PilotOrder, sandbox: Sandbox | None, emit: Emit, control: Callable[[], Word]
) -> PilotEnded | None:
    """Do the training that is ordered; returns its result, or None where it was stopped.

    Args:
        sandbox: rehearses the function's first batch; None in a process that may die of it.
    """
    from marl.errors import SettingsError, TrainingError
    from marl.settings.train import TrainConfig
    from marl.trainer import Trainer
    from prompts.cards import TaskCard
    from qllm.jobs.credit import watched_credit
    from sandbox.reading import read_graph

    function = watch = None
    if order.graph is not None:
        function, watch = watched_credit(read_graph(order.graph), sandbox)
    try:
        result = Trainer(
            TaskCard.model_validate(order.card),
            TrainConfig.model_validate(order.config),
            order.seed,
            credit=function,
            credit_watch=watch,
            emit=emit,
            control=control,
        ).run()
    except (TrainingError, SettingsError) as error:
        return PilotEnded(error=str(error))
    if result.status == "stopped":
        return None
    evaluations = [(e.env_steps, list(e.returns)) for e in result.evaluations]
    return PilotEnded(result.env_steps, result.updates, evaluations)


def pilot_task(order: PilotOrder, sandbox: SandboxConfig, threads: int) -> str:
    """The task that does a pilot training.

    Args:
        sandbox: settings with which its function is judged anew.
    """
    settings = sandbox.model_dump(mode="json")
    return task_of("pilot", threads, order=asdict(order), sandbox=settings)


def perform_pilot(task: Mapping[str, Any], display: Display) -> dict[str, Any]:
    """Do `pilot_task`, in a worker of an executor.

    Returns:
        ``status``, and ``pilot``, the fields of `PilotEnded`, or ``error``.
    """
    order = _order_of(task)
    if order.graph is not None:
        refused = _refusal(order, task)
        if refused is not None:
            return {"status": "failed", "error": refused}
    ended = train_pilot(order, None, lambda event: None, lambda: "continue")
    assert ended is not None  # nobody told it to stop
    return {"status": "finished", "pilot": asdict(ended)}


def _order_of(task: Mapping[str, Any]) -> PilotOrder:
    from marl.settings.train import TrainConfig
    from prompts.cards import TaskCard

    try:
        order = PilotOrder(**task["order"])
        TaskCard.model_validate(order.card)
        TrainConfig.model_validate(order.config)
        if type(order.seed) is not int:
            raise TypeError("the seed is no number")
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the task is damaged: {str(error).splitlines()[0]}") from None
    return order


_opened: dict[str, Sandbox] = {}
"""The sandbox of this process, by its settings: warming one up takes seconds."""


def _refusal(order: PilotOrder, task: Mapping[str, Any]) -> str | None:
    """Reason why the order's function is refused; None where it is accepted."""
    from prompts.cards import TaskCard
    from sandbox.checker import Sandbox, SandboxUnavailable
    from sandbox.config import SandboxConfig
    from sandbox.gate import ungated
    from sandbox.graph import GraphError
    from sandbox.reading import read_graph

    try:
        graph, settings = read_graph(order.graph), SandboxConfig.model_validate(task["sandbox"])
        if graph.gate is None:
            raise ValueError("its function has no gate")
    except (GraphError, KeyError, ValueError) as error:
        raise UsageError(f"the task is damaged: {str(error).splitlines()[0]}") from None
    key = settings.model_dump_json()
    try:
        if key not in _opened:
            _close()
            _opened[key] = Sandbox(settings, export=False)
        card = TaskCard.model_validate(order.card)
        report = _opened[key].check_graph(ungated(graph), card, graph.gate)
    except SandboxUnavailable as error:
        return str(error)
    if report.accepted and report.graph_hash == graph.graph_hash:
        return None
    return f"its function was refused where it was to be trained: {report.feedback}"


@atexit.register
def _close() -> None:
    for sandbox in _opened.values():
        sandbox.close()
    _opened.clear()
