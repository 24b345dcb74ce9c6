"""Requests go out together and are cancelled together; what is too long is made to fit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from synth_fakes import Script, Words, check, rounds

from models.protocol import ChatRequest, Completion, ContextOverflow, Message, ModelError
from models.replay import NotRecorded, ReplayModel, whole_requests
from prompts.cards import load_card
from synth import events
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.evaluator import FirstAccepted
from synth.loop import synthesise

CARD = load_card("matrix/climbing")


def search(
    coder: Any,
    *,
    judge: Callable[[str], Any] = check,
    control: Callable[[], Any] = lambda: "continue",
    around: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[SynthesisResult, list[Any]]:
    seen: list[Any] = []
    config = SynthConfig(**{"rounds": 1, "candidates": 2, "repairs": 2, **settings})
    surroundings = SearchContext(
        coder=coder,
        check=lambda source, gate: judge(source),
        evaluator=FirstAccepted(),
        emit=seen.append,
        control=control,
        render=Words(),
        **(around or {}),
    )
    return synthesise(CARD, config, surroundings), seen


def of(seen: Sequence[Any], kind: type) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


class Slow(Script):
    """A model that gives its replies one after the other, each after ``wait`` is called."""

    wait: Callable[[int], None]
    reverse = False

    def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
        on_done = asked.pop("on_done")
        replies = super().complete(request, **asked)
        order = list(enumerate(replies))
        for index, reply in reversed(order) if self.reverse else order:
            self.wait(index)
            on_done(index, reply)
        return replies


def test_a_reply_is_checked_while_others_are_still_being_written() -> None:
    checked = threading.Event()
    coder = Slow(lambda messages, index, call: f"ok:weights:{index}")

    def wait(index: int) -> None:
        if index == 1:
            assert checked.wait(20), "the first reply is not checked before the second is written"

    def judge(source: str) -> Any:
        checked.set()
        return check(source)

    coder.wait = wait
    result, _ = search(coder, judge=judge)
    assert result.accepted == 2


def test_corrections_of_a_wave_are_asked_for_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        if len(messages) == 2:
            return f"no:p{index}"
        together.wait()
        return f"ok:weights:{messages[2].content[-2:]}"

    result, _ = search(Script(answer), candidates=3)
    assert result.accepted == 3


def test_the_order_of_arrival_changes_nothing() -> None:
    def run(reverse: bool) -> list[tuple[str, str | None]]:
        coder = Slow(lambda messages, index, call: "ok:weights:same" if index < 2 else "no:p")
        coder.wait, coder.reverse = (lambda index: time.sleep(0.01)), reverse
        result, seen = search(coder, candidates=3, repairs=0)
        assert [e.candidate.key for e in of(seen, events.CandidateChecked)] == [
            c.key for c in result.candidates
        ]
        return [(c.key, c.duplicate_of) for c in result.candidates]

    expected = [("r0.s0.0", None), ("r0.s1.0", "r0.s0.0"), ("r0.s2.0", None)]
    assert run(False) == run(True) == expected


def test_events_are_told_in_the_callers_thread_alone() -> None:
    threads = set()
    coder = Script(lambda messages, index, call: f"ok:weights:{index}")
    config = SynthConfig(rounds=1, candidates=4)
    around = SearchContext(
        coder=coder,
        check=lambda source, gate: check(source),
        evaluator=FirstAccepted(),
        emit=lambda event: threads.add(threading.current_thread()),
        control=lambda: "continue",
        render=Words(),
    )
    synthesise(CARD, config, around)
    assert threads == {threading.current_thread()}


def test_a_stop_cancels_requests_in_mid_reply_and_keeps_what_was_complete() -> None:
    writing = threading.Event()

    class Endless(Script):
        ended = False

        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            asked["on_done"](0, Completion("ok:weights:a", "script", 0, 1, 1, 0.0))
            try:
                while True:
                    asked["on_text"](1, "x")
                    writing.set()
                    time.sleep(0.005)
            finally:
                self.ended = True

    coder = Endless(lambda *_: "")
    start = time.monotonic()
    result, seen = search(coder, control=lambda: "stop" if writing.is_set() else "continue")
    assert result.status == "stopped"
    assert coder.ended
    assert time.monotonic() - start < 20
    assert [r.index for r in of(seen, events.Replied)] == [0]


def test_a_stop_does_not_wait_for_a_model_that_is_just_being_loaded() -> None:
    loading, loaded = threading.Event(), threading.Event()

    class Loading(Script):
        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            loading.set()
            assert loaded.wait(60)
            return super().complete(request, **asked)

    start = time.monotonic()
    result, _ = search(
        Loading(lambda *_: "ok:weights:a"),
        control=lambda: "stop" if loading.is_set() else "continue",
    )
    loaded.set()
    assert result.status == "stopped"
    assert time.monotonic() - start < 20


def test_what_was_answered_before_a_failure_is_told() -> None:
    def answer(messages: Sequence[Message], index: int, call: int) -> str:
        if len(messages) == 2:
            return f"no:p{index}"
        if "no:p1" in messages[2].content:
            time.sleep(0.2)
            raise ModelError("the server is gone")
        return "ok:weights:a"

    seen: list[Any] = []
    around = SearchContext(
        coder=Script(answer),
        check=lambda source, gate: check(source),
        evaluator=FirstAccepted(),
        emit=seen.append,
        control=lambda: "continue",
        render=Words(),
    )
    with pytest.raises(ModelError, match="the server is gone"):
        synthesise(CARD, SynthConfig(rounds=1, candidates=2), around)
    assert [(r.slot, r.repair) for r in of(seen, events.Replied)] == [(0, 0), (1, 0), (0, 1)]


def test_a_reply_that_breaks_its_constraint_is_said() -> None:
    class Ignoring(Script):
        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            return [Completion("no:p", "script", 0, 1, 1, 0.0, violation="it leaves the grammar")]

    _, seen = search(Ignoring(lambda *_: ""), candidates=1, repairs=0)
    (note,) = of(seen, events.Noted)
    assert note.level == "warning"
    assert "it leaves the grammar" in note.text


def three_rounds(coder: Script, **more: Any) -> tuple[SynthesisResult, list[Any]]:
    return search(coder, rounds=3, repairs=0, candidates=1, **more)


def test_the_oldest_rounds_go_first_then_the_examples_then_the_newest_round() -> None:
    def limited(tokens: int | None) -> tuple[list[str], str]:
        coder = rounds(["ok:weights:a"], ["ok:weights:b"], ["ok:weights:c"])
        coder.context_tokens = tokens
        _, seen = three_rounds(coder, max_tokens=64)
        last = of(seen, events.Prompted)[-1]
        assert [m.content for m in last.messages] == [
            m.content for m in coder.calls[-1]["messages"]
        ]
        return [m.content for m in last.messages], last.left_out

    whole, left_out = limited(None)
    assert left_out == ""
    assert (whole[2], whole[4]) == ("ok:weights:a", "ok:weights:b")
    size = sum(map(len, whole)) + 64
    shorter, left_out = limited(size - 1)
    assert left_out == "the oldest remembered round"
    assert shorter == [*whole[:2], *whole[4:]]
    size = sum(map(len, shorter)) + 64
    # "first without rows" is longer than "first", so the next that fits leaves out the round too
    shortest, left_out = limited(size - 1)
    assert left_out == "2 oldest rounds and the example states"
    assert shortest == ["system", "first without rows|"]


def test_a_request_that_fits_in_no_way_says_so() -> None:
    class Refusing(Script):
        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            raise ContextOverflow("the conversation has 900 tokens, and the context 100")

    coder = Refusing(lambda *_: "")
    coder.context_tokens = 10
    with pytest.raises(ContextOverflow, match="900 tokens"):
        search(coder)


def test_a_model_that_cannot_count_is_asked_again_with_less() -> None:
    class Strict(Script):
        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            if len(request.messages) > 4:
                raise ContextOverflow("too long")
            return super().complete(request, **asked)

    coder = Strict(lambda messages, index, call: f"ok:weights:{call}")
    result, seen = three_rounds(coder)
    assert result.accepted == 3
    assert of(seen, events.Prompted)[-1].left_out == "the oldest remembered round"


def test_a_strict_replay_finds_the_requests_that_were_shortened() -> None:
    coder = Script(lambda messages, index, call: f"ok:weights:{call}")
    coder.context_tokens = 64 + 150
    result, seen = three_rounds(coder, max_tokens=64)
    assert of(seen, events.Prompted)[-1].left_out
    replies = [(e.request, e.index, e.n, e.completion) for e in of(seen, events.Replied)]
    again, repeated = three_rounds(ReplayModel(whole_requests(replies)), max_tokens=64)
    assert [c.source for c in again.candidates] == [c.source for c in result.candidates]
    assert [p.left_out for p in of(repeated, events.Prompted)] == [
        p.left_out for p in of(seen, events.Prompted)
    ]
    with pytest.raises(NotRecorded):
        three_rounds(ReplayModel(whole_requests(replies[:-1])), max_tokens=64)


def test_a_long_correction_forgets_earlier_corrections() -> None:
    coder = Script(lambda messages, index, call: f"no:p{call}" + "." * 200)
    coder.context_tokens = 64 + 500
    _, seen = search(coder, candidates=1, repairs=3, max_tokens=64)
    asked = of(seen, events.Prompted)
    assert [len(p.messages) for p in asked] == [2, 4, 4, 4]
    assert asked[-1].left_out == "the example states and 2 earlier corrections"
    assert asked[-1].messages[2].content.startswith("no:p2")
    places = [(r.conversation, r.position) for r in of(seen, events.Replied)]
    assert len(set(places)) == len(places), "no reply is written over another"


def test_a_refused_reply_that_is_too_long_itself_is_not_sent_back() -> None:
    coder = Script(lambda messages, index, call: "no:p" + "." * 900)
    coder.context_tokens = 64 + 300
    _, seen = search(coder, candidates=1, repairs=1, max_tokens=64)
    asked = of(seen, events.Prompted)[-1]
    assert [m.role for m in asked.messages] == ["system", "user"]
    assert asked.messages[1].content.startswith("first without rows|repair|broke p")
    assert asked.left_out == "all but the task and the newest feedback"


def test_a_correction_that_fits_in_no_way_is_given_up_and_the_search_goes_on() -> None:
    class Small(Script):
        def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
            if len(self.calls) == 1:
                raise ContextOverflow("the conversation has 900 tokens, and the context 100")
            return super().complete(request, **asked)

    coder = Small(lambda messages, index, call: ["ok:weights:a", "no:p"][index])
    result, seen = search(coder, repairs=2)
    assert result.selected is not None
    assert len(result.candidates) == 2
    (note,) = of(seen, events.Noted)
    assert "900 tokens" in note.text


@pytest.mark.parametrize(
    ("limit", "candidates"),
    [({"budget_candidates": 3}, 4), ({"budget_tokens": 3}, 2), ({"budget_seconds": 1e-9}, 0)],
)
def test_a_spent_budget_ends_the_search_with_a_selection(
    limit: dict[str, Any], candidates: int
) -> None:
    coder = Script(lambda messages, index, call: ["ok:weights:a", "no:p"][index % 2])
    result, seen = search(coder, rounds=5, **limit)
    assert result.status == "finished"
    assert (result.selected is not None) == (candidates > 0)
    assert len(of(seen, events.BudgetSpent)) == 1
    assert "budget" in result.reason
    assert len(result.candidates) <= max(candidates, 4)
    assert result.rounds <= 1


def test_given_functions_stand_beside_the_first_rounds_and_are_remembered() -> None:
    coder = rounds(["ok:weights:a", "no:p"])
    result, _ = search(coder, repairs=0, around={"start": ("ok:weights:mine", "no:bad")})
    keys = {c.key: c.accepted for c in result.candidates}
    assert keys == {"r0.s2.0": True, "r0.s3.0": False, "r0.s0.0": True, "r0.s1.0": False}
    assert coder.calls[0]["messages"][2].content == "ok:weights:mine"
    assert coder.calls[0]["messages"][3].content.startswith("refine|")


def test_where_nothing_is_accepted_the_reply_that_came_furthest_is_named() -> None:
    def judge(source: str) -> Any:
        from dataclasses import replace

        report = check(source)
        return replace(report, stage="properties") if "far" in source else report

    coder = rounds(["no:near", "no:far"])
    result, seen = search(coder, judge=judge, repairs=0)
    assert result.most_promising is not None
    assert result.most_promising.key == "r0.s1.0"
    assert result.stages == {"policy": 1, "properties": 1}
    assert of(seen, events.SynthesisFinished)[0].most_promising == "r0.s1.0"


def test_waiting_checking_and_evaluating_are_timed_apart() -> None:
    def judge(source: str) -> Any:
        time.sleep(0.05)
        return check(source)

    coder = Slow(lambda messages, index, call: f"ok:weights:{index}")
    coder.wait = lambda index: time.sleep(0.1)
    result, _ = search(coder, judge=judge)
    assert result.seconds["model"] >= 0.2
    assert 0.02 <= result.seconds["check"] < 0.2, "only what is checked after the last reply"
