"""From the trainer's events to the store's rows and a bar on the display."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean

from marl.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    Metrics,
    Noticed,
    Progress,
    Started,
    TrainResult,
)
from qllm.display import Bar
from qllm.export.live import TrainingLogs
from qllm.store.store import Store
from qllm.store.training import EVALUATED, MetricPoint


class TrainingRecorder:
    """Records one training of a run; :meth:`attach` says which attempt, before the first event.

    What the store has recorded also goes to the logs that the training keeps while it runs, and
    what the training noticed to ``notice``, as (what about, text). ``evaluated`` is called when an
    evaluation has been stored.

    Metrics and evaluations are stored as they come (a batch is one transaction): a checkpoint that
    follows them must not be on disk before they are in the store, or a resumed run would lack them.
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        parent_id: int,
        logs: TrainingLogs,
        notice: Callable[[str, str], None],
        evaluated: Callable[[], None],
    ) -> None:
        self._store, self._run_id, self._parent_id = store, run_id, parent_id
        self._logs, self._notice, self._evaluated = logs, notice, evaluated

    def attach(self, attempt: int, bar: Bar) -> None:
        """Record under this attempt, and show progress on this bar."""
        self._attempt, self._bar = attempt, bar
        self._logs.begin(attempt)

    def __call__(self, event: Event) -> None:
        match event:
            case Progress():
                self._bar.update(event.env_steps, rate=event.env_steps_per_s)
            case Metrics():
                self._metrics(event, event.values)
                rate = event.env_steps / event.wall_s if event.wall_s > 0 else None
                self._progress(event.env_steps, rate)
            case Evaluated():
                evaluation = self._store.training.record_evaluation(
                    self._run_id, self._attempt, event.env_steps, event.wall_s, event.returns
                )
                self._logs.add([evaluation])
                means = {name: fmean(values) for name, values in event.metrics.items()}
                self._metrics(event, {EVALUATED + name: value for name, value in means.items()})
                said = [f"{name} {value:.2f}" for name, value in means.items()]
                said.append(f"return {event.mean:.1f}")
                self._bar.update(event.env_steps, detail=", ".join(said))
                self._evaluated()
            case Noticed():
                self._notice(event.about, event.text)
            case Started() | CheckpointSaved():
                pass  # the result repeats the one, and a resume finds the other in the run's folder

    def _metrics(self, event: Metrics | Evaluated, values: Mapping[str, float]) -> None:
        points = [
            MetricPoint(event.env_steps, event.wall_s, name, value)
            for name, value in values.items()
        ]
        self._store.training.record_metrics(self._run_id, self._attempt, points)
        self._logs.add(points)

    def finished(self, result: TrainResult) -> None:
        """The training has returned; its last steps may have been too few for a Metrics event."""
        self._progress(result.env_steps, result.env_steps_per_s)
        self._logs.finish(result.status)

    def _progress(self, env_steps: int, rate: float | None) -> None:
        self._store.runs.progress(self._run_id, env_steps=env_steps, env_steps_per_s=rate)
        self._store.runs.add_up(self._parent_id)
