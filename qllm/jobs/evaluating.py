"""Greedy episodes of trainings that are in the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marl.errors import CheckpointError, SettingsError, TrainingError
from marl.evaluation import Evaluation
from marl.statistics import t_interval
from marl.trained import Which, evaluate
from prompts.cards import TaskCard
from qllm.config.errors import ConfigError
from qllm.errors import UsageError, WorkError
from qllm.jobs.explain import card_of, trained_in
from qllm.store.numbers import run_name
from qllm.store.schema import Run
from qllm.store.store import Store

_QUIET_S = 2.0
"""Interval between two progress notes."""


@dataclass(frozen=True)
class EvaluatedTraining:
    """Result of greedy episodes of a training."""

    run: Run
    step: int
    """Environment steps that the networks were trained for."""
    evaluation: Evaluation
    env_steps_per_s: float

    def document(self) -> dict[str, Any]:
        """As JSON: statistics, and every episode's return and metrics."""
        import statistics

        returns, metrics = self.evaluation.returns, self.evaluation.metrics
        return {
            "run": self.run.id,
            "number": self.run.name,
            "algo": self.run.algo,
            "training_seed": self.run.seed,
            "trained_on": self.run.task,
            "step": self.step,
            **_of("return", returns),
            "return_median": statistics.median(returns),
            "return_min": min(returns),
            "return_max": max(returns),
            "metrics": list(metrics),
            **{key: v for name, own in metrics.items() for key, v in _of(name, own).items()},
            "env_steps_per_s": self.env_steps_per_s,
            "returns": list(returns),
            "metric_values": {name: list(own) for name, own in metrics.items()},
        }


def _of(name: str, values: tuple[float, ...]) -> dict[str, Any]:
    """Mean and t interval over episodes."""
    ends = t_interval(values)
    return {
        f"{name}_mean": sum(values) / len(values),
        f"{name}_mean_ci": None if ends is None else list(ends),
    }


def evaluate_run(
    store: Store,
    run_id: int,
    *,
    which: Which,
    episodes: int,
    seed: int,
    card: TaskCard | None,
    tell: Callable[[str], None],
) -> list[EvaluatedTraining]:
    """Greedy episodes of every training of a run, the same ones for all.

    Args:
        card: the task that is played; by default the one that was learned.
        tell: what keeps one of several trainings from being evaluated, and what environments
            report.

    Raises:
        UsageError: none of them can be evaluated.
        WorkError: an environment failed.
        qllm.store.runs.UnknownRunError: there is no such run.
    """
    found, problems, told = list[EvaluatedTraining](), list[str](), time.monotonic()
    trainings = store.runs.trainings(run_id)
    for at, run in enumerate(trainings):
        if time.monotonic() - told > _QUIET_S:
            told = time.monotonic()
            tell(f"{at} of {len(trainings)} trainings have played")
        try:
            own = card_of(run)
            trained = trained_in(store, run, own, which)
            done, speed = evaluate(trained, card or own, episodes, seed, tell)
        except (CheckpointError, ConfigError, SettingsError, UsageError) as error:
            problems.append(f"run {run.name}: {error}")
            continue
        except TrainingError as error:
            raise WorkError(f"run {run.name}: {error}") from None
        found.append(EvaluatedTraining(run, trained.step, done, speed))
    if not found:
        raise UsageError(problems[0] if problems else f"run {run_name(run_id)} has no training")
    for line in problems:
        tell(line)
    return found
