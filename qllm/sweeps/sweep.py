"""A sweep from its first trial to its last."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from sqlalchemy.exc import SQLAlchemyError

from qllm.config.ranges import Param
from qllm.config.tree import RunConfig
from qllm.errors import UsageError, WorkError
from qllm.jobs import runner
from qllm.jobs.rows import result_rows
from qllm.jobs.session import FinalStatus, Outcome, Session
from qllm.jobs.tasks import in_scale, playable_card, with_absolute_paths, with_reward_scale
from qllm.jobs.trainings import checked_credit
from qllm.store.errors import UnknownRunError, redact
from qllm.store.runs import derived_status
from qllm.sweeps.pruning import Watch
from qllm.sweeps.study import (
    STORAGE,
    ask,
    decided,
    ending,
    open_study,
    tell_failed,
    tell_pruned,
)


@dataclass(frozen=True)
class Sweep:
    """Specification of a sweep."""

    name: str
    trials: int
    params: Sequence[Param]
    build: Callable[[Sequence[str]], RunConfig]
    """The configuration with ``key=value`` words added."""
    command: Sequence[str]
    """The words of the command that trains without them."""


def run_sweep(session: Session, sweep: Sweep) -> Outcome:
    """Do the trials that are left of a sweep.

    A trial's value is the mean return of the last evaluation, over its seeds. It is pruned where
    none of its evaluations so far reaches the median of the finished trials at the same step. The
    same sweep makes the same trials, however often it is stopped in between.

    Raises:
        UsageError: a range leads to settings that cannot work, another sweep has this name, or it
            is at work elsewhere; nothing was trained.
        WorkError: Optuna's storage cannot be used, or as `qllm.jobs.runner.start` has it.
    """
    try:
        return _Work(session, sweep).work()
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        reason = str(error).splitlines()[0]
        raise WorkError(f"Optuna's storage '{session.store.home / STORAGE}': {reason}") from None


class _Work:
    """A sweep that is being worked on."""

    def __init__(self, session: Session, sweep: Sweep) -> None:
        self._session, self._sweep = session, sweep
        self._base = with_absolute_paths(sweep.build(()))
        self._scale = with_reward_scale(self._base).learner.reward_scale

    def work(self) -> Outcome:
        session, sweep = self._session, self._sweep
        self._check()
        params = " ".join(sorted(map(str, sweep.params)))
        asked = {"--param": params, **self._base.model_dump(mode="json")}
        with open_study(session.store.home, sweep.name, asked, self._base.steps) as study:
            while len(decided(study)) < sweep.trials:
                if session.control() == "stop" or not self._next(study):
                    break
            return self._outcome(decided(study))

    def _config(self, words: Sequence[str]) -> RunConfig:
        """The settings of a trial, with the scale of rewards that was measured once."""
        config = with_absolute_paths(self._sweep.build(words))
        own = config.learner.reward_scale is not None or config.env != self._base.env
        if own or self._scale is None:
            return with_reward_scale(config)
        return in_scale(config, self._scale)

    def _check(self) -> None:
        """Find out whether the trainings can begin, at each end of each range."""
        session = self._session
        for word in ("", *(end for param in self._sweep.params for end in param.ends)):
            config = self._config([word] if word else [])
            try:
                checked_credit(session.store, session.sandboxes, config, playable_card(config))
            except UsageError as error:
                raise UsageError(f"{word}: {error}" if word else str(error)) from None

    def _next(self, study: optuna.Study) -> bool:
        """Do the next trial; returns whether it has ended, and was not stopped by a user."""
        place = f"trial {len(decided(study)) + 1} of {self._sweep.trials}"
        trial = ask(study, self._sweep.params)
        words = self._words(trial.params)
        self._session.display.note(f"{place}: {' '.join(words)}")
        try:
            outcome = self._trained(trial, words)
        except UsageError as error:
            if "run" in trial.user_attrs:
                raise
            self._session.display.note(f"{place} cannot train: {error}", "warning")
            tell_failed(study, trial, str(error))
            return True
        if outcome.status == "stopped" and outcome.error is None:
            return False
        if outcome.status == "stopped":  # for the reason that `Watch` gave
            tell_pruned(study, trial)
        elif outcome.status == "failed":
            tell_failed(study, trial, outcome.error or "")
        else:
            value = result_rows(self._session.store, outcome.run_id)[-1]["return_mean"]
            if value is None:
                tell_failed(study, trial, "its last evaluation is not finite")
            else:
                study.tell(trial, value)
        return True

    def _words(self, values: Mapping[str, Any]) -> list[str]:
        return [param.word(values[param.path]) for param in self._sweep.params]

    def _command(self, values: Mapping[str, Any]) -> str:
        return redact(shlex.join([*self._sweep.command, *self._words(values)]))

    def _trained(self, trial: Trial, words: Sequence[str]) -> Outcome:
        """Train a trial, or resume its interrupted run; returns the outcome."""
        store = self._session.store
        watch = Watch(self._session, trial, self._base, self._sweep.name)
        command = self._command(trial.params)
        session = replace(self._session, command=command, evaluated=watch.evaluated)

        def made(run_id: int) -> None:
            trial.set_user_attr("uid", store.runs.uid(run_id))
            trial.set_user_attr("run", run_id)

        run_id = self._run_of(trial)
        try:
            if run_id is None:
                return runner.start(session, "train", self._config(words), made=made)
            if derived_status(store.runs.get(run_id)) == "finished":
                return Outcome(run_id, "finished", {})
            return runner.resume(session, run_id)
        finally:
            session.control.go_on()

    def _run_of(self, trial: Trial) -> int | None:
        """The run that an interrupted trial had, if it is still the store's."""
        run_id: int | None = trial.user_attrs.get("run")
        try:
            kept = run_id is not None and self._session.store.runs.uid(run_id)
        except UnknownRunError:
            return None
        return run_id if kept and kept == trial.user_attrs["uid"] else None

    def _outcome(self, trials: Sequence[FrozenTrial]) -> Outcome:
        rows = list(map(self._row, trials))
        best = trials[0] if rows and rows[0]["status"] == "finished" else None
        status: FinalStatus = "finished"
        error = None
        if len(trials) < self._sweep.trials:
            status = "stopped"
        elif best is None:
            status, error = "failed", f"no trial finished: {rows[0]['error']}"
        document = {
            "sweep": self._sweep.name,
            "task": self._base.task,
            "algo": self._base.algorithm.label,
            "status": status,
            "asked_trials": self._sweep.trials,
            "trials": rows,
            "best": None if best is None else rows[0],
            "command": None if best is None else self._command(best.params),
            "storage": str(self._session.store.home / STORAGE),
        }
        last = max((row["run"] or 0 for row in rows), default=0)
        return Outcome(last, status, document, error, self._session.control.signal)

    def _row(self, trial: FrozenTrial) -> dict[str, Any]:
        step, value = trial.last_step, trial.value
        if value is None and step is not None:
            value = trial.intermediate_values[step]
        settings = (word.partition("=") for word in self._words(trial.params))
        return {
            "run": trial.user_attrs.get("run"),
            "status": ending(trial),
            "return_mean": value,
            "env_steps": step,
            "settings": {path: text for path, _, text in settings},
            "error": trial.user_attrs.get("error"),
        }
