"""Replies that came to nothing, hold thoughts alone or came with a warning: the search goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from synth_fakes import Script, Words, check

from models.protocol import ChatRequest, Completion, Message
from models.replay import ReplayModel, whole_requests
from prompts.cards import load_card
from sandbox.report import CheckReport
from synth import events
from synth.config import SynthConfig
from synth.context import SearchContext, SynthesisResult
from synth.evaluator import FirstAccepted
from synth.loop import synthesise
from synth.replies import advice_to_user, said_by_model, without_answer
from tests.models.fake_openai import Request, asked_by, fake_openai

CARD = load_card("matrix/climbing")
LOST = Completion("half", "m", 0, 5, 1, 0.1, "error", "the server sent a web page")
THOUGHTS = Completion("<think>\nok:weights:x", "m", 0, 5, 64, 0.1, "length")
CUT_OFF = Completion("ok:weights:a", "m", 0, 5, 1, 0.1, note="the server read 9 tokens only")


class Coder(Script):
    """Answers whole completions, by (index, number of the call)."""

    def __init__(self, replies: Callable[[int, int], Completion]) -> None:
        super().__init__(lambda messages, index, call: replies(index, call).text)
        self._replies = replies

    def complete(self, request: ChatRequest, **asked: Any) -> list[Completion]:
        on_done = asked.pop("on_done", lambda index, reply: None)
        done = []
        call = len(self.calls)
        for index, written in enumerate(super().complete(request, **asked)):
            done.append(replace(self._replies(index, call), seed=written.seed, model="script"))
            on_done(index, done[-1])
        return done


def search(
    coder: Any, judge: Callable[[str], CheckReport] = check, **settings: Any
) -> tuple[SynthesisResult, list[Any]]:
    seen: list[Any] = []
    config = SynthConfig(**{"rounds": 1, "candidates": 2, "repairs": 1, **settings})
    around = SearchContext(
        coder=coder,
        check=lambda source, gate: judge(source),
        evaluator=FirstAccepted(),
        emit=seen.append,
        control=lambda: "continue",
        render=Words(),
    )
    return synthesise(CARD, config, around), seen


def notes(seen: Sequence[Any]) -> list[str]:
    return [e.text for e in seen if isinstance(e, events.Noted)]


def good(name: str) -> Completion:
    return Completion(f"ok:weights:{name}", "m", 0, 5, 1, 0.1)


def test_a_reply_that_came_to_nothing_is_refused_and_asked_for_again() -> None:
    coder = Coder(lambda index, call: [[LOST, good("b")], [good("a")]][call][index])
    checked: list[str] = []

    def judge(source: str) -> CheckReport:
        checked.append(source)
        return check(source)

    result, seen = search(coder, judge)
    assert [(c.key, c.accepted) for c in result.candidates] == [
        ("r0.s0.0", False),
        ("r0.s1.0", True),
        ("r0.s0.1", True),
    ]
    assert result.rejections == {"reply.failed": 1}
    assert checked == ["ok:weights:b", "ok:weights:a"]  # what is broken is not looked at
    assert coder.calls[1]["messages"][-1].content.startswith("repair|There is no function to look")
    assert "the server sent a web page" in coder.calls[1]["messages"][-1].content
    assert notes(seen) == ["a reply of 'script': no whole reply came: the server sent a web page"]


def test_where_every_reply_came_to_nothing_the_search_ends_as_one_without_candidates() -> None:
    result, seen = search(Coder(lambda index, call: LOST))
    assert (result.status, result.selected) == ("finished", None)
    assert "reply.failed (4x)" in result.reason
    assert "the server sent a web page" in result.reason
    assert len(notes(seen)) == 1  # it is said once


def test_thoughts_that_were_cut_off_are_named_and_not_sent_back() -> None:
    coder = Coder(lambda index, call: good("a") if call else THOUGHTS)
    result, seen = search(coder)
    assert result.selected is not None
    assert result.rejections == {"reply.thoughts": 2}
    _, _, reply, answer = (m.content for m in coder.calls[1]["messages"])
    assert reply == "(no answer)"
    assert "its thoughts took all of the 64 tokens" in answer
    assert "Think less" in answer
    assert "shorter" not in answer
    (note,) = notes(seen)
    assert "raise synth.max_tokens, or switch the model's thinking off" in note


def test_what_the_user_should_know_of_a_reply_is_said_once() -> None:
    result, seen = search(Coder(lambda index, call: CUT_OFF), repairs=0)
    assert result.selected is not None
    assert notes(seen) == ["a reply of 'script': the server read 9 tokens only"]


def test_a_replay_comes_to_the_same_with_the_same_warnings() -> None:
    coder = Coder(lambda index, call: [[LOST, CUT_OFF], [THOUGHTS]][call][index])
    first, seen = search(coder)
    told = [e for e in seen if isinstance(e, events.Replied)]
    recorded = whole_requests([(e.request, e.index, e.n, e.completion) for e in told])
    again, heard = search(ReplayModel(recorded, name="script"))
    assert notes(heard) == notes(seen)
    assert [c.key for c in again.candidates] == [c.key for c in first.candidates]
    assert again.rejections == first.rejections


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (LOST, "no whole reply came: the server sent a web page"),
        (THOUGHTS, "its thoughts took all of the 64 tokens"),
        (replace(THOUGHTS, finish_reason="stop"), "thoughts only"),
        (replace(THOUGHTS, text="<think>hm</think>def"), ""),
        (replace(THOUGHTS, text="def"), ""),
        (CUT_OFF, ""),
        (replace(CUT_OFF, text=""), ""),
    ],
)
def test_whether_a_reply_may_hold_an_answer(reply: Completion, why: str) -> None:
    assert why in without_answer(reply)
    assert bool(without_answer(reply)) == bool(why)
    assert bool(advice_to_user(reply)) == bool(why or reply.note)


def test_an_empty_turn_is_never_sent() -> None:
    for text in ("", " \n", "<think>\nhm", "<think>hm</think>\n"):
        assert said_by_model(text) == Message("assistant", "(no answer)")
    assert said_by_model("<think>hm</think>yes").content == "<think>hm</think>yes"


def test_a_search_outlives_a_server_that_breaks_in_a_new_way_every_time() -> None:
    """Through the connection, as with a server that somebody has put up."""
    broken = [b"data: null\n\n", b"<html>", b'data: {"choices": {}}\n\n', b"data: {", b""]

    def answer(request: Request) -> None:
        request.stream()
        if broken:
            request.raw(broken.pop(0))
        else:
            request.chunk(0, f"ok:weights:{request.body['seed']}", finish="stop")
            request.done()

    with fake_openai() as server:
        server.answer = answer
        coder = asked_by(server, dialect="openai")
        result, _ = search(coder, rounds=2, candidates=1, repairs=4)
    assert [c.accepted for c in result.candidates] == [False] * 5 + [True]
    assert result.rejections == {"reply.failed": 5}
    assert result.rounds == 2
