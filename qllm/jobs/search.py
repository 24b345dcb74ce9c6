"""The search of a run: write candidates, check them, pilot them, select one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from marl.errors import SettingsError
from prompts.cards import TaskCard
from prompts.templates import PromptError, check_folder
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.casting import Cast, recorded_cast
from qllm.jobs.credit import Credit, start_sources
from qllm.jobs.session import Session
from qllm.jobs.surroundings import Replayed, prompt_folder, surroundings
from qllm.jobs.synthesis_bridge import SynthesisRecorder, labelled
from qllm.jobs.trainings import preflight
from synth.loop import SynthesisResult, synthesise


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    status: Literal["finished", "stopped"]
    credit: Credit | None
    """The selected function; None where none could be used, or the search was stopped."""
    document: dict[str, Any]
    """The keys of ``qllm synth --json``."""
    result: SynthesisResult


def given(session: Session, config: RunConfig) -> dict[str, Any]:
    """What a search is given besides its configuration."""
    return {"start": list(start_sources(session.store, config.synth.start))}


def check_search(
    session: Session, config: RunConfig, card: TaskCard, *, models: bool = True
) -> None:
    """Refuse, before any run exists, what can be seen not to work.

    Args:
        models: Whether the configured models have to be there; a replay needs none.

    Raises:
        UsageError: no such model, folder of prompts, device or environment.
    """
    folder = prompt_folder(config)
    if models:
        Cast.check(config, card)
        start_sources(session.store, config.synth.start)
    try:
        if folder is not None:
            check_folder(folder)
        preflight(card, config, config.labels, None)
    except (PromptError, SettingsError) as error:
        raise UsageError(str(error)) from None


def search(
    session: Session,
    run_id: int,
    attempt: int,
    config: RunConfig,
    card: TaskCard,
    replayed: Replayed | None = None,
) -> Found:
    """The synthesis of a run that has begun; the selected function's certificate is kept.

    Args:
        replayed: A run whose recorded traffic answers instead of the models.
    """
    store, sandbox = session.store, session.sandboxes.get(config, card, export=True)
    recorder = SynthesisRecorder(store, run_id, attempt, session.display)
    inputs = dict(store.runs.get(run_id).inputs or {})
    if "start" not in inputs:  # kept as text: a file may change before a resume or a replay
        inputs["start"] = list(start_sources(store, config.synth.start))
    if replayed is None:
        cast = Cast.open(session, config, card, run_id)
    else:
        cast = recorded_cast(store, replayed.run_id)
    try:
        inputs |= cast.told()
        store.runs.set_inputs(run_id, inputs)
        for line in cast.in_words():
            session.display.note(line)
        around = surroundings(
            session, run_id, config, card, sandbox, recorder, cast, replayed, inputs["start"]
        )
        result = synthesise(card, config.synth, around)
    finally:
        cast.close()
    credit = None
    if result.status == "finished" and result.selected is not None:
        report = result.selected.report
        assert report.graph is not None  # accepted, or it would not be selected
        candidate_id = recorder.candidate_ids[result.selected.key]
        name = f"candidate {candidate_id} of run {run_id}"
        credit = Credit(report.graph, name, report, candidate_id, result.pilot_steps)
        credit.keep(store.make_run_dir(run_id), card)
        store.runs.set_inputs(run_id, {**inputs, **credit.inputs()})
    document = _document(result, credit, cast, config, recorder)
    return Found(result.status, credit, document, result)


def _document(
    result: SynthesisResult,
    credit: Credit | None,
    cast: Cast,
    config: RunConfig,
    recorder: SynthesisRecorder,
) -> dict[str, Any]:
    selected, promising = None, None
    if credit is not None and result.selected is not None:
        report = result.selected.report
        selected = {
            "candidate": credit.candidate_id,
            "place": labelled(result.selected.key),
            "graph_hash": report.graph_hash,
            "signature": report.signature,
            "igm": report.igm,
            "finite": report.finite,
            "linear_in_q": report.linear_in_q,
        }
    if result.most_promising is not None:
        furthest = result.most_promising
        promising = {
            "candidate": recorder.candidate_ids[furthest.key],
            "place": labelled(furthest.key),
            "stage": furthest.report.stage,
            "rule": furthest.report.rule,
        }
    return {
        **cast.told(),
        "constraint": config.synth.constraint,
        "candidates": len(result.candidates),
        "accepted": result.accepted,
        "stages": result.stages,
        "selected": selected,
        "decided": result.decided,
        "most_promising": promising,
        "reason": labelled(result.reason),
        "gate": result.gate,
        "rounds": result.rounds,
        "rejections": result.rejections,
        "pilot_steps": result.pilot_steps,
        "pilot_updates": result.pilot_updates,
        "tokens": result.tokens,
        "seconds": result.seconds,
    }
