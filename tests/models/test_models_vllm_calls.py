"""Answers of a managed server that have another form than expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_openai import HELLO, FakeOpenAI, Request, asked_by

from models.protocol import ChatRequest
from models.vllm.calls import Calls, parse_metrics
from models.vllm.launch import ServerSpec
from models.vllm.model import VllmModel


@pytest.mark.parametrize(
    "models", [None, 5, {"id": "m"}, [5], [{"name": "m"}], [[]], [None], "m"], ids=repr
)
def test_a_list_of_models_of_another_form_names_none(fake: FakeOpenAI, models: Any) -> None:
    fake.models = models
    assert Calls(fake.port, "k").model_ids() == {}
    assert not Calls(fake.port, "k").is_asleep()


@pytest.mark.parametrize("length", ["x", -1, 10**30, [1]])
def test_a_context_that_is_none_is_left_out(fake: FakeOpenAI, length: Any) -> None:
    fake.models = [{"id": "m", "max_model_len": length}]
    assert Calls(fake.port, "k").model_ids() == {"m": None}


def test_metrics_that_are_no_numbers_are_left_out() -> None:
    found = parse_metrics(
        "vllm:num_requests_running 2.0\nvllm:num_requests_waiting NaN\n"
        "vllm:prompt_tokens_total +Inf\nvllm:generation_tokens_total\nvllm:kv_cache_usage_perc x\n"
    )
    assert (found.running, found.waiting, found.prompt_tokens) == (2, 0, 0)
    assert (found.generation_tokens, found.kv_usage) == (0, 0.0)


def test_a_stream_that_is_no_reply_does_not_restart_the_server(
    fake: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.raw(b"data: null\n\n")

    fake.answer = answer
    spec = ServerSpec(python="python", model_path=str(tmp_path), served_name="m")
    model = VllmModel("mine", spec, tmp_path / "server")
    monkeypatch.setattr(model, "_ready", lambda: asked_by(fake))
    replies = model.complete(ChatRequest(HELLO, n=2))
    assert [r.finish_reason for r in replies] == ["error", "error"]
    assert "a chunk that cannot be read: it is null" in replies[0].note
    assert len(fake.chats) == 1
