"""The search of a run: write candidates, check them, pilot them, select one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Literal

from marl.errors import SettingsError
from models.protocol import ModelError
from prompts.cards import TaskCard
from prompts.templates import PromptError, check_folder
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.credit import Credit, start_sources
from qllm.jobs.search_context import Replayed, prompt_folder, search_context
from qllm.jobs.search_models import check_models, recorded_models, resumed_models
from qllm.jobs.search_recorder import SynthesisRecorder
from qllm.jobs.session import Session
from qllm.jobs.trainings import check_trainings
from synth.candidates import Candidate, labelled
from synth.context import SynthesisResult
from synth.loop import synthesise


@dataclass(frozen=True)
class Found:
    """Outcome of a search."""

    status: Literal["finished", "stopped"]
    credit: Credit | None
    """The selected function; None where none could be used, or the search was stopped."""
    document: dict[str, Any]
    """The keys of ``qllm synth --json``."""


def check_search(
    session: Session, config: RunConfig, card: TaskCard, *, models: bool = True
) -> None:
    """Check settings, models and prompts before any run exists.

    Args:
        models: whether the configured models have to be there; a replay needs none.

    Raises:
        UsageError: no such model, folder of prompts, device or environment.
    """
    folder = prompt_folder(config)
    try:
        if models:
            check_models(config, card)
            start_sources(session.store, config.synth.start)
        if folder is not None:
            check_folder(folder)
    except (PromptError, SettingsError, ModelError) as error:
        raise UsageError(str(error)) from None
    check_trainings(card, config, None)


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
        models = resumed_models(session, config, card, run_id)
    else:
        models = recorded_models(store, replayed.run_id)
    with closing(models), ExitStack() as ending:
        inputs |= models.document()
        store.runs.set_inputs(run_id, inputs)
        for line in models.lines():
            session.display.note(line)
        context = search_context(
            session,
            run_id,
            config,
            card,
            sandbox,
            recorder,
            models,
            replayed,
            inputs["start"],
            ending,
        )
        result = synthesise(card, config.synth, context)
    credit = None
    if result.status == "finished" and result.selected is not None:
        report = result.selected.report
        assert report.graph is not None  # accepted, or it would not be selected
        candidate_id = recorder.candidate_ids[result.selected.key]
        name = f"candidate {candidate_id} of run {run_id}"
        credit = Credit(report.graph, name, report, candidate_id, result.pilot_steps)
        credit.keep(store.make_run_dir(run_id), card)
        store.runs.set_inputs(run_id, {**inputs, **credit.inputs()})
    document = {
        **models.document(),
        "constraint": config.synth.constraint,
        **_document(result, recorder.candidate_ids),
    }
    return Found(result.status, credit, document)


_SELECTED = ("graph_hash", "signature", "igm", "finite", "linear_in_q")
_REFUSED = ("stage", "rule")
_COUNTED = (
    "accepted", "stages", "decided", "gate", "rounds", "rejections", "pilot_steps", "pilot_updates",
    "tokens", "seconds",
)  # fmt: skip


def _document(result: SynthesisResult, ids: Mapping[str, int]) -> dict[str, Any]:
    def described(candidate: Candidate | None, facts: Sequence[str]) -> dict[str, Any] | None:
        if candidate is None:
            return None
        place = {"candidate": ids[candidate.key], "place": labelled(candidate.key)}
        return {**place, **{name: getattr(candidate.report, name) for name in facts}}

    return {
        "candidates": len(result.candidates),
        **{name: getattr(result, name) for name in _COUNTED},
        "selected": described(result.selected, _SELECTED) if result.status == "finished" else None,
        "most_promising": described(result.most_promising, _REFUSED),
        "reason": labelled(result.reason),
    }
