"""A language model as evaluator: it selects, as in the paper, and gives one piece of advice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from models.constraints import violation
from models.protocol import Completion, Constraint, Message
from sandbox.extract import extract_json
from synth import events
from synth.candidates import Candidate
from synth.config import SynthConfig
from synth.evaluator import Evaluator, FirstAccepted, Judgement, by_place
from synth.events import Emit
from synth.measured import MeasuredEvaluator
from synth.replies import said_by_model, without_answer
from synth.requests import RequestSender, SearchRequest, Variant
from synth.seeds import derive_seed

if TYPE_CHECKING:
    from sandbox.config import GateMode

_SENTENCES = {"type": "string", "minLength": 1, "maxLength": 400}


Show = Callable[[str, str, str, bool], Any]
"""Makes what the renderer is shown of a function (``prompts.render.ShownFunction``) of its source,
what is proved of it, what was measured of it, and whether it is the incumbent."""


class JudgeRenderer(Protocol):
    """Puts the evaluator's questions into words (``prompts.render.EvaluatorPrompts``)."""

    def system(self) -> str:
        """Role, and how to answer."""
        ...

    def select(self, functions: Sequence[Any], *, rows: bool) -> str:
        """Choose one function by its number, from 1."""
        ...

    def advise(self, function: Any, *, lessons: str, rows: bool) -> str:
        """Say what to change."""
        ...

    def gate(self, *, rows: bool) -> str:
        """Whether monotonicity should be enforced."""
        ...

    def again(self, *, problem: str) -> str:
        """The answer cannot be used, and why."""
        ...


@dataclass(frozen=True)
class Proposal:
    """An evaluator's proposal for the gate."""

    mode: GateMode
    reason: str
    model: str


class Judge:
    """Asks a language model for JSON answers, and again where one cannot be used.

    Args:
        sender: Sends requests to the model.
        render: Puts questions into words.
        show: Makes of a function what ``render`` takes.
        config: Attempts, temperature, length and seed.
        count: Told every reply, for the budget.
    """

    def __init__(
        self,
        sender: RequestSender,
        render: JudgeRenderer,
        show: Show,
        config: SynthConfig,
        count: Callable[[Completion, int], None] = lambda reply, index: None,
    ) -> None:
        self._sender, self._render, self._show = sender, render, show
        self._config, self._count = config, count
        self._asked: Counter[str] = Counter()

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._sender.model.name

    def choose(
        self, field: Sequence[tuple[Candidate, str, bool]], round_: int
    ) -> tuple[Candidate, str] | str:
        """The chosen candidate and the model's reason, or why no answer could be used.

        Args:
            field: (candidate, what was measured of it, whether it is the incumbent). They are
                shown in the order of their graphs' hashes, so that their slots do not matter.
            round_: Number of the round.
        """
        ordered = sorted(field, key=lambda entry: entry[0].graph_hash)
        shown = [self._shown(*entry) for entry in ordered]
        numbers = list(range(1, len(ordered) + 1))
        schema = _object(reason=_SENTENCES, choice={"type": "integer", "enum": numbers})
        answer = self._ask(
            round_, "select", schema, lambda rows: self._render.select(shown, rows=rows)
        )
        if isinstance(answer, str):
            return answer
        return ordered[answer["choice"] - 1][0], answer["reason"].strip()

    def advise(self, chosen: Candidate, result: str, lessons: str, round_: int) -> tuple[str, str]:
        """(advice, "") or ("", why no answer could be used)."""
        shown = self._shown(chosen, result, False)
        answer = self._ask(
            round_,
            "advice",
            _object(advice=_SENTENCES),
            lambda rows: self._render.advise(shown, lessons=lessons, rows=rows),
        )
        return ("", answer) if isinstance(answer, str) else (answer["advice"].strip(), "")

    def propose_gate(self) -> Proposal | str:
        """Whether to enforce monotonicity, or why no answer could be used."""
        schema = _object(reason=_SENTENCES, gate={"type": "string", "enum": ["enforce", "relax"]})
        answer = self._ask(0, "gate", schema, lambda rows: self._render.gate(rows=rows))
        if isinstance(answer, str):
            return answer
        return Proposal(answer["gate"], answer["reason"].strip(), self.model)

    def _shown(self, candidate: Candidate, result: str, incumbent: bool) -> Any:
        return self._show(candidate.code, facts_in_words(candidate), result, incumbent)

    def _ask(
        self, round_: int, about: str, schema: dict[str, Any], question: Callable[[bool], str]
    ) -> dict[str, Any] | str:
        config, constraint = self._config, Constraint("json", schema)
        system = Message("system", self._render.system())
        openings = [(system, Message("user", question(rows))) for rows in (True, False)]
        turns: tuple[Message, ...] = ()
        name, problem = f"r{round_}.{about}", ""
        if self._asked[name]:  # asked anew after a person's rejection: nothing is written over
            name = f"{name}.{self._asked[name]}"
        self._asked[f"r{round_}.{about}"] += 1
        for attempt in range(config.evaluator_attempts):
            replies: list[Completion] = []
            request = SearchRequest(
                role="evaluator",
                round=round_,
                slot=None,
                repair=attempt,
                conversation=name,
                variants=_variants(openings, turns),
                n=1,
                seed=derive_seed(config.seed, name, attempt),
                temperature=config.evaluator_temperature,
                max_tokens=config.max_tokens,
                constraint=constraint,
            )

            def on_reply(
                _: SearchRequest, index: int, reply: Completion, replies: list[Completion] = replies
            ) -> None:
                replies.append(reply)
                self._count(reply, index)

            self._sender.send([request], on_reply)
            answer = _read(replies[0], constraint)
            if not isinstance(answer, str):
                return answer
            problem = answer
            again = Message("user", self._render.again(problem=problem))
            turns = (*turns, said_by_model(replies[0].text), again)
        times = "once" if config.evaluator_attempts == 1 else f"{config.evaluator_attempts} times"
        return f"{self.model} was asked {times} without an answer of use (at last: {problem})"


