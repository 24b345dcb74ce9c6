"""``qllm replay``: a search again from its recorded traffic, without any model."""

from __future__ import annotations

from typing import Any, Literal

from qllm.config.build import from_stored
from qllm.errors import UsageError
from qllm.jobs.runner import SEARCHES, create_run
from qllm.jobs.search import check_search, search
from qllm.jobs.session import Outcome, Session
from qllm.jobs.surroundings import Replayed
from qllm.jobs.synthesis_bridge import label
from qllm.jobs.tasks import task_card
from qllm.store.runs import derived_status, require_sound
from qllm.store.schema import Candidate
from qllm.store.store import Store


def start_replay(session: Session, run_id: int, *, measure: bool = False) -> Outcome:
    """Repeat a finished search and hold what comes of it against what was recorded.

    Everything but the models works as it did: prompts are rendered, candidates are checked in the
    sandbox, the evaluator judges. The result is a run of its own.

    Args:
        run_id: A run of kind ``synth`` or ``run``.
        measure: Whether pilots are trained again, too.

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
    again = create_run(session, "synth", config, card)
    start = (run.inputs or {}).get("start", [])
    store.runs.set_inputs(again, {"replay_of": run_id, "start": start})
    with session.working(again) as attempt:
        source = Replayed(run_id, measure)
        found = search(session, again, attempt, config, card, source)
        if found.status == "stopped":
            ended: Literal["stopped", "failed", "finished"] = "stopped"
            differing: list[str] = []
            error = None
        else:
            differing = _differences(store, run_id, again)
            differing += _outcome(run.result, found.document)
            error = f"it differs from run {run_id}: {differing[0]}" if differing else None
            ended = "failed" if differing else "finished"
        result = {**found.document, "replay_of": run_id, "differences": differing}
        store.runs.finish(again, ended, error=error, result=result)
    document = {"run": again, "task": card.name, "status": ended, **result}
    return Outcome(again, ended, document, error, session.control.signal)


def _differences(store: Store, recorded: int, again: int) -> list[str]:
    """Candidates that are not the same, in words."""
    before = {_place(c): c for c in store.synthesis.candidates(recorded)}
    after = {_place(c): c for c in store.synthesis.candidates(again)}
    out = []
    for place in sorted({*before, *after}):
        name = f"candidate {label(*place)}"
        one, two = before.get(place), after.get(place)
        if one is None or two is None:
            out.append(f"{name} is only in {'the replay' if one is None else 'the record'}")
            continue
        for what in ("source", "verdict", "stage", "rule", "graph_hash"):
            if getattr(one, what) != getattr(two, what):
                out.append(
                    f"{name}: {what} was {getattr(one, what)!s:.60} and is"
                    f" {getattr(two, what)!s:.60}"
                )
                break
    return out


def _place(candidate: Candidate) -> tuple[int, int, int]:
    return candidate.round, candidate.slot, candidate.repair


def _outcome(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Differences in what was selected, and under which gate."""
    out = []
    for what in ("place", "graph_hash"):
        one, two = ((d.get("selected") or {}).get(what) for d in (before, after))
        if one != two:
            out.append(f"the selected {what} was {one} and is {two}")
    if before.get("gate") != after.get("gate"):
        out.append(f"the gate was {before.get('gate')} and is {after.get('gate')}")
    return out
