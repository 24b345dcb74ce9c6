"""What leaves the store, record by record: the same for an export and for a log that is written
while training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qllm.store.schema import Run
from qllm.store.training import EvaluationPoint, MetricPoint

METRICS = ("run", "algo", "seed", "env_steps", "wall_s", "name", "value")
"""Fields of a metric's record. ``value`` is None where the number was not finite."""
EVALUATIONS = ("run", "algo", "seed", "env_steps", "wall_s", "episode", "return")
"""Fields of an episode's record; ``episode`` counts from 0 within its evaluation."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """The training whose numbers they are."""

    run: int
    algo: str
    seed: int
    began: float
    """When it was started for the first time, in seconds since the epoch."""

    @classmethod
    def of(cls, run: Run) -> Source:
        """The source for a run that trains one algorithm with one seed, and has begun."""
        assert run.algo is not None
        assert run.seed is not None
        began = run.created if run.started is None else run.started
        return cls(run.id, run.algo, run.seed, began)

    def metric(self, point: MetricPoint) -> Record:
        """The record of one number."""
        at = (self.run, self.algo, self.seed, point.env_steps, point.wall_s)
        return dict(zip(METRICS, (*at, point.name, point.value), strict=True))

    def episodes(self, point: EvaluationPoint) -> Iterator[Record]:
        """The records of one evaluation, an episode each."""
        at = (self.run, self.algo, self.seed, point.env_steps, point.wall_s)
        for episode, value in enumerate(point.returns):
            yield dict(zip(EVALUATIONS, (*at, episode, value), strict=True))
