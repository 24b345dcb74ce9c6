"""Machine, versions and speed of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qllm.facts.runs import initial_words, single_trainings_of
from qllm.units import count, duration, whole

if TYPE_CHECKING:
    from qllm.store.records import Result
    from qllm.store.schema import Run
    from qllm.store.store import Store

Record = tuple[tuple[str, str], ...]
"""Names and untrusted values; escape them before showing."""


def read_record(store: Store, run: Run) -> Record:
    """What a run recorded beside its curves."""
    config, versions = run.config or {}, dict(run.versions or {})
    rows = [("command", run.command)]
    platform = versions.pop("platform", "")
    if run.host:
        rows.append(("machine", f"{run.host}, {platform}".rstrip(", ")))
    if "device" in config:
        device = f"{config['device']}, {config.get('dtype', '')}, threads {config.get('threads')}"
        rows.append(("device", device))
    if config.get("init_from") is not None:
        rows.append(("began with", "; ".join(initial_words(store.runs.trainings(run.id)))))
    rows.append(("versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    rows += [(algo, _trained(results)) for algo, results in _results(store, run).items()]
    spent = [f"{name} {duration(s)}" for name, s in run.outcome.seconds.items()]
    rows.append(("search", ", ".join(spent)))
    return tuple((name, value) for name, value in rows if value)


def _results(store: Store, run: Run) -> dict[str, list[Result]]:
    """Results of the single trainings that have some, by algorithm."""
    from sqlalchemy import select

    from qllm.store.records import Result
    from qllm.store.schema import Run as Stored

    query = select(Stored.algo, Stored.result).where(*single_trainings_of(run))
    found: dict[str, list[Result]] = {}
    with store.database.read() as session:
        for algo, result in session.execute(query.order_by(Stored.id)):
            if result:
                found.setdefault(str(algo), []).append(Result.model_validate(result))
    return found


def _trained(results: Sequence[Result]) -> str:
    parts = []
    sizes = [r.learnable_parameters for r in results if r.learnable_parameters is not None]
    if sizes:
        parts.append(f"{whole(sizes[0])} parameters")
    rates = [r.env_steps_per_s for r in results if r.env_steps_per_s is not None]
    if rates:
        parts.append(f"{count(sum(rates) / len(rates))} steps/s")
    walls = [r.wall_s for r in results if r.wall_s is not None]
    if walls:
        parts.append(f"{duration(sum(walls) / len(walls))} of training")
    each = f" each, {len(results)} seeds" if len(results) > 1 else ""
    return ", ".join(parts) + each
