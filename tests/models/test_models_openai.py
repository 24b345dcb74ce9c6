"""Asking a server that speaks OpenAI's protocol: replies, constraints and what fails."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fake_openai import HELLO, FakeOpenAI, Request, asked_by, says

from models.protocol import (
    ChatModel,
    ChatRequest,
    Completion,
    Constraint,
    ContextOverflow,
    Message,
    ModelError,
)

SCHEMA = Constraint(
    "json", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
)
GRAMMAR = Constraint("grammar", 'start: "yes" | "no"')


def test_replies_that_are_written_side_by_side_are_told_apart(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        request.stream()
        for index, text, finish in [
            (0, "", None), (1, "", None), (1, "du", None), (0, "ei", None), (1, "o", "stop"),
            (0, "n", None), (0, "s", "length"),
        ]:  # fmt: skip
            request.chunk(index, text, finish=finish, tokens=3 + index)
        request.usage(7, 7)
        request.done()

    fake.answer = answer
    heard: list[tuple[int, str]] = []
    done: list[int] = []

    def on_done(index: int, reply: Completion) -> None:
        heard.append((index, f"<{reply.text}>"))
        done.append(index)

    replies = asked_by(fake).complete(
        ChatRequest(HELLO, n=2, seed=4, temperature=0.5, max_tokens=9),
        on_text=lambda index, text: heard.append((index, text)),
        on_done=on_done,
    )
    assert [r.text for r in replies] == ["eins", "duo"]
    assert [r.finish_reason for r in replies] == ["length", "stop"]
    assert [(r.prompt_tokens, r.completion_tokens) for r in replies] == [(7, 3), (7, 4)]
    assert all(r.seed == 4 and r.model == "mine" and r.latency_s > 0 for r in replies)
    assert done == [1, 0]  # in the order in which they ended
    assert heard[:3] == [(1, "du"), (0, "ei"), (1, "o")]
    assert heard.index((1, "<duo>")) < heard.index((0, "n"))  # passed on while the other went on
    body = fake.chats[0].body
    assert body["messages"] == [{"role": m.role, "content": m.content} for m in HELLO]
    assert (body["n"], body["seed"], body["temperature"], body["max_tokens"]) == (2, 4, 0.5, 9)
    assert isinstance(asked_by(fake), ChatModel)


def test_a_server_that_tells_only_the_sum_of_tokens_has_it_divided_by_length(
    fake: FakeOpenAI,
) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.chunk(0, "x" * 30, finish="stop")
        request.chunk(1, "y" * 10, finish="stop")
        request.usage(12, 21)
        request.done()

    fake.answer = answer
    replies = asked_by(fake, dialect="openai").complete(ChatRequest(HELLO, n=2))
    assert [r.completion_tokens for r in replies] == [16, 5]
    assert {r.prompt_tokens for r in replies} == {12}
    assert "continuous_usage_stats" not in fake.chats[0].body["stream_options"]


@pytest.mark.parametrize(("last", "continued"), [("user", False), ("assistant", True)])
def test_vllm_goes_on_with_an_assistants_last_message(
    fake: FakeOpenAI, last: Any, continued: bool
) -> None:
    fake.answer = says("rest")
    asked_by(fake, dialect="vllm").complete(ChatRequest([*HELLO, Message(last, "begun")]))
    body = fake.chats[0].body
    assert body.get("continue_final_message", False) is continued
    assert body.get("add_generation_prompt", True) is not continued


def test_replies_that_a_server_left_out_are_asked_for_one_by_one(fake: FakeOpenAI) -> None:
    fake.answer = lambda r: says(f"seed {r.body['seed']}")(r)  # it takes n for 1
    replies = asked_by(fake, dialect="openai").complete(ChatRequest(HELLO, n=3, seed=10))
    assert [r.text for r in replies] == ["seed 10", "seed 11", "seed 12"]
    assert [r.seed for r in replies] == [10, 11, 12]


def test_without_a_temperature_one_reply_stands_for_all(fake: FakeOpenAI) -> None:
    fake.answer = says("same")
    heard: list[tuple[int, str]] = []
    replies = asked_by(fake).complete(
        ChatRequest(HELLO, n=3, temperature=0.0), on_text=lambda i, t: heard.append((i, t))
    )
    assert [r.text for r in replies] == ["same"] * 3
    assert fake.chats[0].body["n"] == 1
    assert len(fake.chats) == 1
    assert heard == [(0, "same"), (1, "same"), (2, "same")]


@pytest.mark.parametrize(
    ("constraint", "sent"),
    [
        (SCHEMA, {"json": SCHEMA.value}),
        (GRAMMAR, {"grammar": GRAMMAR.value}),
    ],
)
def test_vllm_is_sent_its_own_kind_of_constraint(
    fake: FakeOpenAI, constraint: Constraint, sent: dict[str, Any]
) -> None:
    fake.answer = says('{"a": 1}' if constraint is SCHEMA else "yes")
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO, constraint=constraint))
    assert reply.violation == ""
    assert fake.chats[0].body["structured_outputs"] == sent


def test_others_are_sent_a_response_format_and_never_a_grammar(fake: FakeOpenAI) -> None:
    fake.answer = says('{"a": 1}')
    asked = asked_by(fake, dialect="openai")
    asked.complete(ChatRequest(HELLO, constraint=SCHEMA))
    assert fake.chats[0].body["response_format"]["json_schema"]["schema"] == SCHEMA.value
    with pytest.raises(ModelError, match="knows no grammars"):
        asked.complete(ChatRequest(HELLO, constraint=GRAMMAR))
    assert len(fake.chats) == 1


@pytest.mark.parametrize(
    ("constraint", "text", "finish", "broken"),
    [
        (SCHEMA, "Sure! Here is it", "stop", "no JSON"),
        (SCHEMA, '{"a": "one"}', "stop", "a:"),
        (SCHEMA, '{"a": ', "length", ""),
        (GRAMMAR, "maybe", "stop", "leaves the grammar"),
        (GRAMMAR, "ye", "stop", "middle of the grammar"),
        (GRAMMAR, "ye", "length", ""),
    ],
)
def test_a_constraint_that_the_server_ignored_is_noticed(
    fake: FakeOpenAI, constraint: Constraint, text: str, finish: str, broken: str
) -> None:
    fake.answer = says(text, finish=finish)
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO, constraint=constraint))
    assert broken in reply.violation
    assert bool(reply.violation) == bool(broken)


def test_a_grammar_that_is_none_is_said_before_anything_is_sent(fake: FakeOpenAI) -> None:
    with pytest.raises(ModelError, match="grammar cannot be used"):
        asked_by(fake).complete(ChatRequest(HELLO, constraint=Constraint("grammar", "(((")))
    assert not fake.seen


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 100 tokens. However, you requested 30 output "
        "tokens and your prompt contains at least 90 input tokens",
        "max_tokens=500 cannot be greater than max_model_len=100.",
        "the request exceeds the available context size",
    ],
)
def test_an_overflow_that_the_server_refuses_has_its_numbers(
    fake: FakeOpenAI, message: str
) -> None:
    fake.answer = lambda r: r.error(400, message)
    fake.tokenize = lambda r: r.json({"count": 90})
    with pytest.raises(ContextOverflow, match=r"90 tokens and a reply of up to 30 .* 5000 tokens"):
        asked_by(fake).complete(ChatRequest(HELLO, max_tokens=30))


def test_an_overflow_that_the_server_would_shorten_silently_is_refused(fake: FakeOpenAI) -> None:
    fake.answer = says("fine")  # the prompt has 7 tokens, the context 5000
    assert asked_by(fake).complete(ChatRequest(HELLO, max_tokens=4993))
    heard: list[str] = []
    with pytest.raises(ContextOverflow, match="7 tokens and a reply of up to 4994"):
        asked_by(fake).complete(
            ChatRequest(HELLO, max_tokens=4994), on_text=lambda i, t: heard.append(t)
        )


@pytest.mark.parametrize(
    ("status", "said", "pattern"),
    [
        (401, "bad key", "refuses our key"),
        (403, "no", "refuses our key"),
        (400, "Invalid grammar specification: x", r"refuses the request \(400\): Invalid grammar"),
        (500, "EngineDeadError", r"failed \(500\): EngineDeadError"),
    ],
)
def test_refusals_are_one_clear_line(
    fake: FakeOpenAI, status: int, said: str, pattern: str
) -> None:
    fake.answer = lambda r: r.error(status, said)
    with pytest.raises(ModelError, match=pattern) as caught:
        asked_by(fake, retries=3).complete(ChatRequest(HELLO))
    assert "\n" not in str(caught.value)
    assert len(fake.chats) == 1  # asking again would not help


def test_a_wrong_model_name_is_told_with_the_right_ones(fake: FakeOpenAI) -> None:
    fake.answer = lambda r: r.error(404, "The model `n` does not exist.")
    with pytest.raises(ModelError, match="has no model 'n'; it has m"):
        asked_by(fake, model_id="n").complete(ChatRequest(HELLO))


def test_tokens_are_counted_by_the_server_where_it_can(fake: FakeOpenAI) -> None:
    fake.tokenize = lambda r: r.json({"count": len(r.body["messages"]) * 10})
    assert asked_by(fake).count_tokens(HELLO) == 20
    assert fake.seen[-1].headers["authorization"] == "Bearer k"


def test_tokens_are_estimated_on_the_safe_side_elsewhere(fake: FakeOpenAI) -> None:
    text = "def f(x):\n    return torch.clamp(x, 0.0, 1.0)\n" * 20
    counted = asked_by(fake).count_tokens([Message("user", text)])
    assert len(text) / 3.5 < counted < len(text) / 2


def test_the_context_is_asked_for_once(fake: FakeOpenAI) -> None:
    asked = asked_by(fake)
    assert asked.context_tokens == 5000
    assert asked.context_tokens == 5000
    assert len(fake.seen) == 1
    assert asked_by(fake, dialect="openai").context_tokens is None
    assert asked_by(fake, context_tokens=50).context_tokens == 50


def test_many_may_ask_at_once(fake: FakeOpenAI) -> None:
    fake.answer = lambda r: says(r.body["messages"][0]["content"])(r)
    asked = asked_by(fake)
    got: dict[int, str] = {}

    def ask(number: int) -> None:
        got[number] = asked.complete(ChatRequest([Message("user", f"say {number}")]))[0].text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert got == {number: f"say {number}" for number in range(12)}
