"""Optuna's study of a sweep, in a SQLite file beside the run store.

A trial that was killed or stopped is left there as running, with the number of its run. Whoever
opens the study again puts it first in the queue, and goes on with that run.
"""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState

from marl.snapshot import differing_settings
from qllm.config.ranges import Param, Range
from qllm.errors import UsageError
from qllm.jobs.continuing import MAY_DIFFER

STORAGE, LOCK = "sweeps.db", "sweeps.lock"
"""Files in the home folder: Optuna's storage, and the locks of running sweeps."""

STARTUP = 5
"""Trials that finish before any is pruned."""


@contextmanager
def open_study(
    home: Path, name: str, asked: Mapping[str, Any], steps: int
) -> Iterator[optuna.Study]:
    """The study of this name, for this process alone; created if missing.

    Args:
        asked: what makes it this sweep and no other, as ``model_dump`` gives it.
        steps: environment steps of a trial, of which the first quarter is never pruned.

    Raises:
        UsageError: another sweep has this name, or it is at work in another process.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with (home / LOCK).open("a") as lock:
        try:  # a byte for each sweep; the kernel frees it when this process ends
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, zlib.crc32(name.encode()))
        except BlockingIOError:
            raise UsageError(f"sweep '{name}' is at work in another process") from None
        storage = optuna.storages.RDBStorage(f"sqlite:///{home / STORAGE}")
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(STARTUP, steps // 4),
                load_if_exists=True,
            )
            _require_same(study, asked)
            for trial in study.get_trials(states=(TrialState.RUNNING,)):
                study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
                study.tell(trial.number, state=TrialState.FAIL)
            yield study
        finally:
            storage.engine.dispose()


def _require_same(study: optuna.Study, asked: Mapping[str, Any]) -> None:
    then = study.user_attrs.get("asked")
    if then is None:
        study.set_user_attr("asked", dict(asked))
        return
    different = list(differing_settings(then, asked, MAY_DIFFER))
    if different:
        raise UsageError(
            f"sweep '{study.study_name}' was begun with other settings ({'; '.join(different)}):"
            " give this one another --name"
        )


def ask(study: optuna.Study, params: Sequence[Param]) -> Trial:
    """The next trial: one that was interrupted, else values that the sampler chooses.

    The sampler's seed is the number of trials so far, so that the choice is the same whichever
    process makes it.
    """
    study.sampler = optuna.samplers.TPESampler(seed=len(decided(study)))
    return study.ask({param.path: _distribution(param) for param in sorted(params, key=str)})


def _distribution(param: Param) -> BaseDistribution:
    if not isinstance(param, Range):
        return CategoricalDistribution(param.values)
    if param.whole:
        return IntDistribution(int(param.low), int(param.high), log=param.log)
    return FloatDistribution(param.low, param.high, log=param.log)


def tell_failed(study: optuna.Study, trial: Trial, error: str) -> None:
    """Record that a trial has no value, and why."""
    trial.set_user_attr("error", error)
    study.tell(trial, state=TrialState.FAIL)


def tell_pruned(study: optuna.Study, trial: Trial) -> None:
    """Record that a trial was stopped as one below the median."""
    study.tell(trial, state=TrialState.PRUNED)


def decided(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended for good, best first, those without a value last.

    Those that were interrupted, and are done again, do not count.
    """
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    count = [t for t in ended if t.state != TrialState.FAIL or "error" in t.user_attrs]
    return sorted(count, key=lambda t: (t.value is not None, t.value or 0.0), reverse=True)


def ending(trial: FrozenTrial) -> str:
    """``finished``, ``pruned`` or ``failed``."""
    states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}
    return states.get(trial.state, "failed")
