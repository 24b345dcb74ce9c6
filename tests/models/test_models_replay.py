"""Recorded traffic: the same request gives the same replies, and nothing else is made up."""

from __future__ import annotations

from typing import Any

import pytest

from models.protocol import ChatModel, ChatRequest, Completion, Constraint, Message, ModelError
from models.replay import ReplayModel, request_key, whole_requests

ASK = (Message("system", "you write"), Message("user", "please — ünïcode"))
SETTINGS: dict[str, Any] = {"n": 2, "seed": 5, "temperature": 0.8, "max_tokens": 100}


def completion(text: str) -> Completion:
    return Completion(text, "m", 5, 1, 1, 0.5)


class Live:
    """A model that counts how often it is asked."""

    name, is_llm = "live", True

    def __init__(self) -> None:
        self.asked, self.closed = 0, 0

    def complete(self, request: ChatRequest, **told: Any) -> list[Completion]:
        self.asked += 1
        return [completion(f"live {i}") for i in range(request.n)]

    def close(self) -> None:
        self.closed += 1


def test_the_key_is_stable_between_processes_and_versions() -> None:
    # frozen: a changed key would orphan every recorded run
    key = request_key(
        ChatRequest([Message("user", "hi")], n=1, seed=0, temperature=1.0, max_tokens=16)
    )
    assert key == "7ef57534c31c1ccb0fadb4b7c315ec80e0290e14c51d20f718aafeae836a51a4"


@pytest.mark.parametrize(
    "change",
    [
        {"n": 3},
        {"seed": 6},
        {"temperature": 0.7},
        {"max_tokens": 101},
        {"constraint": Constraint("json", {"type": "object"})},
        {"constraint": Constraint("grammar", "start: /a/")},
        {"messages": ASK[:1]},
        {"messages": (*ASK[:1], Message("assistant", ASK[1].content))},
        {"messages": (*ASK[:1], Message("user", ASK[1].content + " "))},
        {"messages": ASK[::-1]},
    ],
)
def test_everything_a_reply_depends_on_changes_the_key(change: dict[str, Any]) -> None:
    base = {"messages": ASK, **SETTINGS}
    assert request_key(ChatRequest(**{**base, **change})) != request_key(ChatRequest(**base))


def test_numbers_of_either_type_give_the_same_key() -> None:
    one = request_key(ChatRequest(ASK, n=1, seed=0, temperature=1, max_tokens=9))
    assert one == request_key(ChatRequest(ASK, n=1, seed=0, temperature=1.0, max_tokens=9))


def test_json_schemas_are_compared_by_content() -> None:
    def key(schema: dict[str, Any]) -> str:
        return request_key(ChatRequest(ASK, **SETTINGS, constraint=Constraint("json", schema)))

    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})


def test_recorded_requests_are_answered_as_recorded() -> None:
    replies = (completion("one"), completion("two"))
    model = ReplayModel(
        {request_key(ChatRequest(ASK, **SETTINGS)): replies}, name="old", is_llm=False
    )
    assert isinstance(model, ChatModel)
    heard: list[tuple[int, str]] = []
    found = model.complete(
        ChatRequest(ASK, **SETTINGS), on_text=lambda i, text: heard.append((i, text))
    )
    assert found == list(replies)
    assert heard == [(0, "one"), (1, "two")]
    assert (model.name, model.is_llm, model.answered, model.asked) == ("old", False, 1, 0)
    model.close()


def test_strict_replay_refuses_what_was_not_recorded() -> None:
    with pytest.raises(ModelError, match=r"no recorded reply of 'old'.*n=2, seed=5"):
        ReplayModel({}, name="old").complete(ChatRequest(ASK, **SETTINGS))


def test_a_wrapped_model_is_asked_for_the_rest_only() -> None:
    live = Live()
    model = ReplayModel(
        {request_key(ChatRequest(ASK, **SETTINGS)): (completion("x"),) * 2}, wrapped=live
    )
    model.complete(ChatRequest(ASK, **SETTINGS))
    assert live.asked == 0
    assert [c.text for c in model.complete(ChatRequest(ASK, **{**SETTINGS, "seed": 9}))] == [
        "live 0",
        "live 1",
    ]
    assert (model.name, model.is_llm, model.answered, model.asked) == ("live", True, 1, 1)
    model.close()
    assert live.closed == 1


def test_requests_that_were_cut_off_are_left_out() -> None:
    a, b = completion("a"), completion("b")
    found = whole_requests(
        [("k", 1, 2, b), ("half", 0, 2, a), ("k", 0, 2, a), ("k", 0, 2, completion("later"))]
    )
    assert found == {"k": (a, b)}
