"""Pilot trainings as tasks of an executor: the same results as one after the other in this process.

Whoever does a task judges its function again before it trains with it.
"""

from __future__ import annotations

import time

from qllm.display import Display
from qllm.executors.base import Executor
from qllm.executors.queue import TaskQueue
from qllm.jobs.crew import WAIT_S, Crew, Listener
from qllm.jobs.messages import PilotEnded, PilotOrder, Word
from qllm.jobs.pilot_training import pilot_task
from sandbox.config import SandboxConfig


class ExecutorCrew(Crew):
    """An executor that trains pilots; its workers neither pause nor report progress.

    Args:
        sandbox: settings with which functions are judged again.
    """

    def __init__(
        self, executor: Executor, sandbox: SandboxConfig, threads: int, display: Display
    ) -> None:
        super().__init__()
        self._executor, self._sandbox, self._threads = executor, sandbox, threads
        self._queue = TaskQueue(executor, lambda text: display.note(text, "warning"))

    def add(self, order: PilotOrder) -> int:
        place = self._queue.add(
            f"pilot with seed {order.seed}", pilot_task(order, self._sandbox, self._threads)
        )
        self._queue.begin()
        return place

    def _listen(self, word: Word, wanted: set[int], to: Listener) -> None:
        self._queue.begin()
        ended = list(self._queue.ended())
        for place, answer in ended:
            pilot = answer.get("pilot") or {"error": answer["error"]}
            self._ended[place] = PilotEnded(**pilot)
        if not ended:
            time.sleep(WAIT_S)

    def close(self) -> None:
        self._queue.stop()
        self._executor.close()
