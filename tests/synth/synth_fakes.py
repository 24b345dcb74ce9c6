"""Scripted stand-ins for a model, a sandbox and pilots: replies such as ``ok:weights:abc``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.protocol import ChatRequest, Completion, Message, OnDone, OnText
from sandbox.report import CheckReport
from synth.pilot import PilotRequest, PilotScore


@dataclass(frozen=True)
class FakeGraph:
    """A graph that is nothing but its hash and a size."""

    name: str
    size: int = 1

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "padding": "x" * self.size}


def check(source: str) -> CheckReport:
    """``ok:SIGNATURE:HASH[:SIZE]`` is accepted; ``no:RULE`` is refused by that rule."""
    parts = source.split(":")
    if parts[0] == "ok":
        graph: Any = FakeGraph(parts[2], int(parts[3]) if len(parts) > 3 else 1)
        return CheckReport(
            verdict="accepted",
            stage="done",
            rule=None,
            feedback="",
            source=source,
            code=source,
            gate="enforce",
            signature="weights" if parts[1] == "weights" else "mixing",
            linear_in_q=parts[1] != "bent",
            graph_hash=parts[2],
            graph=graph,
        )
    return CheckReport(
        verdict="rejected",
        stage="policy",
        rule=parts[1],
        feedback=f"broke {parts[1]}",
        source=source,
        code=source,
        gate="enforce",
    )


@dataclass
class Script:
    """A chat model that answers by a function of (messages, index, number of the call)."""

    answer: Callable[[Sequence[Message], int, int], str]
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    name = "script"
    is_llm = True
    context_tokens: int | None = None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """A token for every character."""
        return sum(len(m.content) for m in messages)

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        call = len(self.calls)
        self.calls.append(vars(request))
        replies = []
        for index in range(request.n):
            text = self.answer(request.messages, index, call)
            if on_text is not None:
                on_text(index, text)
            reason: Any = self.finish
            replies.append(Completion(text, self.name, request.seed, 1, 1, 0.0, reason))
            if on_done is not None:
                on_done(index, replies[-1])
        return replies

    def close(self) -> None:
        pass


def rounds(*replies: Sequence[str]) -> Script:
    """Openings of the rounds, one after the other; corrections are asked of nobody."""
    openings = iter(replies)
    current: list[Sequence[str]] = []

    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        if index == 0:
            current.append(next(openings))
        return current[-1][index]

    return Script(answer)


class Words:
    """Renders prompts as short as they can be."""

    def system(self, *, gate: str) -> str:
        return "system" if gate == "enforce" else f"system|{gate}"

    def first(self, *, lessons: str, rows: bool) -> str:
        return f"first|{lessons}" if rows else f"first without rows|{lessons}"

    def repair(self, *, feedback: str) -> str:
        return f"repair|{feedback}"

    def duplicate(self, *, earlier: str) -> str:
        return f"duplicate|{earlier}"

    def refine(self, *, source: str, result: str, advice: str, lessons: str) -> str:
        return f"refine|{result}|{advice}|{lessons}"


class FakePilot:
    """Scores by a table of final returns; ``None`` fails, unlisted is 0.

    A single number is that of every seed but for a spread of a hundredth of it, so that functions
    whose numbers differ are told apart where there are seeds enough; several are one for each seed.
    """

    def __init__(self, returns: dict[str, Any]) -> None:
        self.returns = returns
        self.asked: list[tuple[str, ...]] = []
        self.conditions: list[tuple[tuple[int, ...], int]] = []

    def __call__(
        self, candidates: Sequence[PilotRequest], seeds: Sequence[int], steps: int
    ) -> list[PilotScore]:
        names = [getattr(c.graph, "name", c.key) for c in candidates]
        self.asked.append(tuple(names))
        self.conditions.append((tuple(seeds), steps))
        scores = []
        for request, name in zip(candidates, names, strict=True):
            value = self.returns.get(name, 0.0)
            trained = steps * len(seeds)
            if value is None:
                scores.append(PilotScore(request.key, env_steps=trained, error="loss became NaN"))
                continue
            finals = value if isinstance(value, tuple) else spread_out(value, len(seeds))
            mean = sum(finals) / len(finals)
            curve = ((0, 0.0), (steps, mean))
            scores.append(PilotScore(request.key, finals, finals, curve, trained, updates=steps))
        return scores


def spread_out(value: float, seeds: int) -> tuple[float, ...]:
    """A number for each seed, around a mean."""
    return tuple(value * (1 + 0.01 * (at - (seeds - 1) / 2)) for at in range(seeds))
