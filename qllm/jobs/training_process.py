"""The process of one training, as held by its job."""

from __future__ import annotations

from qllm.config.build import from_stored
from qllm.jobs.child_process import ChildProcess
from qllm.jobs.credit import TrainedCredit
from qllm.jobs.messages import Order
from qllm.jobs.tasks import task_card
from qllm.store.schema import Run
from qllm.store.store import Store

LOG_FILE = "worker.log"
"""In the folder of the training's run: whatever its process prints."""


class TrainingProcess(ChildProcess):
    """A training in a process of its own, which saves a checkpoint when it is left alone.

    Args:
        run: the training; ``run.parent_id`` is the run it belongs to.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self, store: Store, run: Run, threads: int, credit: TrainedCredit | None = None
    ) -> None:
        assert run.parent_id is not None
        self.run, self._credit = run, credit
        log = store.make_run_dir(run.id) / LOG_FILE
        super().__init__("qllm.jobs.worker:main", str(run.id), log, threads)
        url = store.database.engine.url.render_as_string(hide_password=False)
        home = str(store.home.resolve())
        graph_hash = None if credit is None else credit.graph.graph_hash
        self.channel.send(Order(run.id, run.parent_id, home, url, graph_hash))

    def death(self, named: str = "") -> str:
        """As any process's, with the memory that its credit function takes."""
        if self._credit is not None:
            config = from_stored(self.run.config)
            named = self._credit.memory(config, task_card(config))
        return super().death(named)
