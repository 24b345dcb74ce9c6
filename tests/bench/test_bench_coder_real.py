"""A real language model writes: ``QLLM_TEST_CODER`` names its folder or its GGUF file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qllm.cli.main import run

CODER = os.environ.get("QLLM_TEST_CODER", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CODER, reason="QLLM_TEST_CODER names no model"),
]


def test_guided_replies_of_a_real_model_are_accepted_and_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QLLM_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("QLLM_SERVERS", str(tmp_path / "servers"))
    assert run(["models", "add", "real", CODER, "--context", "6144"]) == 0
    capsys.readouterr()
    asked = ["--tasks", "lbf/8x8-2p-2f-coop-2s", "--n", "4", "--json"]
    assert run(["bench", "coder", "real", *asked, "synth.constraint=guided"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["accepted"] == 1.0
    assert row["distinct_meanings"] >= 2
    assert row["non_trivial"] >= 1
