"""Record a search: its events as rows of the store and lines on the display."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from qllm.display import Display
from qllm.store.store import Store
from qllm.store.streaming import StreamedReply
from qllm.store.synthesis import Turn
from synth import events
from synth.candidates import Candidate, label, labelled
from synth.measured import Measurement
from synth.pilot import BASELINE_KEY, PilotRequest, PilotScore, candidate_of

PROGRESS_EVERY_S = 1.0
"""Seconds between two records of the pilots' progress; the first of each function comes at once."""

_SCORE = TypeAdapter(PilotScore)


def _proposal(event: events.SelectionProposed | events.SelectionAnswered) -> str:
    return f"round-{event.round}-{event.attempt}"


def final_of(score: PilotScore) -> float | None:
    """Mean final return of a pilot; None where it failed."""
    return None if score.error else score.final_mean


class SynthesisRecorder:
    """Records one attempt of one synthesis.

    The opening request of round r is the conversation ``rR``; what is said in slot S goes on in
    ``rR.sS``, whose positions follow those of the opening.
    """

    def __init__(self, store: Store, run_id: int, attempt: int, display: Display) -> None:
        self._store, self._run_id, self._attempt = store, run_id, attempt
        self._display = display
        self._streams: dict[tuple[str, int], StreamedReply] = {}
        self._baseline: dict[int, float | None] = {}
        """Environment steps of a pilot -> the plain sum's score after them."""
        self.candidate_ids: dict[str, int] = {}
        """Candidate's key -> its id in the store."""
        self._pilots = events.PilotStarted(0, (), (), 0)
        """The pilots that began last."""
        self._pilot_at, self._pilot_told = -1, 0.0
        """The function whose progress was recorded last, and when (``time.monotonic``)."""
        self._notes = 0
        self._shown: dict[str, str] = {}
        """Candidate's key -> the verdict that the display has shown."""

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.RoundStarted():
                self._store.synthesis.begin_round(self._run_id, self._attempt, event.round)
                self._display.note(f"round {event.round + 1} of {event.rounds}")
            case events.Prompted():
                self._prompted(event)
            case events.ReplyText():
                self._reply_text(event)
            case events.Replied():
                self._replied(event)
            case events.CandidateChecked():
                self._checked(event.candidate)
            case events.PilotStarted():
                self._pilots, self._pilot_at = event, -1
            case events.Noted():
                self._noted(event)
            case events.BudgetSpent():
                self._verdict("budget", "budget", vars(event))
                self._display.note(event.reason, "warning")
            case events.GateSettled():
                self._verdict("gate", "gate", vars(event))
                self._display.note(f"gate: {labelled(event.reason)}")
            case events.SelectionProposed():
                self._proposed(event)
            case events.SelectionAnswered():
                reason = {"answer": event.answer, "selected": event.selected}
                reason["advice"] = event.advice or ""
                self._verdict("approval", _proposal(event), reason, event.selected)
            case events.RoundFinished():
                self._round_finished(event)
            case events.PilotScored() | events.SynthesisFinished():
                pass  # the pilot tells its scores itself, the job stores the result

    def known_scores(self, run_id: int | None = None) -> dict[Measurement, PilotScore]:
        """Scores that an earlier attempt measured (or another run), for ``MeasuredEvaluator``."""
        known = {}
        for verdict in self._store.synthesis.verdicts(run_id or self._run_id, "pilot"):
            try:
                place = verdict.reason["graph_hash"] or BASELINE_KEY, verdict.reason["steps"]
                known[place] = _SCORE.validate_python({"curve": None, **verdict.reason})
            except (KeyError, TypeError, ValidationError):
                continue  # not as it was written; the pilot is trained again
            if place[0] == BASELINE_KEY:
                self._baseline[place[1]] = final_of(known[place])
        return known

    def keep_gate(self, reason: Mapping[str, Any]) -> None:
        """A gate that the configuration sets."""
        self._verdict("gate", "gate", reason)

    def _verdict(
        self,
        kind: str,
        key: str,
        reason: Mapping[str, Any],
        candidate: str | None = None,
        **more: Any,
    ) -> None:
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            kind,
            key,
            reason=reason,
            candidate_id=self.candidate_ids.get(candidate) if candidate else None,
            **more,
        )

    def _noted(self, event: events.Noted) -> None:
        self._notes += 1
        self._verdict("note", str(self._notes), vars(event))
        self._display.note(labelled(event.text), event.level)

    def _proposed(self, event: events.SelectionProposed) -> None:
        self._verdict(
            "proposal",
            _proposal(event),
            {"round": event.round, "reason": event.reason, "advice": event.advice},
            event.selected,
        )
        self._display.note(
            f"round {event.round + 1}: {labelled(event.selected)} waits for `qllm approve"
            f" {self._run_id}` or `qllm reject {self._run_id}` ({labelled(event.reason)})"
        )

    def _prompted(self, event: events.Prompted) -> None:
        turns = [
            Turn(event.conversation, at, message.role, message.content)
            for at, message in enumerate(event.messages)
            if at >= event.new_from
        ]
        self._store.synthesis.record_turns(self._run_id, self._attempt, turns)
        if event.left_out:
            self._noted(
                events.Noted(
                    f"{event.left_out} left out of a request of round {event.round + 1}, to fit "
                    "the model's context",
                    "warning",
                )
            )

    def _reply_text(self, event: events.ReplyText) -> None:
        place = event.conversation, event.position
        stream = self._streams.get(place)
        if stream is None:
            turn = Turn(event.conversation, event.position, "assistant", "")
            stream = StreamedReply(self._store.synthesis, self._run_id, self._attempt, turn)
            self._streams[place] = stream
        stream.append(event.text)

    def _replied(self, event: events.Replied) -> None:
        self._streams.pop((event.conversation, event.position), None)
        reply = event.completion
        turn = Turn(
            event.conversation,
            event.position,
            "assistant",
            reply.text,
            model=reply.model,
            seed=reply.seed,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            latency_s=reply.latency_s,
            request={
                "key": event.request,
                "index": event.index,
                "n": event.n,
                "finish_reason": reply.finish_reason,
                "violation": reply.violation,
                "note": reply.note,
            },
        )
        self._store.synthesis.record_turns(self._run_id, self._attempt, [turn])

    def _checked(self, candidate: Candidate) -> None:
        place = (candidate.round, candidate.slot, candidate.repair)
        report, ids = candidate.report, self.candidate_ids
        ids[candidate.key] = self._store.synthesis.record_candidate(
            self._run_id,
            self._attempt,
            place,
            source=candidate.source,
            report=report.to_json(),
            parent_id=ids.get(candidate.parent or ""),
            duplicate_of=ids.get(candidate.duplicate_of or ""),
        )
        told = f"{report.gate} {report.verdict} {candidate.duplicate_of}"
        if self._shown.get(candidate.key) == told:
            return  # nothing but its graph has changed with the gate
        self._shown[candidate.key] = told
        if candidate.duplicate_of:
            detail = f"same function as {labelled(candidate.duplicate_of)}"
        else:
            detail = report.feedback if not report.accepted else ""
        self._display.candidate(label(*place), report, detail)

    def keep_progress(self, at: int, env_steps: int) -> None:
        """Store how far the pilots that began last are: one row, seldom rewritten.

        Args:
            at: place of the function at work among them.
            env_steps: its environment steps so far, all seeds together.
        """
        now = time.monotonic()
        if at == self._pilot_at and now - self._pilot_told < PROGRESS_EVERY_S:
            return
        self._pilot_at, self._pilot_told = at, now
        pilots = self._pilots
        reason = {
            "keys": list(pilots.keys),
            "at": at,
            "env_steps": env_steps,
            "steps": pilots.steps,
            "seeds": len(pilots.seeds),
        }
        self._verdict("piloting", "now", reason, round_=pilots.round)

    def keep_score(self, request: PilotRequest, score: PilotScore) -> None:
        """Store a pilot's score at once, since pilots are expensive, and show it."""
        graph_hash = request.graph.graph_hash if request.graph is not None else None
        steps, final = self._pilots.steps, final_of(score)
        if graph_hash is None:
            self._baseline[steps] = final
        self._verdict(
            "pilot",
            f"{graph_hash or BASELINE_KEY}@{steps}",
            {
                **asdict(score),
                "final_mean": final,
                "area_mean": None if score.error else score.area_mean,
                "graph_hash": graph_hash,
                "seeds": list(self._pilots.seeds),
                "steps": steps,
            },
            candidate_of(request.key),
            score=final,
            round_=self._pilots.round,
        )
        name = labelled(request.key)
        if final is None:
            self._display.note(f"pilot {name} failed: {score.error}", "warning")
        else:
            detail = f"mean of {len(score.finals)} seeds, {steps:,} steps"
            detail += f" and {score.updates:,} updates each"
            self._display.pilot(name, final, self._baseline.get(steps), detail)

    def _round_finished(self, event: events.RoundFinished) -> None:
        self._store.synthesis.end_round(
            self._run_id,
            event.round,
            selected_candidate_id=self.candidate_ids.get(event.selected or ""),
            reason=event.reason,
            advice=event.advice,
        )
        keys = ("reason", "result", "advice", "accepted", "rejected", "duplicates", "decided")
        reason = {key: getattr(event, key) for key in keys}
        place = f"round-{event.round}"
        self._verdict("selection", place, reason, event.selected, round_=event.round)
        told = labelled(event.reason)
        if event.selected and event.decided:
            told = f"{labelled(event.selected)} is selected: {told}"
        self._display.note(f"round {event.round + 1}: {told}")
