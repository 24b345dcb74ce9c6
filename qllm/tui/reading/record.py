"""What a run recorded of itself: where and with what it ran, and how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qllm.units import count, duration, whole

if TYPE_CHECKING:
    from qllm.store.schema import Run
    from qllm.store.store import Store

Record = tuple[tuple[str, str], ...]
"""Names and values in words, some of them written by others: make them safe before showing."""


def read_record(store: Store, run: Run) -> Record:
    """What is known of a run beside its curves."""
    rows = [("command", run.command)]
    if run.host:
        rows.append(("machine", f"{run.host}, {run.versions.get('platform', '')}".rstrip(", ")))
    config: Mapping[str, Any] = run.config or {}
    if "device" in config:
        threads = config.get("threads")
        rows.append(("device", f"{config['device']}, {config.get('dtype', '')}, threads {threads}"))
    versions = {k: v for k, v in (run.versions or {}).items() if k != "platform"}
    if versions:
        rows.append(("versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    for algo, results in _results(store, run).items():
        rows.append((algo, _trained(results)))
    seconds = (run.result or {}).get("seconds") or {}
    spent = [f"{name} {duration(s)}" for name, s in seconds.items() if isinstance(s, int | float)]
    if spent:
        rows.append(("search", ", ".join(spent)))
    return tuple(rows)


def _results(store: Store, run: Run) -> dict[str, list[Mapping[str, Any]]]:
    """What the single trainings came to, by algorithm; without those that came to nothing yet."""
    from sqlalchemy import select

    from qllm.store.schema import Run as Stored

    mine = Stored.id == run.id if run.seed is not None else Stored.parent_id == run.id
    query = select(Stored.algo, Stored.result).where(mine, Stored.kind == "train")
    found: dict[str, list[Mapping[str, Any]]] = {}
    with store.database.read() as session:
        for algo, result in session.execute(query.order_by(Stored.id)):
            if algo and result:
                found.setdefault(algo, []).append(result)
    return found


def _trained(results: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    parameters = next(
        (r["learnable_parameters"] for r in results if _has(r, "learnable_parameters")), None
    )
    if parameters is not None:
        parts.append(f"{whole(parameters)} parameters")
    rates = [r["env_steps_per_s"] for r in results if _has(r, "env_steps_per_s")]
    if rates:
        parts.append(f"{count(sum(rates) / len(rates))} steps/s")
    walls = [r["wall_s"] for r in results if _has(r, "wall_s")]
    if walls:
        parts.append(f"{duration(sum(walls) / len(walls))} of training")
    each = f" each, {len(results)} seeds" if len(results) > 1 else ""
    return ", ".join(parts) + each


def _has(result: Mapping[str, Any], name: str) -> bool:
    return isinstance(result.get(name), int | float)
