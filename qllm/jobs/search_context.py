"""Context of a search: sandbox, prompts, evaluator, gate, approval by a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from marl.statistics import t_interval
from models.protocol import Constraint
from prompts.cards import TaskCard
from prompts.render import CoderPrompts, EvaluatorPrompts, ShownFunction
from qllm.config.tree import RunConfig
from qllm.jobs.pilot import TrainingPilot, pilot_cost, pilot_plan, seconds_per_update
from qllm.jobs.search_recorder import SynthesisRecorder
from qllm.jobs.session import Session
from qllm.jobs.states import real_states, sample_rows
from sandbox.checker import Sandbox
from sandbox.config import GateMode
from sandbox.names import names_for_prompt
from sandbox.report import CheckReport
from synth.approval import Answer, Person
from synth.budget import Budget
from synth.context import SearchContext, nothing_ahead
from synth.control import ControlPoll
from synth.evaluator import Evaluator, FirstAccepted
from synth.events import Noted, SelectionProposed
from synth.gating import GateSearch
from synth.grammar import GUIDED, STRICT, guided_names, program_grammar
from synth.judge import Judge, LlmEvaluator
from synth.measured import MeasuredEvaluator
from synth.participants import Participants
from synth.requests import RequestSender

SAMPLE_ROWS = 6
"""Real states in the prompts."""


@dataclass(frozen=True)
class Replayed:
    """The run that a replay repeats."""

    run_id: int
    measure: bool = False
    """Whether pilots are trained again; by default their recorded scores count."""


def search_context(
    session: Session,
    run_id: int,
    config: RunConfig,
    card: TaskCard,
    sandbox: Sandbox,
    recorder: SynthesisRecorder,
    models: Participants,
    replayed: Replayed | None,
    start: Sequence[str],
    ending: ExitStack,
) -> SearchContext:
    """The context of a search, for ``synth.loop.synthesise``; ``ending`` closes its resources."""
    synth, source = config.synth, replayed.run_id if replayed else run_id
    control_poll = ControlPoll(session.control)
    budget = Budget(synth, _recorded_budget(session, source) if replayed else None)
    states = real_states(card, config)
    known = {} if replayed and replayed.measure else recorder.known_scores(source)
    plan = pilot_plan(config, card)
    if "measured" in synth.evaluator or config.gate.mode == "auto":
        recorder(Noted(pilot_cost(plan, synth, seconds_per_update(session.store, card.name))))
        if plan.warning:
            recorder(Noted(plan.warning, "warning"))
    on_gpu = trains_on_gpu(config.device)
    pilot = TrainingPilot(
        session,
        card,
        config,
        plan,
        recorder.keep_score,
        models.device_free if on_gpu else nullcontext,
        recorder.keep_progress,
        logs=session.store.make_run_dir(run_id),
    )
    ending.callback(pilot.close)
    measured = MeasuredEvaluator(
        pilot,
        seeds=synth.pilot_seed_values(),
        steps=plan.steps,
        interval=t_interval,
        baseline=synth.pilot_baseline,
        halving=synth.halving,
        known=known,
        ahead=None if on_gpu else pilot.begin,  # models hold the GPU while they write
    )
    judge = None
    if models.evaluator is not None:
        sender = RequestSender(models.evaluator, recorder, control_poll)
        judge = Judge(sender, evaluator_prompts(config, card), ShownFunction, synth, budget.read)

    def check(reply: str, mode: GateMode) -> CheckReport:
        return sandbox.check(reply, card, config.gate.under(mode), states)

    gate: GateMode | GateSearch
    if config.gate.mode == "auto":
        propose = judge.propose_gate if judge is not None else lambda: None
        gate = GateSearch(check, measured, plan.steps, propose)
    else:
        gate = config.gate.mode
        reason = {**config.gate.model_dump(), "reason": "set by the configuration (gate.mode)"}
        recorder.keep_gate(reason)
    return SearchContext(
        coder=models.coder,
        check=check,
        evaluator=_evaluator(synth.evaluator, measured, judge),
        emit=recorder,
        control=session.control,
        render=coder_prompts(config, card),
        gate=gate,
        constraint=constraint(config, card),
        person=_person(session, run_id, source, recorder) if synth.approve == "human" else None,
        start=tuple(start),
        ahead=measured.begin if "measured" in synth.evaluator else nothing_ahead,
        budget=budget,
        control_poll=control_poll,
    )


def coder_prompts(config: RunConfig, card: TaskCard) -> CoderPrompts:
    """The coder's prompts for a task, with real states in them."""
    guided = config.synth.constraint == "guided"
    return CoderPrompts(
        card,
        names=guided_names(card) if guided else names_for_prompt(),
        gate_function=config.gate.function,
        rows=sample_rows(card, config, SAMPLE_ROWS),
        bare=config.synth.constraint != "none",
        guided=guided,
        folder=prompt_folder(config),
    )


