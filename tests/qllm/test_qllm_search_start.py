"""A search is in the store before its sandbox is warm, which takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from qllm.cli.main import run as qllm
from qllm.store.store import open_store
from sandbox import checker
from sandbox.checker import SandboxUnavailable


@pytest.mark.parametrize("command", ["run", "synth"])
def test_the_run_is_there_while_the_sandbox_warms_up_and_says_why_there_is_none(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def warm_up(_: object, *, export: bool) -> None:
        with open_store(tmp_path, readonly=True) as store:
            seen.append(store.runs.get(1).status)
        raise SandboxUnavailable("no sandbox here")

    monkeypatch.setattr(checker, "Sandbox", warm_up)
    assert qllm([command, "matrix/climbing", "--home", str(tmp_path)]) == 1
    assert seen == ["running"]
    said = capsys.readouterr().err
    assert "the sandbox warms up" in said
    assert "no sandbox here" in said
    with open_store(tmp_path, readonly=True) as store:
        run = store.runs.get(1)
    assert (run.status, run.error) == ("failed", "no sandbox here")


@pytest.mark.parametrize("command", ["run", "synth"])
def test_what_can_be_seen_not_to_work_leaves_no_run_behind(command: str, tmp_path: Path) -> None:
    words = [command, "matrix/climbing", "synth.coder=nobody", "--home", str(tmp_path)]
    assert qllm(words) == 2
    with open_store(tmp_path, readonly=True) as store:
        assert store.runs.listed() == []
