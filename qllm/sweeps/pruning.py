"""The evaluations of a trial on their way to Optuna's pruner."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

from optuna.trial import Trial

from qllm.config.tree import RunConfig
from qllm.jobs.session import Session
from qllm.units import whole


@dataclass
class Watch:
    """Reports a trial's evaluations, and stops its run where it is to be pruned.

    A step is one of environment steps, rounded down to whole ``evaluation.every``, so that trials
    with other episodes can be compared; the steps of a second seed follow those of the first.
    """

    session: Session
    trial: Trial
    base: RunConfig
    """Settings that all trials of the sweep have."""
    sweep: str
    """Its name."""
    reported: set[int] = field(default_factory=set)

    def evaluated(self) -> None:
        """Report what the store has and Optuna has not."""
        store, steps = self.session.store, self.base.steps
        for at, training in enumerate(store.runs.trainings(self.trial.user_attrs["run"])):
            for done in store.training.evaluations(training.id):
                every = self.base.evaluation.every
                step = steps if done.env_steps >= steps else done.env_steps // every * every
                if step and at * steps + step not in self.reported:
                    self._report(at * steps + step, fmean(done.returns))

    def _report(self, step: int, value: float) -> None:
        self.reported.add(step)
        self.trial.report(value, step)
        if self.trial.should_prune():
            self.session.control.stop_because(
                f"pruned at step {whole(step)}: mean return so far below the median of the trials"
                f" of sweep '{self.sweep}'"
            )
