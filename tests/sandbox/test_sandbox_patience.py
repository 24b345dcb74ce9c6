"""Whom the parent waits for, and for how long, by a clock that the test turns."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from sandbox.isolation import patience
from sandbox.isolation.patience import LONGEST_S, Patience
from sandbox.isolation.wire import WireError


def waits_until(
    monkeypatch: pytest.MonkeyPatch,
    seen: Callable[[float], tuple[str, float]],
    *,
    drips: bool = False,
) -> tuple[str, float]:
    """Why and after how many seconds a child is given up that never answers.

    Args:
        seen: its state and processor time at a moment.
        drips: whether it sends a byte at every moment, which is no answer.
    """
    now = 0.0

    def look() -> float:
        nonlocal now
        now += 0.125  # asked twice for every look
        return now

    monkeypatch.setattr(patience, "LOOK_S", 0.5 if drips else 0.0)
    monkeypatch.setattr(patience.time, "monotonic", look)
    monkeypatch.setattr(patience, "_seen", lambda pid: seen(now))
    silent, other = os.pipe()
    try:
        os.write(other, b"x" * drips)
        patient = Patience(1, 5.0)
        with pytest.raises(WireError) as caught:  # noqa: PT012 - each call may be the last
            for _ in range(100_000):
                patient(silent, patience.select.POLLIN)
    finally:
        os.close(silent)
        os.close(other)
    return caught.value.kind, now


def test_processor_time_ends_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    why, after = waits_until(monkeypatch, lambda now: ("R", now))
    assert why == "timeout"
    assert after < 7


def test_a_sleeper_is_ended_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    why, after = waits_until(monkeypatch, lambda now: ("S", 0.0))
    assert why == "timeout"
    assert after < 8


def test_one_that_naps_and_works_a_little_is_ended_in_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why, after = waits_until(monkeypatch, lambda now: ("S", 0.01 * (now // 2)))
    assert why == "timeout"
    assert after < 60


def test_one_that_answers_in_drops_is_ended_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    why, after = waits_until(monkeypatch, lambda now: ("S", 0.0), drips=True)
    assert why == "timeout"
    assert after < 10


def test_one_that_the_machine_gives_no_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    why, after = waits_until(monkeypatch, lambda now: ("R", 0.0))
    assert why == "starved"
    assert after > LONGEST_S
