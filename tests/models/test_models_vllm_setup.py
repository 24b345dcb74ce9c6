"""What tests and servers stand on: the tiny model, the guard, the script that sets vLLM up."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tiny_model import build_tiny_model

from models.vllm.guard import Guard

ROOT = Path(__file__).resolve().parents[2]


def test_the_tiny_model_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = content(build_tiny_model(tmp_path / "a"))
    assert content(build_tiny_model(tmp_path / "b")) == first
    other = content(build_tiny_model(tmp_path / "c", seed=1))
    assert {name for name in first if other[name] != first[name]} == {"model.safetensors"}
    shorter = build_tiny_model(tmp_path / "d", context=1024)
    assert json.loads((shorter / "config.json").read_text())["max_position_embeddings"] == 1024


def test_the_tiny_model_reads_and_writes_any_text(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build_tiny_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "q_tot = agent_qs.sum()\n\tÄ 你好 \x00\x7f 🙂"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    turns = [{"role": "user", "content": text}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
    assert tokenizer.decode(prompt["input_ids"]).endswith("<|im_end|>\n<|im_start|>assistant\n")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer)


def through_guard(monkeypatch: pytest.MonkeyPatch, kind: str, *shown: bytes) -> list[Any]:
    """What somebody with these authorization headers gets to see."""
    monkeypatch.setenv("VLLM_API_KEY", "right")
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send("inside")

    async def receive() -> Any:
        return {}

    async def send(event: Any) -> None:
        sent.append(event if isinstance(event, str) else event.get("status", event["type"]))

    headers = [(b"authorization", value) for value in shown]
    asyncio.run(Guard(app)({"type": kind, "headers": headers}, receive, send))
    return sent


def test_the_guard_lets_in_who_shows_the_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("http", "websocket"):
        assert through_guard(monkeypatch, kind, b"Bearer right") == ["inside"]
    assert through_guard(monkeypatch, "lifespan") == ["inside"]
    for shown in ([], [b"right"], [b"Bearer wrong"], [b"Bearer right", b"Bearer right"]):
        assert through_guard(monkeypatch, "http", *shown) == [401, "http.response.body"]
    assert through_guard(monkeypatch, "websocket") == ["websocket.close"]


def test_the_script_says_in_one_line_why_it_cannot_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "vllm_cpu.sh", tmp_path / "environment"],
        env={**os.environ, "PYTHON": "false"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("vllm-cpu: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "environment").exists()
