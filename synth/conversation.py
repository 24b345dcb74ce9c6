"""The coder's conversation: the opening of a round, and the memory of earlier rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from models.protocol import Completion, Message
from synth.candidates import Candidate
from synth.evaluator import Judgement
from synth.replies import said_by_model, without_answer
from synth.requests import Variant

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from sandbox.report import CheckReport


class Renderer(Protocol):
    """Puts a request into words (``prompts.render.CoderPrompts``)."""

    def system(self, *, gate: GateMode) -> str:
        """Role, contract and rules."""
        ...

    def first(self, *, lessons: str, rows: bool) -> str:
        """The task. ``lessons`` says why earlier candidates were refused; may be empty. ``rows``:
        whether real states and rewards are shown."""
        ...

    def repair(self, *, feedback: str) -> str:
        """A refused reply's feedback, and the request to correct it."""
        ...

    def duplicate(self, *, earlier: str) -> str:
        """The reply computes the same as candidate ``earlier``; ask for another function."""
        ...

    def refine(self, *, source: str, result: str, advice: str, lessons: str) -> str:
        """The round's outcome and the request for better functions."""
        ...


@dataclass(frozen=True)
class _Remembered:
    candidate: Candidate
    request: Message
    """The refinement that followed it."""


class Conversation:
    """The coder's memory of earlier rounds: each selected reply and the judgement of it.

    Args:
        render: Puts requests into words.
        memory: How many earlier rounds are kept; the oldest are forgotten first.
    """

    def __init__(self, render: Renderer, memory: int) -> None:
        self._render, self._memory = render, memory
        self._rounds: list[_Remembered] = []
        self._lessons = ""

    def opening(self, gate: GateMode) -> tuple[Variant, ...]:
        """The messages that open a round, and what may be sent where they are too long.

        The oldest rounds are left out first, then the examples, then the newest round.
        """
        kept = self._rounds[-self._memory :] if self._memory else []
        counts = [(n, True) for n in range(len(kept), 0, -1)]
        counts += [(1, False), (0, False)] if kept else [(0, True), (0, False)]
        return tuple(
            Variant(
                self._messages(gate, kept[len(kept) - n :], rows),
                _left_out(len(kept) - n, rows),
            )
            for n, rows in counts
        )

    def _messages(self, gate: GateMode, kept: list[_Remembered], rows: bool) -> tuple[Message, ...]:
        # Where nothing was chosen yet, only the first request can carry what was learnt.
        lessons = "" if kept else self._lessons
        messages = [
            Message("system", self._render.system(gate=gate)),
            Message("user", self._render.first(lessons=lessons, rows=rows)),
        ]
        for round_ in kept:
            messages += [Message("assistant", round_.candidate.source), round_.request]
        return tuple(messages)

    def correction(self, reply: Completion, report: CheckReport, most: int) -> str:
        """The answer to a refused reply.

        Args:
            reply: as it came.
            report: why it was refused.
            most: tokens of a reply.
        """
        feedback = report.feedback
        if reply.finish_reason == "length" and not without_answer(reply):
            feedback = f"The reply was cut off at {most} tokens, so write a shorter one. {feedback}"
        return self._render.repair(feedback=feedback)

    def afresh(self, gate: GateMode, feedback: str) -> Variant:
        """The shortest way to ask for a correction: the task alone, with what was refused."""
        messages = (
            Message("system", self._render.system(gate=gate)),
            Message("user", self._render.first(lessons=feedback, rows=False)),
        )
        return Variant(messages, "all but the task and the newest feedback")

    def remember(self, judgement: Judgement, lessons: str) -> None:
        """Close a round: keep what was selected, what was said of it, and what went wrong."""
        self._lessons = lessons
        chosen = judgement.selected
        if chosen is None:
            return
        text = self._render.refine(
            source=chosen.code,
            result=judgement.result,
            advice=judgement.advice,
            lessons=lessons,
        )
        if self._rounds and self._rounds[-1].candidate.key == chosen.key:
            self._rounds.pop()  # the same function, judged again: its newest judgement counts
        self._rounds.append(_Remembered(chosen, Message("user", text)))


def _left_out(rounds: int, rows: bool) -> str:
    parts = []
    if rounds:
        parts.append("the oldest remembered round" if rounds == 1 else f"{rounds} oldest rounds")
    if not rows:
        parts.append("the example states")
    return " and ".join(parts)


@dataclass(frozen=True)
class SlotConversation:
    """Conversation of one slot: the round's opening, then replies and answers to them."""

    opening: tuple[Variant, ...]
    turns: tuple[Message, ...] = ()
    """Reply, answer, reply, answer."""
    afresh: tuple[Variant, ...] = ()
    """Variants for where not even the newest correction fits."""
    refused: frozenset[str] = frozenset()
    """Earlier functions, without blanks at line ends and empty lines."""

    def answered(self, reply: str, answer: Message, afresh: Variant, code: str) -> SlotConversation:
        """The conversation with one more reply and the answer to it.

        A model that repeats what was not taken is likely to go on with it as long as it reads it:
        from the second time on it is asked for another idea, without its replies.

        Args:
            reply: as it came.
            answer: to the reply.
            afresh: the same request without the reply.
            code: the function in the reply, or a name that equal functions share.
        """
        plain = "\n".join(line.rstrip() for line in code.splitlines() if line.strip())
        refused = self.refused | {plain}
        if plain and plain in self.refused:
            return SlotConversation(self.opening, (), (afresh,), refused)
        turns = (*self.turns, said_by_model(reply), answer)
        return SlotConversation(self.opening, turns, (afresh,), refused)

    def variants(self) -> tuple[Variant, ...]:
        """The whole of it, then less of the opening, then only the newest correction, then that
        without the refused reply."""
        if not self.turns and self.afresh:
            return self.afresh
        whole = [
            Variant((*v.messages, *self.turns), v.left_out, len(v.messages) + len(self.turns) - 1)
            for v in self.opening
        ]
        if len(self.turns) > 2:
            shortest = self.opening[-1]
            earlier = len(self.turns) // 2 - 1
            said = "an earlier correction" if earlier == 1 else f"{earlier} earlier corrections"
            left_out = " and ".join(filter(None, [shortest.left_out, said]))
            whole.append(Variant((*shortest.messages, *self.turns[-2:]), left_out))
        return (*whole, *self.afresh)
