"""``qllm models check``: whether a seeded reply is repeated, alone and in a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.protocol import ChatRequest, Completion
from qllm.cli.main import run
from tests.qllm.test_qllm_models_cli import FakeModel, _places, document, fake, folder

__all__ = ["_places", "fake", "folder"]  # fixtures


def repeating(monkeypatch: pytest.MonkeyPatch, fake: type[FakeModel], *texts: list[str]) -> None:
    """Let a fake answer what has no constraint, after its first request, with these texts."""
    left = [["Yes."], *texts]
    usual = fake.complete

    def complete(self: Any, request: ChatRequest, **_: Any) -> list[Completion]:
        if request.constraint is not None:
            return usual(self, request)
        asked.append((request.seed, request.n, request.temperature > 0))
        return [Completion(text, self.name, 7, 10, 12, 0.1) for text in left.pop(0)]

    asked: list[tuple[int, int, bool]] = []
    monkeypatch.setattr(fake, "asked", asked, raising=False)
    monkeypatch.setattr(fake, "complete", complete)


@pytest.mark.parametrize(
    ("texts", "alone", "batch", "said"),
    [
        (
            (["one"], ["one"], ["one", "b", "c", "d"]),
            (True, None),
            (True, None),
            "asked again alone: bit for bit; in a batch of 4: bit for bit",
        ),
        (
            (["one two"], ["one two"], ["one too", "b", "c", "d"]),
            (True, None),
            (False, 6),
            "alone: bit for bit; in a batch of 4: no, from character 6 on",
        ),
        (
            (["one"], ["one more"], ["one"]),
            (False, 4),
            (None, None),
            "alone: no, from character 4 on; in a batch of 4: not told",
        ),
        (
            ([""], [""], [""], ["", "", "", ""]),
            (None, None),
            (None, None),
            "alone: not told, there was no text to compare",
        ),
    ],
)
def test_check_says_whether_a_reply_is_repeated_without_failing(
    folder: Path,
    fake: type[FakeModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: tuple[list[str], ...],
    alone: tuple[bool | None, int | None],
    batch: tuple[bool | None, int | None],
    said: str,
) -> None:
    assert run(["models", "add", "seven", str(folder), "--backend", "transformers"]) == 0
    repeating(monkeypatch, fake, *texts)
    found = document(capsys, "models", "check", "seven")
    assert found["ok"] is True
    repeats = found["repeats"]
    assert (repeats["alone"], repeats["alone_differs_at"]) == alone
    assert (repeats["batch"], repeats["batch_differs_at"]) == batch
    assert (repeats["batch_size"], repeats["tokens"]) == (4, 12)
    assert fake.asked[-2:] == [(7, 1, True), (7, 4, True)]  # type: ignore[attr-defined]
    repeating(monkeypatch, fake, *texts)
    assert run(["models", "check", "seven"]) == 0
    assert said in capsys.readouterr().out


def test_check_tries_a_longer_reply_where_all_of_it_were_thoughts(
    folder: Path,
    fake: type[FakeModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "add", "seven", str(folder), "--backend", "transformers"]) == 0
    repeating(monkeypatch, fake, [""], ["one"], ["one"], ["one", "b", "c", "d"])
    repeats = document(capsys, "models", "check", "seven")["repeats"]
    assert (repeats["alone"], repeats["batch"]) == (True, True)
