"""From the store's rows of a synthesis to what a report says of it.

The selection is that of the last finished round, which is the best of all rounds so far. Candidates
are called what the display calls them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from prompts.bounded import BoundsError, read_json
from qllm.jobs.credit import CERTIFICATE
from qllm.report.data import (
    CandidateFacts,
    ConversationFacts,
    CreditFacts,
    PropertyFacts,
    RoundFacts,
    SynthesisFacts,
    TurnFacts,
)
from qllm.report.pilots import pilot_facts
from qllm.store.schema import Candidate, ChatMessage, Round, Run, Verdict
from qllm.store.store import Store
from synth.candidates import label, labelled

Json = Mapping[str, Any]

# The opening of a round, or what was said about one of its candidates.
_CONVERSATION = re.compile(
    r"r(\d{1,6})(?:\.s(\d{1,6})|\.(select|advice|gate)(?:\.\d{1,6})?)?(?:\.\d{1,6})?(-\d{1,6})?"
)
"""Round, slot, what an evaluator was asked, and whether something was left out."""
_ASKED = {"select": "selection", "advice": "advice", "gate": "proposal for the gate"}


def synthesis_facts(store: Store, family: Sequence[Run]) -> SynthesisFacts | None:
    """What was written, checked and selected in a run or in one that belongs to it.

    None where there was no synthesis.
    """
    run = synthesis_run(store, family)
    if run is None:
        return None
    candidates = store.synthesis.candidates(run.id)
    rounds = store.synthesis.rounds(run.id)
    verdicts = store.synthesis.verdicts(run.id)
    messages = store.synthesis.messages(run.id)
    labels = {c.id: label(c.round, c.slot, c.repair) for c in candidates}
    selected = _selected(rounds)
    hashes = {c.id: c.graph_hash for c in candidates}
    chosen_hash = hashes.get(selected) if selected is not None else None
    pilots, curves = pilot_facts(verdicts, labels, selected, chosen_hash)
    by_hash = _whole_scores(verdicts)
    coder, is_llm = _coder(run, messages)
    return SynthesisFacts(
        coder=coder,
        coder_is_llm=is_llm,
        gate=_gate(run.config, verdicts),
        candidates=tuple(
            replace(
                _candidate(c, labels, c.id == selected, by_hash.get(c.graph_hash), run.task),
                given=_given(run, c),
            )
            for c in candidates
        ),
        rounds=tuple(_round(r, labels) for r in rounds),
        pilots=pilots,
        pilot_curves=curves,
        pilot_seeds=_pilot_seeds(verdicts),
        pilot_steps=sum(p.env_steps for p in pilots),
        selected=labels.get(selected) if selected is not None else None,
        decided=store.synthesis.decided(run.id),
        selection_reason=labelled(next((r.reason for r in reversed(rounds) if r.reason), "")),
        gate_reason=_gate_reason(verdicts),
        conversations=_conversations(messages),
    )


def synthesis_run(store: Store, family: Sequence[Run]) -> Run | None:
    """The run among these that the synthesis is recorded under."""
    for run in family:
        if run.kind in ("synth", "run") and (
            store.synthesis.rounds(run.id) or store.synthesis.candidates(run.id)
        ):
            return run
    return next((run for run in family if run.kind in ("synth", "run")), None)


def isolation(store: Store, family: Sequence[Run]) -> Json:
    """The layers that stood around the candidates' processes, as the last check reported them."""
    run = synthesis_run(store, family)
    candidates = store.synthesis.candidates(run.id) if run is not None else []
    return candidates[-1].report.get("layers") or {} if candidates else {}


def _selected(rounds: Sequence[Round]) -> int | None:
    """The selection of the last finished round, which is the best of all rounds so far."""
    finished = [r for r in rounds if r.status == "finished"]
    return finished[-1].selected_candidate_id if finished else None


def _coder(run: Run, messages: Sequence[ChatMessage]) -> tuple[str, bool]:
    """The coder's name, and whether it is a language model."""
    told = run.inputs.get("coder") if run.inputs else None
    if isinstance(told, Mapping):
        return str(told.get("name")), bool(told.get("is_llm"))
    configured = str((run.config.get("synth") or {}).get("coder", "unknown"))
    name = next((m.model for m in messages if m.model), configured)
    return name, name not in ("sampler", "auto")


def _whole_scores(verdicts: Sequence[Verdict]) -> dict[str | None, float | None]:
    """Final returns of the functions that were trained for all steps, by graph hash."""
    pilots = [v for v in verdicts if v.kind == "pilot"]
    most = max((v.reason.get("steps") or 0 for v in pilots), default=0)
    whole = [v for v in pilots if (v.reason.get("steps") or 0) == most]
    by_hash = {v.reason.get("graph_hash"): v.reason.get("final_mean") for v in whole}
    return {graph_hash: value for graph_hash, value in by_hash.items() if graph_hash}


def _gate(config: Json, verdicts: Sequence[Verdict]) -> str:
    gate = dict(config.get("gate") or {})
    for verdict in verdicts:
        if verdict.kind == "gate":
            gate["mode"] = verdict.reason.get("mode", gate.get("mode"))
    mode, function = str(gate.get("mode", "unknown")), gate.get("function")
    words = f"{mode} ({function})" if mode == "enforce" and function else mode
    return words + (", scaled by the number of agents" if gate.get("scale_by_agents") else "")


