"""``--continue``: resume the newest run of the same command, so that a batch job can be requeued.

The same command is the same kind of run on the same task with the same settings, seeds and
functions. The settings that may differ take the values that are given now.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from marl.settings.stored import has_retired
from marl.snapshot import MAY_DIFFER as TRAININGS_MAY_DIFFER
from marl.snapshot import differing_settings
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.config.tree import RunConfig
from qllm.jobs.reports import CURVES_FILE, REPORT_FILE
from qllm.jobs.session import Outcome, Session
from qllm.store.process import STALE_AFTER_S
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.states import ACTIVE, Kind
from qllm.store.store import Store

MAY_DIFFER = TRAININGS_MAY_DIFFER | {"parallel", "log", "tracking", "models"}
"""Settings that do not distinguish commands: where and how the work runs, and output beside the
store."""


def to_continue(
    session: Session, kind: Kind, config: RunConfig, inputs: Mapping[str, Any]
) -> Run | None:
    """The newest run of the same command, with the present values of settings that may differ.

    Args:
        config: with absolute paths.
        inputs: what else the command was given; a run that was given other things is another's.
    """
    store = session.store
    run = next(_alike(store, kind, config, inputs), None)
    if run is None:
        return None
    wait_for_a_lost_host(session, run.id)
    run = store.runs.get(run.id)
    if derived_status(run) != "finished":
        for one in store.runs.family(run.id):
            if one.status != "finished":
                store.runs.set_config(one.id, _updated(one.config, config, inner=one.id != run.id))
    return run


def _alike(store: Store, kind: Kind, config: RunConfig, inputs: Mapping[str, Any]) -> Iterator[Run]:
    """The runs of the same command, newest first."""
    for run in store.runs.listed(top_level=True, kind=kind):
        if run.damage or "replay_of" in run.inputs or has_retired(run.config):
            continue
        try:
            then = from_stored(run.config)
        except ConfigError:
            continue  # of another version
        # A search is given its start once it begins.
        given = {
            key: run.inputs.get(key, inputs["start"] if key == "start" else None) for key in inputs
        }
        if kind == "synth" and then.algorithm.name != config.algorithm.name:
            # Of an earlier version, whose searches named no algorithm.
            then = then.model_copy(update={"algorithm": config.algorithm})
        if given == inputs and _same(then, config):
            yield run


def _same(then: RunConfig, now: RunConfig) -> bool:
    """Whether two configurations train the same algorithms in the same way."""
    if (then.labels, then.seeds) != (now.labels, now.seeds):
        return False
    trainings = ((then.for_training(x, 0), now.for_training(x, 0)) for x in now.labels)
    return not any(
        any(differing_settings(one.model_dump(), other.model_dump(), MAY_DIFFER))
        for one, other in trainings
    )


def wait_for_a_lost_host(session: Session, run_id: int) -> None:
    """Give a run that another host worked on until a moment ago the time to be seen dead."""

    def at_work() -> str | None:
        run = session.store.runs.get(run_id)
        elsewhere = derived_status(run) in ACTIVE and run.host != socket.gethostname()
        words = f"run {run_id} may be at work on {run.host}: waiting for a sign"
        return words if elsewhere else None

    session.wait(at_work, STALE_AFTER_S + 10.0)


def _updated(stored: Mapping[str, Any], config: RunConfig, *, inner: bool) -> dict[str, Any]:
    """A stored configuration with the present values of settings that may differ.

    Args:
        inner: whether it is one of several trainings, for which ``parallel`` is not meant.
    """
    now, updated = config.model_dump(mode="json"), dict(stored)
    for name in MAY_DIFFER - ({"parallel"} if inner else set()):
        group, _, key = name.rpartition(".")
        if not group:
            updated[key] = now[key]
        elif key in now[group]:
            updated[group] = {**updated[group], key: now[group][key]}
    return updated


def shown_again(store: Store, run: Run) -> Outcome:
    """The outcome of a run that has finished."""
    folder = store.run_dir(run.id)
    curves = folder / CURVES_FILE
    document = {
        **(run.result or {}),
        "run": run.id,
        "task": run.task,
        "status": "finished",
        "curves_path": str(curves) if curves.is_file() else None,
        "report_path": str(folder / REPORT_FILE),
    }
    return Outcome(run.id, "finished", document)
