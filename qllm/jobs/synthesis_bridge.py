"""From the synthesis' events to the store's rows and lines on the display."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from qllm.display import CandidateLine, Display, PilotLine
from qllm.store.store import Store
from qllm.store.streaming import StreamedReply
from qllm.store.synthesis import Turn
from synth import events
from synth.measured import Measurement
from synth.pilot import BASELINE_KEY, PilotRequest, PilotScore, candidate_key


def label(round_: int, slot: int, repair: int) -> str:
    """A candidate's place as people count: ``1.3`` is round 1, slot 3; ``1.3.1`` its repair."""
    return f"{round_ + 1}.{slot + 1}" + (f".{repair}" if repair else "")


def _proposal(round_: int, attempt: int) -> str:
    return f"round-{round_}-{attempt}"


PROGRESS_EVERY_S = 1.0
"""How often the progress of the pilots is written, but for the beginning of each function's."""

_KEY = re.compile(r"\br(\d+)\.s(\d+)\.(\d+)\b")


def labelled(text: str) -> str:
    """A text of the evaluator with labels in place of the candidates' keys."""
    return _KEY.sub(lambda found: label(*map(int, found.groups())), text)


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
        self._pilot_seeds: tuple[int, ...] = ()
        self._pilot_steps = 0
        self._pilot_round = 0
        self._pilot_keys: tuple[str, ...] = ()
        self._pilot_at, self._pilot_told = -1, 0.0
        """Which function was last told to be at work, and when (``time.monotonic``)."""
        self._notes = 0
        self._shown: dict[str, str] = {}
        """Candidate's key -> the verdict that the display has shown."""

    def __call__(self, event: events.Event) -> None:
        """Take an event."""
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
                self._checked(event)
            case events.PilotStarted():
                self._pilot_seeds, self._pilot_steps = event.seeds, event.steps
                self._pilot_round, self._pilot_keys = event.round, event.keys
                self._pilot_at = -1
            case events.Noted():
                self._noted(event)
            case events.BudgetSpent():
                reason = {"round": event.round, "repair": event.repair, "reason": event.reason}
                self._verdict("budget", "budget", reason)
                self._display.note(event.reason, "warning")
            case events.GateSettled():
                reason = {"mode": event.mode, "reason": event.reason, "evidence": event.evidence}
                self._verdict("gate", "gate", reason)
                self._display.note(f"gate: {labelled(event.reason)}")
            case events.SelectionProposed():
                self._proposed(event)
            case events.SelectionAnswered():
                reason = {"answer": event.answer, "selected": event.selected}
                reason["advice"] = event.advice or ""
                self._verdict(
                    "approval", _proposal(event.round, event.attempt), reason, event.selected
                )
            case events.RoundFinished():
                self._round_finished(event)
            case events.PilotScored() | events.SynthesisFinished():
                pass  # the pilot tells its scores itself, the job stores the result

    def known_scores(self, run_id: int | None = None) -> dict[Measurement, PilotScore]:
        """Scores that an earlier attempt measured (or another run), for ``MeasuredEvaluator``."""
        names = {field.name for field in fields(PilotScore)}
        known = {}
        for verdict in self._store.synthesis.verdicts(run_id or self._run_id, "pilot"):
            score = {name: value for name, value in verdict.reason.items() if name in names}
            try:
                score["curve"] = tuple((steps, value) for steps, value in score["curve"])
                score |= {k: tuple(float(x) for x in score[k]) for k in ("finals", "areas")}
                place = verdict.reason["graph_hash"] or BASELINE_KEY, verdict.reason["steps"]
                known[place] = PilotScore(**score)
            except (KeyError, TypeError, ValueError):
                continue  # not as it was written; the pilot is trained again
            if place[0] == BASELINE_KEY:
                self._baseline[place[1]] = final_of(known[place])
        return known

    def keep_gate(self, reason: Mapping[str, Any]) -> None:
        """A gate that the configuration sets."""
        self._verdict("gate", "gate", reason)

    def _verdict(
        self, kind: str, key: str, reason: Mapping[str, Any], candidate: str | None = None
    ) -> None:
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            kind,
            key,
            reason=reason,
            candidate_id=self.candidate_ids.get(candidate) if candidate else None,
        )

    def _noted(self, event: events.Noted) -> None:
        self._notes += 1
        self._verdict("note", str(self._notes), {"text": event.text, "level": event.level})
        self._display.note(labelled(event.text), event.level)

    def _proposed(self, event: events.SelectionProposed) -> None:
        self._verdict(
            "proposal",
            _proposal(event.round, event.attempt),
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

    def _checked(self, event: events.CandidateChecked) -> None:
        place = (event.round, event.slot, event.repair)
        report, ids = event.report, self.candidate_ids
        ids[event.key] = self._store.synthesis.record_candidate(
            self._run_id,
            self._attempt,
            place,
            source=event.source,
            report=report.to_json(),
            parent_id=ids.get(event.parent) if event.parent else None,
            duplicate_of=ids.get(event.duplicate_of) if event.duplicate_of else None,
        )
        told = f"{report.gate} {report.verdict} {event.duplicate_of}"
        if self._shown.get(event.key) == told:
            return  # nothing but its graph has changed with the gate
        self._shown[event.key] = told
        if event.duplicate_of:
            detail = f"same function as {labelled(event.duplicate_of)}"
        else:
            detail = report.feedback if not report.accepted else ""
        self._display.candidate(
            CandidateLine(
                label(*place),
                report.verdict,
                report.stage,
                rule=report.rule,
                signature=report.signature,
                igm=report.igm,
                finite=report.finite,
                elapsed_s=report.elapsed_s,
                detail=detail,
            )
        )

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
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            "piloting",
            "now",
            reason={
                "keys": list(self._pilot_keys),
                "at": at,
                "env_steps": env_steps,
                "steps": self._pilot_steps,
                "seeds": len(self._pilot_seeds),
            },
            round_=self._pilot_round,
        )

    def keep_score(self, request: PilotRequest, score: PilotScore) -> None:
        """Store a pilot's score and show it; pilots are dear, so none waits for the others."""
        graph_hash = request.graph.graph_hash if request.graph is not None else None
        if graph_hash is None:
            self._baseline[self._pilot_steps] = final_of(score)
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            "pilot",
            f"{graph_hash or BASELINE_KEY}@{self._pilot_steps}",
            reason={
                **asdict(score),
                "final_mean": final_of(score),
                "area_mean": None if score.error else score.area_mean,
                "graph_hash": graph_hash,
                "seeds": list(self._pilot_seeds),
                "steps": self._pilot_steps,
            },
            score=final_of(score),
            round_=self._pilot_round,
            candidate_id=self.candidate_ids.get(candidate_key(request.key)),
        )
        name = labelled(request.key)
        if score.error:
            self._display.note(f"pilot {name} failed: {score.error}", "warning")
        else:
            baseline = self._baseline.get(self._pilot_steps)
            detail = f"mean of {len(score.finals)} seeds, {self._pilot_steps:,} steps"
            detail += f" and {score.updates:,} updates each"
            self._display.pilot(PilotLine(name, score.final_mean, baseline, detail))

    def _round_finished(self, event: events.RoundFinished) -> None:
        selected = self.candidate_ids.get(event.selected) if event.selected else None
        self._store.synthesis.end_round(
            self._run_id,
            event.round,
            selected_candidate_id=selected,
            reason=event.reason,
            advice=event.advice,
        )
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            "selection",
            f"round-{event.round}",
            reason={
                "reason": event.reason,
                "result": event.result,
                "advice": event.advice,
                "accepted": event.accepted,
                "rejected": event.rejected,
                "duplicates": event.duplicates,
                "decided": event.decided,
            },
            round_=event.round,
            candidate_id=selected,
        )
        told = labelled(event.reason)
        if event.selected and event.decided:
            told = f"{labelled(event.selected)} is selected: {told}"
        self._display.note(f"round {event.round + 1}: {told}")