def evaluator_prompts(config: RunConfig, card: TaskCard) -> EvaluatorPrompts:
    """The evaluator's prompts for a task, with real states in them."""
    rows = sample_rows(card, config, SAMPLE_ROWS)
    return EvaluatorPrompts(card, rows=rows, folder=prompt_folder(config))


def prompt_folder(config: RunConfig) -> Path | None:
    """The user's folder of templates, if the settings name one."""
    given = config.synth.prompts
    return Path(given).expanduser() if given is not None else None


def constraint(config: RunConfig, card: TaskCard) -> Constraint | None:
    """The constraint on the coder's replies, if any."""
    if config.synth.constraint == "none":
        return None
    limits = {"guided": GUIDED, "strict": STRICT}.get(config.synth.constraint)
    return Constraint("grammar", program_grammar(card, limits=limits))


def _evaluator(kind: str, measured: MeasuredEvaluator, judge: Judge | None) -> Evaluator:
    if judge is not None:
        return LlmEvaluator(judge, measured if kind == "llm+measured" else None)
    return FirstAccepted() if kind == "first" else measured


def trains_on_gpu(device: str) -> bool:
    """Whether trainings on a device, as the settings name it, take a GPU."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def _recorded_budget(session: Session, run_id: int) -> tuple[int, int, str]:
    """Round, repair and reason of a recorded search's early end; out of reach if it had none."""
    for verdict in session.store.synthesis.verdicts(run_id, "budget"):
        said = verdict.reason
        if "round" in said and "repair" in said:
            return said["round"], said["repair"], said.get("reason") or ""
    return 1 << 30, 0, ""


_PROPOSAL = re.compile(r"round-(\d{1,6})-(\d{1,6})")


def _person(session: Session, run_id: int, recorded: int, recorder: SynthesisRecorder) -> Person:
    """Answers that were given before, then those that arrive through the store."""
    given: dict[tuple[int, int], Answer] = {}
    for verdict in session.store.synthesis.verdicts(recorded, "approval"):
        place, said = _PROPOSAL.fullmatch(verdict.key), verdict.reason
        if place is not None and said.get("answer") in ("approve", "reject"):
            given[int(place[1]), int(place[2])] = Answer(
                said["answer"], said.get("selected"), said.get("advice") or None
            )

    def answer(proposal: SelectionProposed) -> Answer | None:
        known = given.pop((proposal.round, proposal.attempt), None)
        if known is not None:
            return known
        command = session.control.take_answer(run_id)
        if command is None:
            return None
        payload = command.payload or {}
        wanted = payload.get("candidate")
        keys = {number: key for key, number in recorder.candidate_ids.items()}
        key = keys.get(wanted) if wanted is not None else None
        if wanted is not None and key is None:
            session.display.note(f"candidate {wanted} is none of this run", "warning")
            return None
        if command.name == "approve":
            return Answer("approve", key, payload.get("advice"))
        return Answer("reject", None, payload.get("advice"))

    return answer
