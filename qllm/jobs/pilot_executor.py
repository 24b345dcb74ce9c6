"""Pilot trainings as tasks of an executor: the same results as one after the other in this process.

Whoever does a task judges its function again before it trains with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from qllm.display import Display
from qllm.executors.base import Executor
from qllm.executors.queue import TaskQueue
from qllm.jobs.crew import Listener
from qllm.jobs.messages import PilotEnded, PilotOrder
from qllm.jobs.pilot_training import pilot_task
from sandbox.config import SandboxConfig

WAIT_S = 0.2
"""Seconds between two looks at what has ended."""


class ExecutorCrew:
    """An executor that trains pilots, until it is closed; see `qllm.jobs.crew.Crew`.

    Args:
        sandbox: settings with which functions are judged again.
    """

    def __init__(
        self, executor: Executor, sandbox: SandboxConfig, threads: int, display: Display
    ) -> None:
        self._executor, self._sandbox, self._threads = executor, sandbox, threads
        self._queue = TaskQueue(executor, lambda text: display.note(text, "warning"))
        self._ended: dict[int, PilotEnded] = {}

    def add(self, order: PilotOrder) -> int:
        place = self._queue.add(
            f"pilot with seed {order.seed}", pilot_task(order, self._sandbox, self._threads)
        )
        self._queue.begin()
        return place

    def collect(self, places: Sequence[int], to: Listener) -> bool:
        """Wait until the trainings at these places are done; whether all were.

        Workers elsewhere neither pause nor say how far they are; ``to.moved`` is told at the end.
        """
        wanted = set(places)
        while True:
            for place in wanted & self._ended.keys():
                wanted.discard(place)
                to.moved(place, self._ended[place].env_steps)
                to.done(place, self._ended[place])
            if not wanted:
                return True
            if to.told() == "stop":
                return False
            self._queue.begin()
            before = len(self._ended)
            for place, answer in self._queue.ended():
                pilot = answer.get("pilot") or {"error": answer["error"]}
                self._ended[place] = PilotEnded(**pilot)
            if len(self._ended) == before:
                time.sleep(WAIT_S)

    def close(self) -> None:
        self._queue.stop()
        self._executor.close()
