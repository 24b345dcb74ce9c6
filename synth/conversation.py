"""The coder's conversation: what it is told at the start of a round, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from models.protocol import Message
from synth.candidates import Candidate
from synth.evaluator import Judgement


class Renderer(Protocol):
    """Puts a request into words (``prompts.render.CoderPrompts``)."""

    def system(self) -> str:
        """Role, contract and rules."""
        ...

    def first(self, *, lessons: str) -> str:
        """The task. ``lessons`` says why earlier candidates were refused; may be empty."""
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
    """What the coder still knows of earlier rounds: each chosen reply, and what was said of it.

    Args:
        render: Puts requests into words.
        memory: How many earlier rounds are kept; the oldest are forgotten first.
    """

    def __init__(self, render: Renderer, memory: int) -> None:
        self._render, self._memory = render, memory
        self._rounds: list[_Remembered] = []
        self._lessons = ""

    def opening(self) -> tuple[Message, ...]:
        """The messages that open a round."""
        kept = self._rounds[-self._memory :] if self._memory else []
        # Where nothing was chosen yet, only the first request can carry what was learnt.
        lessons = "" if kept else self._lessons
        messages = [
            Message("system", self._render.system()),
            Message("user", self._render.first(lessons=lessons)),
        ]
        for round_ in kept:
            messages += [Message("assistant", round_.candidate.source), round_.request]
        return tuple(messages)

    def remember(self, judgement: Judgement, lessons: str) -> None:
        """Close a round: keep what was selected, what was said of it, and what went wrong."""
        self._lessons = lessons
        chosen = judgement.selected
        if chosen is None:
            return
        text = self._render.refine(
            source=chosen.report.code or chosen.source,
            result=judgement.result,
            advice=judgement.advice,
            lessons=lessons,
        )
        if self._rounds and self._rounds[-1].candidate.key == chosen.key:
            self._rounds.pop()  # the same function, judged again: its newest judgement counts
        self._rounds.append(_Remembered(chosen, Message("user", text)))