def _read(reply: Completion, constraint: Constraint) -> dict[str, Any] | str:
    """The answer in a reply, or why there is no usable one. Thoughts, fences and prose around it do
    not count against it."""
    missing = without_answer(reply)
    if missing:
        return missing
    if reply.finish_reason == "length":
        return f"it was cut off after {reply.completion_tokens} tokens, before it was complete"
    problem = ""
    for text in extract_json(reply.text):
        wrong = violation(text, constraint)
        if not wrong:
            return dict(json.loads(text))
        problem = problem or wrong
    return problem


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _variants(
    openings: Sequence[tuple[Message, ...]], turns: tuple[Message, ...]
) -> tuple[Variant, ...]:
    full, short = openings
    new_from = len(full) + len(turns) - 1 if turns else 0
    variants = [
        Variant((*full, *turns), "", new_from),
        Variant((*short, *turns), "the example states"),
    ]
    if turns:
        variants.append(Variant(short, "the example states and the earlier attempts"))
    return tuple(variants)


def facts_in_words(candidate: Candidate) -> str:
    """The sandbox's findings on an accepted candidate, in a sentence."""
    report = candidate.report
    form = "Weights form" if report.signature == "weights" else "Mixing form"
    if report.signature == "mixing":
        form += ", linear in the agents' values" if report.linear_in_q else ", nonlinear"
    monotone = {
        "by-gate": "monotone by the gate",
        "proved": "proved to be monotone",
        "proved-over-reals": "proved to be monotone",
        "tested": "monotone in all tests",
        "not-required": "not required to be monotone",
    }.get(report.igm or "", "")
    return f"{form}{'; ' + monotone if monotone else ''}."


class LlmEvaluator:
    """A language model selects; with measurements, only between those they do not tell apart.

    Without a usable answer the measurements decide, or else the first accepted candidate, and the
    reason says so. A single function is selected without asking.

    Args:
        judge: Asks the model.
        measured: Measures first, for ``llm+measured``.
    """

    def __init__(self, judge: Judge, measured: MeasuredEvaluator | None = None) -> None:
        self._judge, self._measured = judge, measured
        self._fallback: Evaluator = measured or FirstAccepted()

    @property
    def name(self) -> str:
        """``llm`` or ``llm+measured``."""
        return "llm+measured" if self._measured else "llm"

    @property
    def pilot_steps(self) -> int:
        """Environment steps of the measurements, if any."""
        return self._measured.pilot_steps if self._measured else 0

    @property
    def pilot_updates(self) -> int:
        """Gradient updates of one of the measurements' trainings, if any."""
        return self._measured.pilot_updates if self._measured else 0

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
        lessons: str = "",
    ) -> Judgement:
        """Let the model select among what there is to select from, and ask it for advice."""
        base = self._fallback.judge(
            candidates, incumbent, round_=round_, emit=emit, lessons=lessons
        )
        if base.selected is None:
            return base
        field = by_place(candidates) + ([incumbent] if incumbent is not None else [])
        if self._measured is not None:
            field = self._measured.contenders(field)
        selected, reason = self._selected(field, incumbent, base, round_, emit)
        result = self._measured.in_words(selected) if self._measured else ""
        advice, problem = self._judge.advise(selected, result, lessons, round_)
        if problem:
            emit(events.Noted(f"no advice from the evaluator: {problem}", "warning"))
        decided = self._measured is not None and self._measured.decided(selected)
        return Judgement(selected, reason, result, advice or base.advice, decided)

    def _selected(
        self,
        field: Sequence[Candidate],
        incumbent: Candidate | None,
        base: Judgement,
        round_: int,
        emit: Emit,
    ) -> tuple[Candidate, str]:
        assert base.selected is not None
        if len(field) == 1:
            only = field[0] is incumbent or self._measured is not None
            return field[0], base.reason if only else f"{field[0].key} is the only new function"
        shown = [
            (c, self._measured.in_words(c) if self._measured else "", c is incumbent) for c in field
        ]
        answer = self._judge.choose(shown, round_)
        if isinstance(answer, str):
            emit(events.Noted(f"the evaluator did not select: {answer}", "warning"))
            return base.selected, f"{base.reason}; the evaluator did not select: {answer}"
        chosen, reason = answer
        among = ", ".join(c.key for c in field)
        text = f"undecided: {self._judge.model} chose {chosen.key} among {among}: {reason}"
        if self._measured is not None:
            text += f" (which the pilots do not tell apart; by them alone: {base.reason})"
        return chosen, text
