"""Pilot trainings in a report: a row for each function, however often it was trained."""

from __future__ import annotations

from typing import Any

import pytest

from qllm.facts.pilots import MOST_CURVES, drawn, pilot_table, pilots_of
from qllm.store.schema import Verdict


def pilot(candidate: int | None, steps: int, score: float | None, **more: Any) -> Any:
    """A verdict as a search keeps it."""
    graph = None if candidate is None else f"{candidate:02x}{more.pop('graph', '')}"
    name = "vdn" if candidate is None else f"r0.s{candidate}.0"
    reason = {
        "key": name,
        "final_mean": score,
        "area_mean": score,
        "seeds": [1, 2, 3],
        "finals": [] if score is None else [score, score + 1 / steps, score - (candidate or 0)],
        "curve": [[0, 0.0], [steps, score or 0.0]],
        "env_steps": 2 * steps,
        "graph_hash": graph,
        "steps": steps,
        **more,
    }
    return Verdict(
        kind="pilot", key=f"{graph or 'vdn'}@{steps}", candidate_id=candidate, reason=reason
    )


LABELS = {n: f"1.{n}" for n in range(1, 30)}


def test_a_function_trained_three_times_has_one_row_of_its_longest_training() -> None:
    verdicts = [
        *(pilot(n, 250, 10.0 * n) for n in (1, 2, 3)),
        *(pilot(n, 500, 20.0 * n) for n in (2, 3)),
        pilot(3, 1_000, 50.0),
        pilot(None, 1_000, 40.0),
    ]
    rows = pilot_table(pilots_of(verdicts, LABELS), 3, "03")
    assert [(r.pilot.name, r.pilot.final, r.pilot.steps, r.env_steps, r.dropped) for r in rows] == [
        ("1.3", 50.0, 1_000, 3_500, False),
        ("vdn", 40.0, 1_000, 2_000, False),
        ("1.2", 40.0, 500, 1_500, True),
        ("1.1", 10.0, 250, 500, True),
    ]
    assert [p.selected for p in rows] == [True, False, False, False]
    assert [r.pilot.area for r in rows if not r.dropped] == [50.0, 40.0]
    assert [p.name for p in drawn(rows)] == ["1.3", "vdn"]
    assert sum(p.env_steps for p in rows) == sum(v.reason["env_steps"] for v in verdicts)


def test_the_best_stand_first_the_selected_before_its_equals_and_failures_last() -> None:
    verdicts = [
        pilot(1, 500, None, error="loss is not finite"),
        pilot(2, 500, 7.0),
        pilot(3, 500, 9.0),
        pilot(4, 500, 9.0),
    ]
    rows = pilot_table(pilots_of(verdicts, LABELS), 4, "04")
    assert [r.pilot.name for r in rows] == ["1.4", "1.3", "1.2", "1.1"]


def test_the_same_candidate_under_another_gate_is_another_function() -> None:
    verdicts = [pilot(1, 500, 1.0), pilot(1, 500, 2.0, graph="ff", key="r0.s1.0@relax")]
    rows = pilot_table(pilots_of(verdicts, LABELS), 1, "01")
    assert [(r.pilot.name, r.selected) for r in rows] == [
        ("1.1, gate relaxed", False),
        ("1.1", True),
    ]


def test_a_drawing_holds_the_best_the_baseline_and_the_selected_one() -> None:
    verdicts = [pilot(n, 500, float(n)) for n in range(1, 21)] + [pilot(None, 500, -5.0)]
    rows = pilot_table(pilots_of(verdicts, LABELS), 1, "01")
    labels = [p.name for p in drawn(rows)]
    assert len(labels) == MOST_CURVES
    assert {"vdn", "1.1", "1.20"} <= set(labels)
    assert "1.2" not in labels


def test_the_selected_function_is_held_against_each_other_one_seed_by_seed() -> None:
    verdicts = [
        *(pilot(n, 250, 10.0 * n) for n in (1, 2)),
        *(pilot(n, 500, 20.0 * n) for n in (2,)),
        pilot(None, 500, 30.0),
        pilot(3, 500, None, error="diverged"),
    ]
    rows = pilot_table(pilots_of(verdicts, LABELS), 2, "02")
    found = {r.pilot.name: r.difference for r in rows}
    assert found["1.2"] is None
    assert found["1.3"] is None
    after_250 = found["1.1"]
    assert after_250 is not None
    # Both after 250 steps: 10 with the first two seeds, 9 with the third.
    assert after_250.mean == pytest.approx(29 / 3)
    assert after_250.told_apart
    assert found["vdn"] is not None
    assert found["vdn"].mean == pytest.approx(10 - 2 / 3)
