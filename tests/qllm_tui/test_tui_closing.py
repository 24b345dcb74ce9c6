"""What the command line says when the app is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tui_store import IDS

from qllm.cli import tui
from qllm.cli.main import run
from qllm.tui import app


@pytest.mark.parametrize("well", [True, False])
def test_what_goes_on_is_said_and_a_failure_is_told_apart(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], well: bool
) -> None:
    monkeypatch.setattr(tui, "on_a_terminal", lambda: True)
    monkeypatch.setattr(app, "run_app", lambda home: well)
    assert run(["--home", str(home), "tui"]) == (0 if well else 1)
    lines = capsys.readouterr().err.splitlines()
    going = f"{IDS.paused}, {IDS.waiting}, {IDS.running}"
    assert lines[0] == f"qllm: runs {going} go on; `qllm` shows more"
    assert ("the terminal app failed" in lines[-1]) is not well


def test_nothing_is_said_where_there_are_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tui, "on_a_terminal", lambda: True)
    monkeypatch.setattr(app, "run_app", lambda home: True)
    assert run(["--home", str(tmp_path / "none"), "tui"]) == 0
    assert capsys.readouterr().err == ""
