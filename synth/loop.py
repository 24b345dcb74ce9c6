"""The coder-evaluator loop (QLLM, Algorithm 1), with feedback where the paper asks again blindly.

Each of T rounds asks the coder for K candidates in one request. The sandbox checks every reply; a
refused one goes back to the coder with the reason, up to R times, and so does one that computes
the same function as an earlier candidate. The evaluator then selects one function, which becomes
the coder's memory together with one piece of advice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from models.protocol import ChatModel, Completion, Message
from prompts.cards import TaskCard
from synth import events
from synth.asking import Asking, Stopwatch
from synth.candidates import Candidate, rejections_by_rule, rejections_in_words
from synth.config import SynthConfig
from synth.control import Control, Interrupted, Steering
from synth.conversation import Conversation, Renderer
from synth.evaluator import Evaluator, Judgement
from synth.events import Emit

if TYPE_CHECKING:
    from sandbox.report import CheckReport

Check = Callable[[str], "CheckReport"]
"""Judges a whole reply, prose and fences included."""


@dataclass(frozen=True)
class SynthesisResult:
    """What a synthesis came to."""

    status: Literal["finished", "stopped"]
    """``stopped``: told to stop in the middle of a round, whose candidates were not judged."""
    selected: Candidate | None
    """The best of all judged rounds; ``None`` if no function could be used."""
    reason: str
    """Why it was selected, or why none was, in words."""
    candidates: tuple[Candidate, ...]
    """Every checked reply in the order of round, repair, slot."""
    rounds: int
    """Rounds that ended in a judgement."""
    rejections: dict[str, int]
    """Number of rejections by rule, most frequent first."""
    pilot_steps: int
    """Environment steps spent on pilot trainings."""
    seconds: dict[str, float]
    """Where the time went: ``model``, ``check``, ``evaluate``."""

    @property
    def accepted(self) -> int:
        """How many replies the sandbox accepted, duplicates included."""
        return sum(c.accepted for c in self.candidates)


def synthesise(
    card: TaskCard,
    coder: ChatModel,
    check: Check,
    evaluator: Evaluator,
    config: SynthConfig,
    *,
    emit: Emit,
    control: Control,
    render: Renderer,
) -> SynthesisResult:
    """Search for a credit function.

    Every request's seed derives from ``config.seed`` and its place (round, slot, repair), so the
    search repeats itself with the same coder, sandbox and evaluator.

    Args:
        card: The task; names it in messages.
        coder: Writes candidates.
        check: The sandbox, with the gate and the task already chosen.
        evaluator: Selects at the end of a round.
        config: How much to ask for.
        emit: Told everything as it happens.
        control: Asked between steps: ``continue``, ``pause``, ``stop``, or ``stop-after-round``,
            which lets the current round end in its selection and counts as finished.
        render: Puts requests into words.

    Raises:
        ModelError: the coder cannot answer. What was checked before has been emitted.
    """
    search = _Search(card, coder, check, evaluator, config, emit, Steering(control), render)
    return search.run()


class _Search:
    """One synthesis under way."""

    def __init__(
        self,
        card: TaskCard,
        coder: ChatModel,
        check: Check,
        evaluator: Evaluator,
        config: SynthConfig,
        emit: Emit,
        steering: Steering,
        render: Renderer,
    ) -> None:
        self.card, self.check, self.evaluator = card, check, evaluator
        self.config, self.emit, self.steering, self.render = config, emit, steering, render
        self.clock = Stopwatch("model", "check", "evaluate")
        self.asking = Asking(coder, config, emit, steering, self.clock)
        self.conversation = Conversation(render, config.memory)
        self.candidates: list[Candidate] = []
        self.first_with: dict[str, str] = {}
        """Graph hash -> key of the first candidate that computes this function."""
        self.best: Candidate | None = None
        self.reason = ""
        self.judged = 0

    def run(self) -> SynthesisResult:
        status: Literal["finished", "stopped"] = "finished"
        try:
            for round_ in range(self.config.rounds):
                self.steering.checkpoint()
                if self.steering.last_round and self.judged:
                    break
                self._round(round_)
                if self.steering.last_round:
                    break
        except Interrupted:
            status = "stopped"
        rejections = rejections_by_rule(self.candidates)
        result = SynthesisResult(
            status=status,
            selected=self.best,
            reason=self._last_word(status),
            candidates=tuple(self.candidates),
            rounds=self.judged,
            rejections=rejections,
            pilot_steps=self.evaluator.pilot_steps,
            seconds=dict(self.clock.seconds),
        )
        self.emit(
            events.SynthesisFinished(
                status=status,
                selected=self.best.key if self.best else None,
                reason=result.reason,
                rejections=rejections,
                pilot_steps=result.pilot_steps,
                seconds=result.seconds,
            )
        )
        return result

    def _last_word(self, status: str) -> str:
        if self.best is not None or any(c.accepted for c in self.candidates):
            return self.reason or f"{status} before any round was judged"
        if not self.candidates:
            return "stopped before the first candidate was checked"
        count = len(self.candidates)
        return (
            f"none of {count} candidates for {self.card.name} was accepted: "
            f"{rejections_in_words(self.candidates)}"
        )

    def _round(self, round_: int) -> None:
        config = self.config
        self.emit(events.RoundStarted(round_, config.rounds, config.candidates))
        before = len(self.candidates)
        self._write(round_)
        mine = self.candidates[before:]
        fresh = [c for c in mine if c.accepted and c.duplicate_of is None]
        self.steering.checkpoint()
        with self.clock.running("evaluate"):
            judgement = self.evaluator.judge(fresh, self.best, round_=round_, emit=self.emit)
        self._close(round_, mine, judgement)

    def _close(self, round_: int, mine: Sequence[Candidate], judgement: Judgement) -> None:
        self.best, self.reason = judgement.selected, judgement.reason
        self.conversation.remember(judgement, _lessons(mine))
        self.judged += 1
        self.emit(
            events.RoundFinished(
                round=round_,
                accepted=sum(c.accepted for c in mine),
                rejected=sum(not c.accepted for c in mine),
                duplicates=sum(c.duplicate_of is not None for c in mine),
                selected=self.best.key if self.best else None,
                reason=judgement.reason,
                result=judgement.result,
                advice=judgement.advice,
            )
        )

    def _write(self, round_: int) -> None:
        """Ask for a round's candidates and their corrections, in waves.

        A wave is checked as a whole before any of its slots is asked again, and duplicates are
        told in the order of the slots: neither depends on which reply arrives first.
        """
        opening = self.conversation.opening()
        replies = self.asking.opening(round_, opening)
        talks = dict.fromkeys(replies, opening)
        for repair in range(self.config.repairs + 1):
            pending: dict[int, Message] = {}
            for slot, reply in replies.items():
                candidate = self._judge_reply(round_, slot, repair, reply)
                answer = self._answer(candidate, reply)
                if answer is not None:
                    pending[slot] = answer
                    talks[slot] = (*talks[slot], Message("assistant", reply.text), answer)
            if not pending or repair == self.config.repairs:
                return
            replies = {
                slot: self.asking.repair(round_, slot, repair + 1, talks[slot]) for slot in pending
            }

    def _answer(self, candidate: Candidate, reply: Completion) -> Message | None:
        """What the coder is told about a reply that has to be written again."""
        if candidate.duplicate_of is not None:
            return Message("user", self.render.duplicate(earlier=candidate.duplicate_of))
        if candidate.accepted:
            return None
        feedback = candidate.report.feedback
        if reply.finish_reason == "length":
            feedback = (
                f"The reply was cut off at {self.config.max_tokens} tokens, so write a shorter "
                f"one. {feedback}"
            )
        return Message("user", self.render.repair(feedback=feedback))

    def _judge_reply(self, round_: int, slot: int, repair: int, reply: Completion) -> Candidate:
        self.steering.checkpoint()
        with self.clock.running("check"):
            report = self.check(reply.text)
        candidate = Candidate(round_, slot, repair, reply.text, report)
        if report.accepted:
            earlier = self.first_with.setdefault(candidate.graph_hash, candidate.key)
            if earlier != candidate.key:
                candidate = replace(candidate, duplicate_of=earlier)
        self.candidates.append(candidate)
        self.emit(
            events.CandidateChecked(
                round=round_,
                slot=slot,
                repair=repair,
                key=candidate.key,
                parent=candidate.parent,
                source=candidate.source,
                report=report,
                duplicate_of=candidate.duplicate_of,
            )
        )
        return candidate


def _lessons(candidates: Sequence[Candidate]) -> str:
    """What went wrong in a round, for the coder's next one."""
    lessons = rejections_in_words(candidates)
    duplicates = sum(c.duplicate_of is not None for c in candidates)
    if duplicates:
        told = f"{duplicates} of {len(candidates)} replies computed a function already tried."
        lessons = f"{lessons}\n{told}".strip()
    return lessons
