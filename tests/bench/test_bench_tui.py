"""The terminal app's benchmark waits for what it measures, however slow the machine is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import bench.tui

SLOW = """
import sys, time, tty
tty.setraw(0)
print("rows", flush=True)
while key := sys.stdin.read(1):
    if key == "s":  # at work for a while, and silent meanwhile
        until = time.process_time() + 1.2
        while time.process_time() < until:
            pass
    if key != "d":
        print(key, flush=True)
    if key == "o":  # opens a screen that is drawn after a long silence
        until = time.process_time() + 1.2
        while time.process_time() < until:
            pass
        print("opened", flush=True)
"""


@pytest.fixture
def slow(tmp_path: Path) -> Sequence[str]:
    """A program that answers slowly."""
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    return [sys.executable, str(path)]


def test_a_slow_key_is_a_figure(slow: Sequence[str]) -> None:
    found = bench.tui.bench_keys(slow, "rows", {"runs": ["s"]})
    assert found["runs"]["worst_ms"] >= 1_000
    assert found["runs"]["unanswered"] == []


def test_the_next_key_waits_until_the_app_is_at_rest(slow: Sequence[str]) -> None:
    with bench.tui.TerminalApp(slow) as app:
        app.wait_for("rows")
        app.press("o")
        app.settle(0.3)
        assert b"opened" in app.written


def test_a_key_that_nothing_answers_is_said(
    slow: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.tui.TerminalApp.press, "__defaults__", (0.2,))
    monkeypatch.setattr(bench.tui, "ANSWER_S", 0.2)
    found = bench.tui.bench_keys(slow, "rows", {"runs": ["d", "a"]})
    assert found["runs"]["unanswered"] == ["d"]
    assert found["runs"]["worst_ms"] == 200
