"""Numbers read the same everywhere and never mislead about their size."""

from __future__ import annotations

import math

import pytest

from qllm.units import count, duration, interval, number, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (999.7, "1k"), (20_000, "20k"), (1_250_000, "1.25M"), (0.5, "0.5")],
)
def test_count(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(231.44, "231.4"), (0.0712, "0.071"), (-12_500, "-12,500"), (0, "0.0"), (1.234, "1.23")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_not_finite_is_named() -> None:
    assert [number(x) for x in (math.nan, math.inf, -math.inf)] == ["not a number", "∞", "-∞"]
    assert {f(None) for f in (count, whole, number, interval, duration)} == {"–"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1m 00s"), (187, "3m 07s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_long_durations_come_in_hours() -> None:
    assert duration(3_765) == "1h 02m"
