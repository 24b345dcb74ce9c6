"""From the synthesis' events to the store's rows and lines on the display."""

from __future__ import annotations

import re
from dataclasses import asdict, fields

from qllm.display import CandidateLine, Display, PilotLine
from qllm.store.store import Store
from qllm.store.streaming import StreamedReply
from qllm.store.synthesis import Turn
from synth import events
from synth.pilot import BASELINE_KEY, PilotRequest, PilotScore


def label(round_: int, slot: int, repair: int) -> str:
    """A candidate's place as people count: ``1.3`` is round 1, slot 3; ``1.3.1`` its repair."""
    return f"{round_ + 1}.{slot + 1}" + (f".{repair}" if repair else "")


_KEY = re.compile(r"\br(\d+)\.s(\d+)\.(\d+)\b")


def labelled(text: str) -> str:
    """A text of the evaluator with labels in place of the candidates' keys."""
    return _KEY.sub(lambda found: label(*map(int, found.groups())), text)


class SynthesisRecorder:
    """Records one attempt of one synthesis.

    The opening request of round r is the conversation ``rR``; what is said in slot S goes on in
    ``rR.sS``, whose positions follow those of the opening.
    """

    def __init__(self, store: Store, run_id: int, attempt: int, display: Display) -> None:
        self._store, self._run_id, self._attempt = store, run_id, attempt
        self._display = display
        self._length: dict[str, int] = {}
        """Conversation -> number of messages that its newest request held."""
        self._streams: dict[tuple[str, int], StreamedReply] = {}
        self._baseline: float | None = None
        self.candidate_ids: dict[str, int] = {}
        """Candidate's key -> its id in the store."""
        self._pilot_seeds: tuple[int, ...] = ()
        self._pilot_steps = 0
        self._pilot_round = 0

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
                self._pilot_round = event.round
            case events.RoundFinished():
                self._round_finished(event)
            case events.PilotScored() | events.SynthesisFinished():
                pass  # the pilot tells its scores itself, the job stores the result

    def known_scores(self) -> dict[str, PilotScore]:
        """Scores that an earlier attempt measured, as ``MeasuredEvaluator`` takes them."""
        names = {field.name for field in fields(PilotScore)}
        known = {}
        for verdict in self._store.synthesis.verdicts(self._run_id, "pilot"):
            score = {name: value for name, value in verdict.reason.items() if name in names}
            score["curve"] = tuple((steps, value) for steps, value in score["curve"])
            known[verdict.reason["graph_hash"] or BASELINE_KEY] = PilotScore(**score)
        if BASELINE_KEY in known:
            self._baseline = known[BASELINE_KEY].final_iqm
        return known

    def _thread(self, round_: int, slot: int) -> str:
        return f"r{round_}.s{slot}"

    def _position(self, round_: int, slot: int) -> int:
        """Where the next reply of a slot belongs."""
        own = self._length.get(self._thread(round_, slot))
        return self._length[f"r{round_}"] if own is None else own

    def _prompted(self, event: events.Prompted) -> None:
        name = f"r{event.round}" if event.slot is None else self._thread(event.round, event.slot)
        self._length[name] = len(event.messages)
        turns = [
            Turn(name, at, message.role, message.content)
            for at, message in enumerate(event.messages)
            if at >= event.new_from
        ]
        self._store.synthesis.record_turns(self._run_id, self._attempt, turns)

    def _reply_text(self, event: events.ReplyText) -> None:
        name, at = (
            self._thread(event.round, event.slot),
            self._position(event.round, event.slot),
        )
        stream = self._streams.get((name, at))
        if stream is None:
            turn = Turn(name, at, "assistant", "")
            stream = StreamedReply(self._store.synthesis, self._run_id, self._attempt, turn)
            self._streams[name, at] = stream
        stream.append(event.text)

    def _replied(self, event: events.Replied) -> None:
        name, at = (
            self._thread(event.round, event.slot),
            self._position(event.round, event.slot),
        )
        self._streams.pop((name, at), None)
        reply = event.completion
        turn = Turn(
            name,
            at,
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

    def keep_score(self, request: PilotRequest, score: PilotScore) -> None:
        """Store a pilot's score and show it; pilots are dear, so none waits for the others."""
        graph_hash = request.graph.graph_hash if request.graph is not None else None
        if graph_hash is None:
            self._baseline = score.final_iqm
        self._store.synthesis.record_verdict(
            self._run_id,
            self._attempt,
            "pilot",
            graph_hash or BASELINE_KEY,
            reason={
                **asdict(score),
                "graph_hash": graph_hash,
                "seeds": list(self._pilot_seeds),
                "steps": self._pilot_steps,
            },
            score=score.final_iqm,
            round_=self._pilot_round,
            candidate_id=self.candidate_ids.get(request.key),
        )
        name = labelled(request.key)
        if score.final_iqm is None:
            self._display.note(f"pilot {name} failed: {score.error}", "warning")
        else:
            self._display.pilot(PilotLine(name, score.final_iqm, self._baseline))

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
            },
            round_=event.round,
            candidate_id=selected,
        )
        self._display.note(f"round {event.round + 1}: {labelled(event.reason)}")
