"""``qllm synth``: write candidates, check them, pilot them, select one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from marl.errors import SettingsError
from models.protocol import ChatModel, Completion
from models.replay import ReplayModel, whole_requests
from prompts.cards import TaskCard
from prompts.render import CoderPrompts
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.coders import make_coder
from qllm.jobs.comparison import create_run
from qllm.jobs.credit import Credit
from qllm.jobs.pilot import TrainingPilot
from qllm.jobs.session import Outcome, Session
from qllm.jobs.states import real_states, sample_rows
from qllm.jobs.synthesis_bridge import SynthesisRecorder, labelled
from qllm.jobs.tasks import playable_card, task_card, with_absolute_paths
from qllm.jobs.trainings import preflight
from qllm.store.schema import Run
from sandbox.checker import Sandbox, SandboxUnavailable
from sandbox.names import names_for_prompt
from synth.evaluator import Evaluator, FirstAccepted, MeasuredEvaluator
from synth.loop import SynthesisResult, synthesise

_SAMPLE_ROWS = 6


@dataclass(frozen=True)
class Synthesis:
    """What a synthesis came to."""

    status: Literal["finished", "stopped"]
    credit: Credit | None
    """The selected function; None where none could be used, or the search was stopped."""
    document: dict[str, Any]
    """The keys of ``qllm synth --json``."""


def start_synthesis(session: Session, config: RunConfig) -> Outcome:
    """Search for a credit function and stop after the selection.

    Raises:
        UsageError: the settings cannot work, or the sandbox is not available here.
    """
    config = with_absolute_paths(config)
    card = playable_card(config)
    with ready_to_search(config, card) as sandbox:
        run_id = create_run(session, "synth", config, card)
        return _carry_on(session, run_id, config, card, sandbox)


def resume_synthesis(session: Session, run: Run, config: RunConfig) -> Outcome:
    """Go on without asking again for what was answered, or piloting what was piloted."""
    card = task_card(config)
    with ready_to_search(config, card) as sandbox:
        return _carry_on(session, run.id, config, card, sandbox)


def ready_to_search(config: RunConfig, card: TaskCard) -> Sandbox:
    """The sandbox, opened before any run exists, so that what cannot work leaves no run behind.

    Raises:
        UsageError: no such coder, device or environment, or no sandbox on this machine.
    """
    make_coder(config.synth.coder, card).close()
    try:
        preflight(card, config, config.algorithms, None)
        return Sandbox(config.sandbox)
    except (SettingsError, SandboxUnavailable) as error:
        raise UsageError(str(error)) from None


def _carry_on(
    session: Session, run_id: int, config: RunConfig, card: TaskCard, sandbox: Sandbox
) -> Outcome:
    with session.working(run_id) as attempt:
        found = search(session, run_id, attempt, config, card, sandbox)
        error = None if found.credit else found.document["reason"]
        status: Literal["finished", "stopped", "failed"] = (
            "stopped" if found.status == "stopped" else "finished" if found.credit else "failed"
        )
        session.store.runs.finish(run_id, status, error=error, result=found.document)
    document = {"run": run_id, "task": card.name, "status": status, **found.document}
    return Outcome(run_id, status, document, error, session.control.signal)


def search(
    session: Session,
    run_id: int,
    attempt: int,
    config: RunConfig,
    card: TaskCard,
    sandbox: Sandbox,
) -> Synthesis:
    """The synthesis of a run that has begun; the selected function's certificate is kept."""
    store = session.store
    recorder = SynthesisRecorder(store, run_id, attempt, session.display)
    coder = make_coder(config.synth.coder, card)
    told = {"coder": {"name": coder.name, "is_llm": coder.is_llm}}
    store.runs.set_inputs(run_id, told)
    kind = "language model" if coder.is_llm else "random program writer, no LLM"
    session.display.note(f"coder: {coder.name} ({kind})")
    store.synthesis.record_verdict(
        run_id,
        attempt,
        "gate",
        "gate",
        reason={**config.gate.model_dump(), "reason": "set by the configuration (gate.mode)"},
    )
    states = real_states(card, config)
    replaying = _with_traffic(session, run_id, coder)
    try:
        result = synthesise(
            card,
            replaying,
            lambda reply: sandbox.check(reply, card, config.gate, states),
            _evaluator(session, config, card, recorder),
            config.synth,
            emit=recorder,
            control=session.control,
            render=CoderPrompts(
                card,
                names=names_for_prompt(),
                gate=config.gate.mode,
                gate_function=config.gate.function,
                rows=sample_rows(card, config, _SAMPLE_ROWS),
            ),
        )
    finally:
        replaying.close()
    credit = None
    if result.status == "finished" and result.selected is not None:
        report = result.selected.report
        assert report.graph is not None  # accepted, or it would not be selected
        candidate_id = recorder.candidate_ids[result.selected.key]
        name = f"candidate {candidate_id} of run {run_id}"
        credit = Credit(report.graph, report, name, candidate_id, result.pilot_steps)
        kept = credit.keep(store.run_dir(run_id), card)
        store.runs.set_inputs(run_id, {**told, **kept})
    return Synthesis(result.status, credit, _document(result, credit, coder, config))


def _with_traffic(session: Session, run_id: int, coder: ChatModel) -> ReplayModel:
    """The coder behind the replies that an earlier attempt recorded."""
    replies = []
    for message in session.store.synthesis.traffic(run_id):
        request = message.request or {}
        completion = Completion(
            text=message.content,
            model=message.model or coder.name,
            seed=message.seed,
            prompt_tokens=message.prompt_tokens or 0,
            completion_tokens=message.completion_tokens or 0,
            latency_s=message.latency_s or 0.0,
            finish_reason=request["finish_reason"],
        )
        replies.append((request["key"], request["index"], request["n"], completion))
    return ReplayModel(whole_requests(replies), wrapped=coder)


def _evaluator(
    session: Session, config: RunConfig, card: TaskCard, recorder: SynthesisRecorder
) -> Evaluator:
    if config.synth.evaluator == "first":
        return FirstAccepted()
    return MeasuredEvaluator(
        TrainingPilot(session, card, config, recorder.keep_score),
        seeds=config.synth.pilot_seed_values(),
        steps=config.synth.pilot_steps,
        baseline=config.synth.pilot_baseline,
        known=recorder.known_scores(),
    )


def _document(
    result: SynthesisResult, credit: Credit | None, coder: ChatModel, config: RunConfig
) -> dict[str, Any]:
    selected = None
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
    return {
        "coder": {"name": coder.name, "is_llm": coder.is_llm},
        "candidates": len(result.candidates),
        "accepted": result.accepted,
        "selected": selected,
        "reason": labelled(result.reason),
        "gate": config.gate.mode,
        "rounds": result.rounds,
        "rejections": result.rejections,
        "pilot_steps": result.pilot_steps,
        "seconds": result.seconds,
    }