def _gate_reason(verdicts: Sequence[Verdict]) -> str:
    reasons = [v.reason.get("reason") for v in verdicts if v.kind == "gate"]
    if not reasons or not reasons[-1]:
        return ""
    told = labelled(str(reasons[-1]))
    gate = next(v for v in reversed(verdicts) if v.kind == "gate")
    proposal = (gate.reason.get("evidence") or {}).get("proposal")
    if not isinstance(proposal, Mapping):
        return told
    model, mode, reason = (proposal.get(key) for key in ("model", "mode", "reason"))
    return f"{told}. {model} proposed {mode}: {reason}"


def _given(run: Run, row: Candidate) -> bool:
    """Whether a candidate stands in a slot after the coder's, where what is given is put."""
    given = len((run.inputs or {}).get("start") or ())
    slots = (run.config.get("synth") or {}).get("candidates", 0)
    return row.round == 0 and slots <= row.slot < slots + given


def _candidate(
    row: Candidate,
    labels: Mapping[int, str],
    selected: bool,
    pilot_mean: float | None,
    task: str,
) -> CandidateFacts:
    report = row.report
    bounds = report.get("weight_bounds")
    return CandidateFacts(
        id=row.id,
        label=labels[row.id],
        round=row.round,
        slot=row.slot,
        repair=row.repair,
        parent=labels.get(row.parent_id) if row.parent_id is not None else None,
        verdict=row.verdict,
        stage=row.stage,
        rule=row.rule,
        code=str(report.get("code") or row.source),
        reply=row.source,
        feedback=str(report.get("feedback") or ""),
        signature=report.get("signature"),
        gate=report.get("gate"),
        igm=report.get("igm"),
        finite=report.get("finite"),
        linear_in_q=report.get("linear_in_q"),
        weight_bounds=tuple((low, high) for low, high in bounds) if bounds else None,
        q_bound=report.get("q_bound"),
        properties=tuple(_property(p) for p in report.get("properties") or ()),
        graph_hash=row.graph_hash,
        duplicate_of=labels.get(row.duplicate_of) if row.duplicate_of is not None else None,
        elapsed_s=report.get("elapsed_s"),
        pilot_mean=pilot_mean,
        selected=selected,
        mathematics=text_or_none(report.get("mathematics")),
    )


def _property(data: Json) -> PropertyFacts:
    return PropertyFacts(
        name=str(data.get("name")),
        status=str(data.get("status")),
        examples=int(data.get("examples") or 0),
        counterexample=data.get("counterexample"),
        detail=str(data.get("detail") or ""),
    )


def _round(row: Round, labels: Mapping[int, str]) -> RoundFacts:
    chosen = row.selected_candidate_id
    return RoundFacts(
        round=row.round,
        selected=labels.get(chosen) if chosen is not None else None,
        reason=labelled(row.reason or ""),
        advice=labelled(row.advice or ""),
        finished=row.status == "finished",
    )


def _pilot_seeds(verdicts: Sequence[Verdict]) -> tuple[int, ...]:
    seeds = {int(s) for v in verdicts if v.kind == "pilot" for s in v.reason.get("seeds") or ()}
    return tuple(sorted(seeds))


def _conversations(messages: Sequence[ChatMessage]) -> tuple[ConversationFacts, ...]:
    talks = {
        name: tuple(_turn(message) for message in turns)
        for name, turns in groupby(messages, key=lambda message: message.conversation)
    }
    places = {name: _CONVERSATION.fullmatch(name) for name in talks}

    def order(name: str) -> tuple[int, int, str]:
        place = places[name]
        if place is None:
            return (10**9, 0, name)
        slot = int(place[2]) if place[2] else 10**9 if place[3] else -1
        return (int(place[1]), slot, name)

    def title(name: str) -> str:
        place = places[name]
        if place is None:
            return name
        what = "the opening request"
        if place[2]:
            what = f"candidate {int(place[2]) + 1}"
        elif place[3]:
            what = f"the evaluator's {_ASKED[place[3]]}"
        return f"Round {int(place[1]) + 1}, {what}" + (", shortened" if place[4] else "")

    return tuple(ConversationFacts(title(name), talks[name]) for name in sorted(talks, key=order))


def _turn(message: ChatMessage) -> TurnFacts:
    return TurnFacts(
        role=message.role,
        content=message.content,
        model=message.model,
        prompt_tokens=message.prompt_tokens,
        completion_tokens=message.completion_tokens,
        latency_s=message.latency_s,
        seed=message.seed,
        complete=not message.streaming,
    )


def given_credit(store: Store, family: Sequence[Run]) -> CreditFacts | None:
    """The credit function that these trainings were given; None where they were given none."""
    run = next((r for r in family if r.inputs and "graph_hash" in r.inputs), None)
    if run is None:
        return None
    certificate = _certificate(store.run_dir(run.id))
    code = certificate.get("source")
    return CreditFacts(
        name=str(run.inputs.get("name")),
        graph_hash=run.inputs["graph_hash"],
        code=text_or_none(code),
        mathematics=text_or_none(certificate.get("mathematics")),
    )


def text_or_none(value: object) -> str | None:
    """A text as it is; None for whatever else a store or a file may hold in its place."""
    return value if isinstance(value, str) else None


def _certificate(folder: Path) -> Json:
    """What a certificate holds. It is only shown here, so nothing is proved again."""
    from sandbox.certificate import MAX_FILE_BYTES

    try:
        certificate = read_json(folder / CERTIFICATE, MAX_FILE_BYTES)
    except BoundsError:
        return {}
    return certificate if isinstance(certificate, dict) else {}
