"""``qllm models suggest``: models that fit this machine, or why none can be named."""

from __future__ import annotations

import pytest

from models.memory import Device
from qllm.cli.main import run
from tests.qllm.test_qllm_models_cli import document

GPU = Device("a GPU", 24 << 30, 20 << 30)
MAIN = Device("cpu", 32 << 30, 20 << 30)


def test_suggest_names_what_fits_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("models.memory.devices_here", lambda: (GPU, MAIN))
    assert run(["models", "suggest"]) == 0
    out = capsys.readouterr().out
    assert "21.6 GiB (90% of a GPU)" in out
    assert "Qwen2.5-Coder-14B          4  13.7  coder      no      none     Apache-2.0" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "…" not in out
    assert "* not verified" in out
    found = document(capsys, "models", "suggest")
    assert found["device"]["kind"] == "cuda"
    assert {"Qwen2.5-Coder-7B", "gpt-oss-20b"} <= {s["model"] for s in found["suggestions"]}


def test_suggest_says_that_nothing_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.memory.devices_here", lambda: (Device("cpu", 1 << 30, 1 << 29),))
    assert run(["models", "suggest"]) == 0
    assert "none: `qllm models add NAME URL`" in capsys.readouterr().out
    assert document(capsys, "models", "suggest")["suggestions"] == []


@pytest.mark.parametrize("error", [OSError("/proc is not mounted"), RuntimeError("no driver")])
def test_suggest_says_in_one_line_that_a_machine_cannot_be_read(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable() -> None:
        raise error

    monkeypatch.setattr("models.memory.devices_here", unreadable)
    assert run(["models", "suggest", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"the memory of this machine cannot be read: {error}" in err
