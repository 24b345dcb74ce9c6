"""``qllm replay``: repeat a search from its recorded traffic, without any model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qllm.config.build import from_stored
from qllm.errors import UsageError
from qllm.jobs.runner import create_run
from qllm.jobs.search import check_search, search
from qllm.jobs.search_context import Replayed
from qllm.jobs.session import FinalStatus, Outcome, Session
from qllm.jobs.tasks import task_card
from qllm.store.runs import derived_status, require_sound
from qllm.store.schema import Candidate
from qllm.store.states import SEARCHES
from qllm.store.store import Store
from synth.candidates import label


def start_replay(session: Session, run_id: int, *, measure: bool = False) -> Outcome:
    """Repeat a finished search and compare it with its record.

    Everything but the models works as it did: prompts are rendered, candidates are checked in the
    sandbox, the evaluator judges. The result is a run of its own.

    Args:
        measure: whether pilots are trained again, too.

    Raises:
        UnknownRunError: there is no such run.
        UsageError: it holds no finished search.
    """
    store = session.store
    run = store.runs.get(run_id)
    if run.kind not in SEARCHES:
        raise UsageError(f"run {run_id} is a {run.kind}: only a synth or run holds a search")
    status = derived_status(run)
    if not run.result or "reason" not in run.result or "coder" not in (run.inputs or {}):
        raise UsageError(
            f"run {run_id} is {status}: its search has not come to an end yet"
            f" (`qllm resume {run_id}` goes on)"
        )
    require_sound([run])
    config = from_stored(run.config)
    card = task_card(config)
    check_search(session, config, card, models=False)
    start = (run.inputs or {}).get("start", [])
    inputs = {"replay_of": run_id, "start": start}
    again = create_run(session, "synth", config, card, inputs)
    with session.working(again) as attempt:
        found = search(session, again, attempt, config, card, Replayed(run_id, measure))
        status, differing = found.status, list[str]()
        if status == "finished":
            differing = [
                *_different_candidates(store, run_id, again),
                *_different_outcome(run.result, found.document),
            ]
        error = f"it differs from run {run_id}: {differing[0]}" if differing else None
        ended: FinalStatus = "failed" if differing else status
        result = {**found.document, "replay_of": run_id, "differences": differing}
        store.runs.finish(again, ended, error=error, result=result)
    document = {"run": again, "task": card.name, "status": ended, **result}
    return Outcome(again, ended, document, error, session.control.signal)


def _different_candidates(store: Store, recorded: int, again: int) -> Iterator[str]:
    """Candidates that are not the same, in words."""
    before = {_place(c): c for c in store.synthesis.candidates(recorded)}
    after = {_place(c): c for c in store.synthesis.candidates(again)}
    for place in sorted({*before, *after}):
        name = f"candidate {label(*place)}"
        one, two = before.get(place), after.get(place)
        if one is None or two is None:
            yield f"{name} is only in {'the replay' if one is None else 'the record'}"
            continue
        for what in ("source", "verdict", "stage", "rule", "graph_hash"):
            was, now = getattr(one, what), getattr(two, what)
            if was != now:
                yield f"{name}: {what} was {was!s:.60} and is {now!s:.60}"
                break


def _place(candidate: Candidate) -> tuple[int, int, int]:
    return candidate.round, candidate.slot, candidate.repair


def _different_outcome(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Differences in what was selected, and under which gate."""
    for what in ("place", "graph_hash"):
        was, now = ((d.get("selected") or {}).get(what) for d in (before, after))
        if was != now:
            yield f"the selected {what} was {was} and is {now}"
    if before.get("gate") != after.get("gate"):
        yield f"the gate was {before.get('gate')} and is {after.get('gate')}"
