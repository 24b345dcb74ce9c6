"""A tracker beside the training: order, gathering, failures, and how long the training waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from qllm.trackers.background import Background
from qllm.trackers.config import TrackingConfig
from qllm.trackers.points import EvaluationPoint, MetricPoint, Point, Scalar, scalars
from qllm.trackers.protocol import Status, TrackedRun, TrackerError, reason


def tracked(folder: Path, *points: Point, attempt: int = 1, **settings: str) -> TrackedRun:
    return TrackedRun(
        id=1,
        uid="0123456789abcdef0123456789abcdef",
        name="1.1",
        group="run-1-01234567",
        task="matrix/climbing",
        algo="vdn",
        seed=3,
        began=1_700_000_000.0,
        attempt=attempt,
        config={"steps": 100, "learner": {"lr": 0.5, "gamma": None}, "env": {"observe": "own"}},
        versions={"torch": "2"},
        home=folder,
        folder=folder,
        settings=TrackingConfig.model_validate(settings),
        points=points,
    )


def loss(env_steps: int, value: float | None = 1.0) -> MetricPoint:
    return MetricPoint(env_steps, env_steps / 10, "loss", value)


class Recording:
    """A tracker that notes its calls, and waits for a gate in each `add`."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.began, self.gate = threading.Event(), threading.Event()

    def begin(self, run: TrackedRun) -> None:
        self.calls.append(run.name)
        self.began.set()

    def add(self, points: Sequence[Point]) -> None:
        assert self.gate.wait(10)
        self.calls.append([point.env_steps for point in points])

    def finish(self, status: Status) -> None:
        self.calls.append(status)


def test_training_does_not_wait_and_points_that_gather_go_out_together(tmp_path: Path) -> None:
    slow = Recording()
    tracker = Background(slow)
    tracker.begin(tracked(tmp_path))
    assert slow.began.wait(10)
    before = time.perf_counter()
    for step in range(1_000):
        tracker.add([loss(step)])
    assert time.perf_counter() - before < 1  # a call that waits for its gate would take 10 s
    slow.gate.set()
    tracker.finish("finished")
    first, *parts, last = slow.calls
    assert (first, last) == ("1.1", "finished")
    assert [step for part in parts for step in part] == list(range(1_000))
    assert len(parts) < 1_000


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(3)])
def test_a_failure_is_told_by_the_next_call(tmp_path: Path, error: BaseException) -> None:
    class Failing(Recording):
        def add(self, points: Sequence[Point]) -> None:
            raise error

    tracker = Background(Failing())
    tracker.begin(tracked(tmp_path))
    tracker.add([loss(1)])
    with pytest.raises(TrackerError, match=r"No space left on device|3"):
        tracker.finish("finished")
    with pytest.raises(TrackerError):
        tracker.add([loss(2)])


def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    hanging = Recording()
    tracker = Background(hanging, patience_s=0.05, last_s=0.05)
    tracker.begin(tracked(tmp_path))
    tracker.add([loss(1)])
    assert hanging.began.wait(10)
    time.sleep(0.2)
    with pytest.raises(TrackerError, match=r"has not answered for 0\.05 s"):
        tracker.add([loss(2)])
    hanging.gate.set()


def test_the_end_is_not_waited_for_longer_than_said(tmp_path: Path) -> None:
    hanging = Recording()
    tracker = Background(hanging, last_s=0.05)
    tracker.begin(tracked(tmp_path))
    tracker.add([loss(1)])
    with pytest.raises(TrackerError, match=r"not done 0\.05 s after the end"):
        tracker.finish("finished")
    hanging.gate.set()


def test_scalars_have_a_place_by_where_they_were_measured() -> None:
    points: list[Point] = [
        loss(5, None),
        MetricPoint(5, 0.5, "train_return", 2.0),
        MetricPoint(5, 0.5, "eval_won", float("inf")),
        EvaluationPoint(1, 5, 0.5, (1.0, 2.0)),
    ]
    found = list(scalars(points))
    assert [s.tag for s in found] == ["train/loss", "train/return", "eval/won", "eval/return_mean"]
    assert found[1::2] == [Scalar(5, 0.5, "train/return", 2.0), Scalar(5, 0.5, found[3].tag, 1.5)]
    assert [s.value != s.value for s in found] == [True, False, True, False]


def test_a_reason_is_one_line() -> None:
    assert reason(OSError(28, "No space left on device")) == "No space left on device"
    assert reason(RuntimeError("a\n  b")) == "a b"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(RuntimeError("x" * 1_000))) == 300
