"""A whole search with a server that somebody has put up, and that does not always answer well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.store.store import open_store
from tests.models.fake_openai import FakeOpenAI, Request, fake_openai

GOOD = "```python\ndef tfcaf(agent_qs, state):\n    return agent_qs.sum(dim=1, keepdim=True)\n```\n"
SEARCH = [
    *("synth", "matrix/climbing", "--coder", "served", "--evaluator", "first"),
    *("synth.rounds=1", "synth.candidates=1", "synth.repairs=2", "sandbox.examples=10"),
    *("--display", "none", "--json"),
]


def answers(server: FakeOpenAI) -> None:
    """A stream that is none, thoughts alone, then an answer among thoughts."""

    def answer(request: Request) -> None:
        request.stream()
        if len(server.chats) == 1:
            request.raw(b'data: {"choices": {"a": 1}}\n\n')
            return
        thought = {"reasoning_content": "Hm." if len(server.chats) == 2 else GOOD}
        request.event({"choices": [{"index": 0, "delta": thought, "finish_reason": None}]})
        request.chunk(0, finish="length" if len(server.chats) == 2 else "eos")
        request.done()

    server.answer = answer


@pytest.mark.usefixtures("_warm")
def test_a_search_goes_on_and_is_repeated_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QLLM_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    home = ["--home", str(tmp_path / "h")]
    with fake_openai() as server:
        server.models = [{"id": "m"}]
        answers(server)
        assert run(["models", "add", "served", server.url, "--dialect", "openai"]) == 0
        capsys.readouterr()
        assert run([*home, *SEARCH]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stages"] == {"policy": 2, "accepted": 1}
    with open_store(tmp_path / "h", readonly=True) as store:
        notes = [v.reason["text"] for v in store.synthesis.verdicts(1, "note")]
        assert len(notes) == 3
        for note, words in zip(
            notes, ["cannot be read", "took all of", "for thoughts"], strict=True
        ):
            assert words in note
        kept = [m.request for m in store.synthesis.traffic(1)]
        assert [r["finish_reason"] for r in kept if r] == ["error", "length", "stop"]
        rules = [c.rule for c in store.synthesis.candidates(1)]
        assert rules == ["reply.failed", "reply.thoughts", None]
    assert run([*home, "replay", "1", "--display", "none"]) == 0
