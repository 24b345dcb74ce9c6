"""A person approves or rejects a selection, and what is said counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synth_fakes import FakePilot, Script, Words, check, rounds

from marl.statistics import t_interval
from prompts.cards import load_card
from synth import events
from synth.approval import Answer
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.loop import synthesise
from synth.measured import MeasuredEvaluator

RETURNS: dict[str, float | None] = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}


def search(
    coder: Script, answers: Sequence[Answer | None], **settings: Any
) -> tuple[SynthesisResult, list[Any]]:
    seen: list[Any] = []
    left = iter(answers)
    evaluator = MeasuredEvaluator(
        FakePilot(RETURNS), seeds=[1], steps=10, interval=t_interval, baseline=False
    )
    around = SearchContext(
        coder=coder,
        check=lambda source, gate: check(source),
        evaluator=evaluator,
        emit=seen.append,
        control=settings.pop("control", lambda: "continue"),
        render=Words(),
        person=lambda proposal: next(left),
    )
    config = SynthConfig(**{"rounds": 1, "candidates": 3, "repairs": 0, **settings})
    return synthesise(load_card("matrix/climbing"), config, around), seen


def proposals(seen: list[Any]) -> list[tuple[int, str]]:
    return [(e.attempt, e.selected) for e in seen if isinstance(e, events.SelectionProposed)]


ABC = ["ok:weights:a", "ok:weights:b", "ok:weights:c"]


def test_the_search_waits_for_the_answer() -> None:
    result, seen = search(rounds(ABC), [None, None, Answer("approve")])
    assert result.selected is not None
    assert result.selected.graph_hash == "c"
    assert proposals(seen) == [(0, "r0.s2.0")]
    assert "approved by a person" in result.reason
    assert result.seconds["person"] > 0.1


def test_a_rejection_proposes_the_next_best_and_bars_the_rejected() -> None:
    coder = rounds(ABC, ["ok:weights:c", "no:p", "no:p"])
    result, seen = search(coder, [Answer("reject"), Answer("approve")], rounds=2)
    assert proposals(seen) == [(0, "r0.s2.0"), (1, "r0.s1.0")]
    assert result.selected is not None
    assert result.selected.graph_hash == "b"


def test_everything_rejected_leaves_the_round_without_a_selection() -> None:
    result, seen = search(rounds(ABC), [Answer("reject")] * 3)
    assert result.selected is None
    assert len(proposals(seen)) == 3


def test_another_function_of_the_round_can_be_taken() -> None:
    result, _ = search(rounds(ABC), [Answer("approve", selected="r0.s0.0")])
    assert result.selected is not None
    assert result.selected.graph_hash == "a"
    assert "selected by a person" in result.reason


def test_a_persons_advice_replaces_the_evaluators() -> None:
    coder = rounds(ABC, ["ok:weights:d", "no:p", "no:p"])
    answers = [Answer("approve", advice="look at agent 1"), Answer("approve")]
    search(coder, answers, rounds=2)
    assert "look at agent 1" in coder.calls[1]["messages"][3].content


def test_an_incumbent_that_stays_is_not_asked_about_again() -> None:
    coder = rounds(ABC, ["ok:weights:a", "no:p", "no:p"])
    result, seen = search(coder, [Answer("approve")], rounds=2)
    assert len(proposals(seen)) == 1
    assert result.rounds == 2


def test_a_stop_while_waiting_ends_the_search() -> None:
    waited: list[int] = []

    def control() -> str:
        waited.append(1)
        return "stop" if len(waited) > 30 else "continue"

    result, _ = search(rounds(ABC), [None] * 1_000, control=control)
    assert result.status == "stopped"
    assert result.selected is None
