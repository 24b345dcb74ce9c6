"""The coder-evaluator loop, with scripted models and checks."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from synth_fakes import FakePilot, Script, Words, check, rounds

from marl.statistics import t_interval
from models.protocol import Message, ModelError
from models.replay import ReplayModel, whole_requests
from prompts.cards import load_card
from synth import events
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.control import Interrupted
from synth.evaluator import FirstAccepted
from synth.loop import synthesise
from synth.measured import MeasuredEvaluator

CARD = load_card("matrix/climbing")


def search(
    coder: Any,
    *,
    evaluator: Any = None,
    control: Callable[[], Any] = lambda: "continue",
    judge: Any = check,
    more: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[SynthesisResult, list[Any]]:
    seen: list[Any] = []
    config = SynthConfig(**{"rounds": 1, "candidates": 2, "repairs": 2, **settings})
    around = SearchContext(
        coder=coder,
        check=lambda source, gate: judge(source),
        evaluator=evaluator or FirstAccepted(),
        emit=seen.append,
        control=control,
        render=Words(),
        **(more or {}),
    )
    result = synthesise(CARD, config, around)
    return result, seen


def of(seen: Sequence[Any], kind: type) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def measured(returns: dict[str, float | None], **more: Any) -> tuple[MeasuredEvaluator, FakePilot]:
    pilot = FakePilot(returns)
    return MeasuredEvaluator(pilot, seeds=[1, 2], steps=100, interval=t_interval, **more), pilot


def test_a_refused_reply_is_corrected_in_its_own_conversation() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        if call == 0:
            return ["no:policy.while", "ok:weights:b"][index]
        return "ok:weights:a"

    coder = Script(answer)
    result, seen = search(coder)
    assert [(c.slot, c.repair, c.accepted) for c in result.candidates] == [
        (0, 0, False),
        (1, 0, True),
        (0, 1, True),
    ]
    assert [m.content for m in coder.calls[1]["messages"]] == [
        "system",
        "first|",
        "no:policy.while",
        "repair|broke policy.while",
    ]
    assert coder.calls[1]["n"] == 1
    assert result.candidates[2].parent == "r0.s0.0"
    asked = of(seen, events.Prompted)
    assert [(p.slot, p.repair, p.conversation, p.new_from) for p in asked] == [
        (None, 0, "r0", 0),
        (0, 1, "r0.s0", 3),
    ]
    assert result.rejections == {"policy.while": 1}


def test_corrections_build_on_each_other_and_end_after_r_attempts() -> None:
    coder = Script(lambda messages, index, call: f"no:rule.{call}")
    result, _ = search(coder, candidates=1, repairs=2)
    assert len(coder.calls) == 3
    assert [m.content for m in coder.calls[2]["messages"]][2:] == [
        "no:rule.0",
        "repair|broke rule.0",
        "no:rule.1",
        "repair|broke rule.1",
    ]
    assert result.selected is None
    assert result.status == "finished"
    assert "none of 3 candidates for matrix/climbing was accepted" in result.reason
    assert result.rejections == {"rule.0": 1, "rule.1": 1, "rule.2": 1}


def test_code_that_was_refused_and_comes_again_is_left_out_for_another_idea() -> None:
    coder = Script(lambda messages, index, call: ["no:p", "no:p  ", "no:q", "no:r"][call])
    search(coder, candidates=1, repairs=3)
    asked = [[m.content for m in call["messages"]] for call in coder.calls]
    assert asked[1][2:] == ["no:p", "repair|broke p"]
    assert asked[2] == ["system", "first without rows|repair|broke p  "], "it repeats itself"
    assert asked[3][2:] == ["no:q", "repair|broke q"]


def test_a_reply_cut_by_the_token_limit_is_told_so() -> None:
    coder = Script(lambda messages, index, call: "no:policy.syntax", finish="length")
    search(coder, candidates=1, repairs=1, max_tokens=99)
    assert "cut off at 99 tokens" in coder.calls[1]["messages"][-1].content


def test_a_duplicate_is_told_and_never_judged_twice() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        return "ok:weights:new" if "duplicate" in messages[-1].content else "ok:weights:same"

    evaluator, pilot = measured({"same": 1, "new": 2}, baseline=False)
    result, seen = search(Script(answer), evaluator=evaluator, candidates=2)
    first, second, third = result.candidates
    assert (first.duplicate_of, second.duplicate_of, third.duplicate_of) == (None, "r0.s0.0", None)
    assert pilot.asked == [("same", "new")]
    assert result.selected is third
    assert of(seen, events.RoundFinished)[0].duplicates == 1


def test_a_function_that_comes_again_and_again_is_left_out_for_another_idea() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        return (
            "ok:weights:new" if messages[1].content.startswith("first without") else "ok:weights:a"
        )

    coder = Script(answer)
    result, _ = search(coder, candidates=2, repairs=2)
    assert [m.role for m in coder.calls[1]["messages"]][2:] == ["assistant", "user"]
    assert [m.role for m in coder.calls[2]["messages"]] == ["system", "user"]
    assert result.candidates[-1].graph_hash != result.candidates[0].graph_hash


def test_a_function_of_an_earlier_round_counts_as_duplicate() -> None:
    evaluator, pilot = measured({"a": 1, "b": 2}, baseline=False)
    coder = rounds(["ok:weights:a", "ok:weights:b"], ["ok:weights:b", "ok:weights:a"])
    result, seen = search(coder, evaluator=evaluator, rounds=2, repairs=0)
    assert pilot.asked == [("a", "b")]
    assert result.selected is not None
    assert result.selected.key == "r0.s1.0"
    assert [e.selected for e in of(seen, events.RoundFinished)] == ["r0.s1.0", "r0.s1.0"]


def test_the_chosen_reply_and_the_advice_become_the_coders_memory() -> None:
    evaluator, _ = measured({"a": 1, "b": 5, "c": 9}, baseline=False)
    coder = rounds(
        ["ok:weights:a", "ok:mixing:b"], ["ok:weights:c", "no:x"], ["ok:weights:d", "no:x"]
    )
    search(coder, evaluator=evaluator, rounds=3, repairs=0)
    second = [m.content for m in coder.calls[1]["messages"]]
    assert second[:3] == ["system", "first|", "ok:mixing:b"]
    assert second[3].startswith("refine|Trained 2 times for 100 environment steps")
    third = [m.content for m in coder.calls[2]["messages"]]
    assert [third[2], third[4]] == ["ok:mixing:b", "ok:weights:c"]
    assert "x (1x)" in third[5]
    assert [m.role for m in coder.calls[2]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]


def test_memory_forgets_the_oldest_round_first() -> None:
    evaluator, _ = measured({"a": 1, "b": 5, "c": 9}, baseline=False)
    coder = rounds(["ok:weights:a"], ["ok:weights:b"], ["ok:weights:c"])
    search(coder, evaluator=evaluator, rounds=3, repairs=0, memory=1, candidates=1)
    assert [m.content for m in coder.calls[2]["messages"]][2] == "ok:weights:b"
    assert len(coder.calls[2]["messages"]) == 4


def test_without_memory_every_round_starts_afresh() -> None:
    coder = rounds(["ok:weights:a", "no:x"], ["ok:weights:b", "no:x"])
    search(coder, rounds=2, repairs=0, memory=0)
    assert [m.content for m in coder.calls[1]["messages"]] == [
        "system",
        "first|x (1x). For example: broke x",
    ]


def test_a_round_without_success_tells_the_next_one_why() -> None:
    coder = rounds(["no:p", "no:p"], ["ok:weights:a", "no:p"])
    result, _ = search(coder, rounds=2, repairs=0)
    assert coder.calls[1]["messages"][1].content == "first|p (2x). For example: broke p"
    assert result.selected is not None
    assert result.selected.key == "r1.s0.0"


def test_a_round_without_success_keeps_the_earlier_choice() -> None:
    result, seen = search(rounds(["ok:weights:a", "no:p"], ["no:p", "no:q"]), rounds=2, repairs=0)
    assert result.selected is not None
    assert result.selected.key == "r0.s0.0"
    assert of(seen, events.SynthesisFinished)[0].selected == "r0.s0.0"


def test_selection_does_not_depend_on_the_order_of_the_replies() -> None:
    replies = ["ok:weights:a:9", "ok:weights:b:5", "no:p", "ok:mixing:c:5"]
    chosen = set()
    for order in itertools.permutations(replies):
        evaluator, _ = measured({"a": 3, "b": 3, "c": 3}, baseline=False)
        result, _ = search(rounds(order), evaluator=evaluator, repairs=0, candidates=4)
        assert result.selected is not None
        chosen.add(result.selected.graph_hash)
    assert chosen == {"b"}


def test_a_failed_pilot_is_never_selected() -> None:
    evaluator, _ = measured({"a": None, "b": -50})
    result, seen = search(rounds(["ok:weights:a", "ok:weights:b"]), evaluator=evaluator, repairs=0)
    assert result.selected is not None
    assert result.selected.graph_hash == "b"
    assert "failed in training: r0.s0.0 (loss became NaN)" in result.reason
    assert [s.key for s in of(seen, events.PilotScored)] == ["vdn", "r0.s0.0", "r0.s1.0"]


def test_if_every_pilot_fails_nothing_is_selected() -> None:
    evaluator, _ = measured({"a": None})
    result, _ = search(rounds(["ok:weights:a"]), evaluator=evaluator, candidates=1, repairs=0)
    assert result.selected is None
    assert "every pilot training failed" in result.reason


def test_pilot_steps_are_counted_in_the_result() -> None:
    evaluator, _ = measured({"a": 1, "b": 2})
    result, _ = search(rounds(["ok:weights:a", "ok:weights:b"]), evaluator=evaluator, repairs=0)
    assert result.pilot_steps == 3 * 2 * 100
    assert result.pilot_updates == 100


@pytest.mark.parametrize("after", range(9))
def test_a_stop_at_any_moment_ends_cleanly(after: int) -> None:
    left = iter(range(after))

    def control() -> str:
        return "continue" if next(left, None) is not None else "stop"

    result, seen = search(
        rounds(["ok:weights:a", "ok:weights:b"], ["ok:weights:c", "ok:weights:d"]),
        control=control,
        rounds=2,
    )
    assert result.status == "stopped"
    assert isinstance(seen[-1], events.SynthesisFinished)
    assert seen[-1].status == "stopped"
    judged = len(of(seen, events.RoundFinished))
    assert result.rounds == judged
    assert (result.selected is None) == (judged == 0)
    assert len(result.candidates) == len(of(seen, events.CandidateChecked))


def test_a_pilot_that_is_told_to_stop_stops_the_search() -> None:
    def pilot(*_: object) -> Any:
        raise Interrupted

    evaluator = MeasuredEvaluator(pilot, seeds=[1], steps=10, interval=t_interval)
    result, _ = search(rounds(["ok:weights:a", "no:p"]), evaluator=evaluator, repairs=0)
    assert result.status == "stopped"
    assert result.selected is None


def test_stop_after_round_finishes_the_round_with_its_selection() -> None:
    said = iter(["continue", "stop-after-round"])
    coder = rounds(["ok:weights:a", "ok:weights:b"], ["ok:weights:c", "ok:weights:d"])
    result, _ = search(coder, control=lambda: next(said, "continue"), rounds=2)
    assert (result.status, result.rounds) == ("finished", 1)
    assert result.selected is not None
    assert len(coder.calls) == 1


def test_pause_waits_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["pause", "pause", "pause"])
    slept: list[float] = []
    monkeypatch.setattr("synth.control.time.sleep", slept.append)
    result, _ = search(rounds(["ok:weights:a", "no:p"]), control=lambda: next(said, "continue"),
                       repairs=0)  # fmt: skip
    assert result.status == "finished"
    assert len(slept) == 3


def test_a_coder_that_returns_too_few_replies_is_an_error() -> None:
    class Short(Script):
        def complete(self, *args: Any, **kwargs: Any) -> Any:
            return super().complete(*args, **kwargs)[:1]

    with pytest.raises(ModelError, match="returned 1 replies where 2 were asked for"):
        search(Short(lambda *_: "ok:weights:a"))


def test_seeds_differ_between_requests_and_follow_from_the_configuration() -> None:
    def seeds(seed: int) -> list[int]:
        coder = Script(lambda messages, index, call: f"no:{call}")
        search(coder, rounds=2, repairs=2, seed=seed)
        return [call["seed"] for call in coder.calls]

    assert seeds(0) == seeds(0)
    assert len(set(seeds(0))) == len(seeds(0)) == 2 * (1 + 2 * 2)
    assert not set(seeds(0)) & set(seeds(1))
    assert all(0 <= s < 2**31 for s in seeds(0))


def test_recorded_traffic_repeats_a_search_without_its_model() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        return f"no:p{index}" if call % 2 else f"ok:weights:{call}{index}"

    result, seen = search(Script(answer), rounds=3, repairs=1)
    replies = [(e.request, e.index, e.n, e.completion) for e in of(seen, events.Replied)]
    replay = ReplayModel(whole_requests(replies), name="script")
    again, _ = search(replay, rounds=3, repairs=1)
    assert [c.key for c in again.candidates] == [c.key for c in result.candidates]
    assert [c.source for c in again.candidates] == [c.source for c in result.candidates]
    assert again.selected == result.selected


def test_a_search_cut_off_at_any_reply_asks_only_for_what_is_missing() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        return "no:p" if "repair" not in messages[-1].content else f"ok:weights:{len(messages)}"

    whole, seen = search(Script(answer), rounds=2, repairs=1)
    replies = [(e.request, e.index, e.n, e.completion) for e in of(seen, events.Replied)]
    total = len(of(seen, events.Prompted))
    for kept in range(len(replies) + 1):
        recorded = whole_requests(replies[:kept])
        model = ReplayModel(recorded, wrapped=Script(answer))
        again, _ = search(model, rounds=2, repairs=1)
        assert [c.source for c in again.candidates] == [c.source for c in whole.candidates]
        assert (model.answered, model.asked) == (len(recorded), total - len(recorded))


def test_streamed_text_is_told_with_its_place() -> None:
    _, seen = search(rounds(["ok:weights:a", "ok:weights:b"]))
    assert [(t.slot, t.repair, t.text) for t in of(seen, events.ReplyText)] == [
        (0, 0, "ok:weights:a"),
        (1, 0, "ok:weights:b"),
    ]


def test_importing_the_loop_and_the_sampler_does_not_import_torch() -> None:
    code = (
        "import sys, synth.loop, synth.sampler, synth.evaluator, models.replay, prompts.render; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
