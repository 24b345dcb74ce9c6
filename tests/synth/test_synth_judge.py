"""A language model as evaluator: what it sees, what counts as an answer, what happens without."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from synth_fakes import FakePilot, Script, Words, check

from marl.statistics import t_interval
from models.protocol import Message
from models.replay import ReplayModel, whole_requests
from prompts.cards import load_card
from synth import events
from synth.candidates import Candidate
from synth.config import SynthConfig
from synth.context import SearchContext
from synth.control import ControlPoll
from synth.judge import Judge, LlmEvaluator
from synth.loop import synthesise
from synth.measured import MeasuredEvaluator
from synth.requests import RequestSender


@dataclass(frozen=True)
class Shown:
    source: str
    facts: str
    result: str
    incumbent: bool


class Questions:
    """Asks as briefly as can be."""

    def system(self) -> str:
        return "system"

    def select(self, functions: Sequence[Shown], *, rows: bool) -> str:
        listed = ";".join(
            f"{f.source}{'*' if f.incumbent else ''}[{f.result[:7]}]" for f in functions
        )
        return f"select{'' if rows else ' without rows'}|{listed}"

    def advise(self, function: Shown, *, lessons: str, rows: bool) -> str:
        return f"advise|{function.source}|{lessons}"

    def gate(self, *, rows: bool) -> str:
        return "gate"

    def again(self, *, problem: str) -> str:
        return f"again|{problem}"


def candidate(source: str, slot: int = 0, round_: int = 0) -> Candidate:
    return Candidate(round_, slot, 0, source, check(source))


def answering(select: Sequence[str], advice: Sequence[str] = ('{"advice": "more"}',)) -> Script:
    """Gives these answers to the question, one after the other, and the last again and again."""
    left = {"select": list(select), "advise": list(advice), "gate": list(select)}

    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        about = messages[1].content.split("|")[0].split()[0]
        return left[about].pop(0) if len(left[about]) > 1 else left[about][0]

    return Script(answer)


def evaluator(
    model: Script, returns: dict[str, float | None] | None = None, **settings: Any
) -> tuple[LlmEvaluator, list[Any]]:
    seen: list[Any] = []
    sender = RequestSender(model, seen.append, ControlPoll(lambda: "continue"))
    judge = Judge(sender, Questions(), Shown, SynthConfig(**settings))
    gauge = None
    if returns is not None:
        gauge = MeasuredEvaluator(
            FakePilot(returns), seeds=[1, 2, 3], steps=10, interval=t_interval, baseline=False
        )
    return LlmEvaluator(judge, gauge), seen


def choose(number: int, reason: str = "it reads the state") -> str:
    return json.dumps({"reason": reason, "choice": number})


A, B, C = candidate("ok:weights:a"), candidate("ok:weights:b", 1), candidate("ok:mixing:c", 2)


def judged(
    model: Script,
    *candidates: Candidate,
    incumbent: Candidate | None = None,
    returns: dict[str, float | None] | None = None,
    **settings: Any,
) -> tuple[Any, list[Any]]:
    made, seen = evaluator(model, returns, **settings)
    judgement = made.judge(candidates, incumbent, round_=0, emit=seen.append, lessons="x (1x)")
    return judgement, seen


def test_the_model_selects_and_advises() -> None:
    model = answering([choose(2)], ['{"advice": "look at the last action"}'])
    judgement, seen = judged(model, A, B, C)
    assert judgement.selected is B
    assert judgement.reason.startswith("undecided: script chose r0.s1.0 among r0.s0.0, r0.s1.0, ")
    assert judgement.advice == "look at the last action"
    asked = [e for e in seen if isinstance(e, events.Prompted)]
    assert [p.conversation for p in asked] == ["r0.select", "r0.advice"]
    assert asked[1].messages[1].content == "advise|ok:weights:b|x (1x)"
    assert {p.role for p in asked} == {"evaluator"}


def test_every_answer_is_asked_for_under_a_schema() -> None:
    model = answering([choose(1)])
    judged(model, A, B)
    schema = model.calls[0]["constraint"].value
    assert schema["properties"]["choice"]["enum"] == [1, 2]
    assert schema["additionalProperties"] is False


def test_the_slots_of_the_functions_do_not_matter() -> None:
    chosen = set()
    for order in ([A, B, C], [C, B, A], [B, A, C]):
        slots = [Candidate(0, i, 0, c.source, c.report) for i, c in enumerate(order)]
        judgement, _ = judged(answering([choose(2)]), *slots)
        chosen.add(judgement.selected.graph_hash)
    assert chosen == {"b"}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("I like the second one.", "it is no JSON"),
        ('{"choice": 2}', "'reason' is a required property"),
        (choose(7), "7 is not one of [1, 2]"),
        (choose(0), "0 is not one of [1, 2]"),
        ('{"reason": "", "choice": 1}', "reason"),
        ('{"reason": "x", "choice": true}', "choice"),
        ("[0, 1]", "is not of type 'object'"),
    ],
)
def test_an_answer_of_no_use_is_asked_for_again_with_the_reason(bad: str, why: str) -> None:
    model = answering([bad, choose(2)])
    judgement, _ = judged(model, A, B)
    assert judgement.selected is B
    again = model.calls[1]["messages"]
    assert again[2] == Message("assistant", bad)
    assert again[3].content.startswith("again|")
    assert why in again[3].content
    assert model.calls[0]["seed"] != model.calls[1]["seed"]


def test_without_an_answer_of_use_the_first_accepted_is_taken_and_it_is_said() -> None:
    judgement, seen = judged(answering(["no idea"]), B, A, evaluator_attempts=2)
    assert judgement.selected is A
    assert "first accepted" in judgement.reason
    assert "the evaluator did not select: script was asked 2 times" in judgement.reason
    notes = [e for e in seen if isinstance(e, events.Noted)]
    assert [n.level for n in notes] == ["warning"]


def test_without_an_answer_of_use_measurements_decide_where_there_are_any() -> None:
    returns = {"a": (1.0, 1.0, 1.0), "b": (1.5, 0.6, 1.1)}
    judgement, _ = judged(answering(["no idea"]), A, B, returns=returns)
    assert judgement.selected is B
    assert "do not tell" in judgement.reason
    assert "did not select" in judgement.reason


def test_without_advice_of_use_the_advice_follows_from_the_measurements() -> None:
    model = answering([choose(1)], ["none"])
    judgement, _ = judged(model, A, returns={"a": 1.0}, evaluator_attempts=1)
    assert judgement.advice.startswith("Keep its main idea")


def test_a_cut_answer_is_of_no_use_even_if_its_beginning_fits() -> None:
    model = answering([choose(1)])
    model.finish = "length"
    judgement, _ = judged(model, A, B, evaluator_attempts=1)
    assert "cut off" in judgement.reason


@pytest.mark.parametrize(
    "around",
    [
        "```json\n{}\n```",
        "~~~\n{}\n~~~\n",
        "Here is my choice:\n\n```json\n{}\n```\nHope this helps.",
        "I have compared them. {} That is all.",
        '<think>\nThe first? {{"choice": 1}}\n</think>\n\n{}',
        "First I thought\n```json\n{{}}\n```\nbut\n```json\n{}\n```",
        "\ufeff{}",
    ],
)
def test_an_answer_is_found_in_what_stands_around_it(around: str) -> None:
    model = answering([around.format(choose(2))], [around.format('{"advice": "more"}')])
    judgement, seen = judged(model, A, B)
    assert judgement.selected is B
    assert judgement.advice == "more"
    assert [c["messages"][1].content.split("|")[0] for c in model.calls] == ["select", "advise"]
    assert not [e for e in seen if isinstance(e, events.Noted)]


def test_thoughts_without_an_end_hold_no_answer() -> None:
    judgement, _ = judged(answering([f"<think>\n{choose(2)}"]), A, B, evaluator_attempts=1)
    assert judgement.selected is A
    assert "it holds thoughts only" in judgement.reason


def test_a_single_function_is_selected_without_asking() -> None:
    model = answering([choose(1)])
    judgement, _ = judged(model, A)
    assert judgement.selected is A
    assert [c["messages"][1].content.split("|")[0] for c in model.calls] == ["advise"]
    assert "only new function" in judgement.reason
    kept, _ = judged(answering([choose(1)]), incumbent=A)
    assert kept.selected is A
    assert "so r0.s0.0 stays" in kept.reason
    nothing, _ = judged(answering([choose(1)]))
    assert nothing.selected is None


def test_the_incumbent_is_marked_and_can_stay() -> None:
    model = answering([choose(1)])
    judgement, _ = judged(model, B, C, incumbent=A)
    assert judgement.selected is A
    assert "ok:weights:a*[]" in model.calls[0]["messages"][1].content


def test_with_measurements_the_model_only_decides_between_what_measures_alike() -> None:
    returns: dict[str, Any] = {"a": (100.0, 99.0, 98.0), "b": (98.0, 99.0, 99.0), "c": 50.0}
    model = answering([choose(2)])
    judgement, _ = judged(model, A, B, C, returns=returns)
    assert judgement.selected is B
    question = model.calls[0]["messages"][1].content
    assert "mixing" not in question
    assert "[Trained]" in question
    assert "which the pilots do not tell apart" in judgement.reason
    assert judgement.result.startswith("Trained")


def test_with_a_clear_measurement_the_model_is_not_asked_to_select() -> None:
    model = answering([choose(1)])
    judgement, _ = judged(model, A, B, returns={"a": 1.0, "b": 5.0})
    assert judgement.selected is B
    assert len(model.calls) == 1
    assert judgement.decided
    assert "highest final return" in judgement.reason


def test_a_function_whose_pilot_failed_is_never_shown() -> None:
    model = answering([choose(1)])
    judgement, _ = judged(model, A, B, C, returns={"a": None, "b": 1.0, "c": 1.0})
    assert "weights:a" not in model.calls[0]["messages"][1].content
    assert judgement.selected is not A


def test_a_long_question_leaves_out_the_examples() -> None:
    model = answering([choose(1)])
    model.context_tokens = 2_048 + 44
    _, seen = judged(model, A, B, C)
    asked = next(e for e in seen if isinstance(e, events.Prompted))
    assert asked.messages[1].content.startswith("select without rows")
    assert asked.left_out == "the example states"
    assert asked.conversation == "r0.select-1"


def test_tokens_of_the_evaluator_are_counted() -> None:
    counted: list[int] = []
    sender = RequestSender(
        answering([choose(1)]), lambda event: None, ControlPoll(lambda: "continue")
    )
    count: Callable[..., None] = lambda reply, index: counted.append(reply.completion_tokens)  # noqa: E731
    judge = Judge(sender, Questions(), Shown, SynthConfig(), count)
    judge.choose([(A, "", False), (B, "", False)], 0)
    assert counted == [1]


def test_a_question_asked_anew_in_a_round_is_a_conversation_of_its_own() -> None:
    made, seen = evaluator(answering([choose(1)]))
    for _ in range(2):
        made.judge([A, B], None, round_=0, emit=seen.append)
    asked = [e for e in seen if isinstance(e, events.Prompted)]
    names = [p.conversation for p in asked]
    assert names == ["r0.select", "r0.advice", "r0.select.1", "r0.advice.1"]
    assert len({p.seed for p in asked}) == 4


def test_the_gate_is_proposed_with_a_reason() -> None:
    sender = RequestSender(
        answering(['{"reason": "both must climb", "gate": "relax"}']),
        lambda event: None,
        ControlPoll(lambda: "continue"),
    )
    proposal = Judge(sender, Questions(), Shown, SynthConfig()).propose_gate()
    assert not isinstance(proposal, str)
    assert (proposal.mode, proposal.reason, proposal.model) == (
        "relax",
        "both must climb",
        "script",
    )


def test_a_search_with_an_evaluator_cut_off_anywhere_asks_only_for_what_is_missing() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        about = messages[1].content.split("|")[0].split()[0]
        if about == "select":
            return choose(2) if len(messages) > 2 else "none"
        return '{"advice": "more"}' if about == "advise" else f"ok:weights:{len(messages)}{index}"

    def search(recorded: dict[str, Any]) -> tuple[Any, list[Any], ReplayModel]:
        seen: list[Any] = []
        model = ReplayModel(recorded, wrapped=Script(answer))
        control_poll = ControlPoll(lambda: "continue")
        config = SynthConfig(rounds=2, candidates=2, repairs=0)
        around = SearchContext(
            coder=model,
            check=lambda source, gate: check(source),
            evaluator=LlmEvaluator(
                Judge(RequestSender(model, seen.append, control_poll), Questions(), Shown, config)
            ),
            emit=seen.append,
            control=lambda: "continue",
            render=Words(),
            control_poll=control_poll,
        )
        return synthesise(load_card("matrix/climbing"), config, around), seen, model

    whole, seen, _ = search({})
    replies = [
        (e.request, e.index, e.n, e.completion) for e in seen if isinstance(e, events.Replied)
    ]
    total = len({request for request, *_ in replies})
    assert total == 2 + 2 * 3, "two openings, and for each two attempts to select, and advice"
    for kept in range(len(replies) + 1):
        recorded = whole_requests(replies[:kept])
        again, _, model = search(recorded)
        assert again.selected == whole.selected
        assert again.reason == whole.reason
        assert (model.answered, model.asked) == (len(recorded), total - len(recorded))
