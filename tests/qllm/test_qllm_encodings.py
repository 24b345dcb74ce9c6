"""Terminals whose encoding lacks our marks get others, and the same exit code."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.display.streams import SteadyStream
from qllm.output import MARKS, REPLACED


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_accepted_function_is_accepted_in_any_encoding(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "sum.py"
    source.write_text("def f(agent_qs, state):\n    return agent_qs.sum(1, True)\n")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert run(["check", str(source), "--task", "matrix/climbing", "sandbox.examples=10"]) == 0
    assert b"+ proved" in raw.getvalue()


def test_every_mark_has_a_form_in_ascii() -> None:
    for mark, plain in MARKS.items():
        assert mark.encode("ascii", REPLACED).decode() == plain


def test_a_job_says_what_its_terminal_lacks_otherwise() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    SteadyStream(stream).write("✓ 中 … ok")
    assert raw.getvalue() == b"+ ? ... ok"
