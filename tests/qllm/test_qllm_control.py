"""How jobs are steered, and what becomes of a run on every way out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.errors import TrainingError
from qllm.display import make_display
from qllm.errors import WorkError
from qllm.jobs.job_control import JobControl
from qllm.jobs.session import Session
from qllm.signals import STOP_SIGNALS, caught_signals
from qllm.store.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def _run(store: Store, parent: int | None = None) -> int:
    return store.runs.create("train", "t", config={}, command="c", versions={}, parent_id=parent)


class Clock:
    """Time that moves when told to."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_commands_are_obeyed_and_acknowledged(store: Store) -> None:
    run_id = _run(store)
    control = JobControl(store, Clock())
    with control.watching(run_id):
        assert control() == "continue"
        command = store.commands.send(run_id, "pause")
        assert control() == "pause"
        assert store.commands.acknowledged(command)
        assert store.runs.get(run_id).status == "paused"
        store.commands.send(run_id, "resume")
        assert control() == "continue"
        assert store.runs.get(run_id).status == "running"
        store.commands.send(run_id, "stop-after-round")
        assert control() == "stop-after-round"
        assert control.training() == "continue"
        store.commands.send(run_id, "stop")
        assert control() == "stop"
        assert control() == "stop"


def test_a_command_to_a_child_ends_with_the_child(store: Store) -> None:
    parent = _run(store)
    child = _run(store, parent)
    control = JobControl(store, Clock())
    with control.watching(parent):
        with control.watching(child):
            store.commands.send(child, "stop")
            assert control() == "stop"
            assert control.stopping(child)
            assert not control.stopping(parent)
        assert control() == "continue"


def test_a_command_to_the_parent_reaches_the_child(store: Store) -> None:
    parent = _run(store)
    child = _run(store, parent)
    control = JobControl(store, Clock())
    with control.watching(parent), control.watching(child):
        store.commands.send(parent, "stop")
        assert control() == "stop"
        assert control.stopping(parent)


def test_a_child_that_begins_in_a_pause_is_paused(store: Store) -> None:
    parent = _run(store)
    child = _run(store, parent)
    control = JobControl(store, Clock())
    with control.watching(parent):
        store.commands.send(parent, "pause")
        assert control() == "pause"
        store.runs.begin(child)
        with control.watching(child):
            assert store.runs.get(child).status == "paused"
            store.commands.send(parent, "resume")
            assert control() == "continue"
            assert store.runs.get(child).status == "running"


def test_what_the_job_says_counts_before_what_the_store_says(store: Store) -> None:
    run_id = _run(store)
    control = JobControl(store, Clock())
    with control.watching(run_id):
        control.told = "pause"
        assert control() == "pause"
        control.told = "continue"
        assert control() == "continue"
        assert not control.stopping(run_id)
        store.commands.send(run_id, "pause")
        control.told = "stop"
        assert control() == "stop"
        assert control.stopping(run_id)


def test_commands_to_an_earlier_attempt_are_dropped(store: Store) -> None:
    run_id = _run(store)
    store.commands.send(run_id, "stop")
    control = JobControl(store, Clock())
    with control.watching(run_id):
        assert control() == "continue"


def test_the_store_is_asked_at_most_four_times_a_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = 0.0, 0
    run_id = _run(store)
    control = JobControl(store, lambda: now)
    pending = store.commands.pending

    def counting(run_ids: list[int]) -> list[object]:
        nonlocal asked
        asked += 1
        return list(pending(run_ids))

    with control.watching(run_id):
        monkeypatch.setattr(store.commands, "pending", counting)
        for i in range(1000):
            now = i / 500  # two seconds
            control()
    assert 7 <= asked <= 9


def test_the_first_signal_asks_for_a_stop_and_a_second_ctrl_c_stops_at_once(store: Store) -> None:
    control = JobControl(store, Clock())
    told: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with caught_signals(control, told.append):
        signal.raise_signal(signal.SIGINT)
        assert control() == "stop"
        assert control.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(told) == 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_signal_that_schedulers_and_terminals_send_asks_for_a_stop(
    number: int, store: Store
) -> None:
    control = JobControl(store, Clock())
    told: list[str] = []
    with caught_signals(control, told.append):
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # the first one counts
        assert control() == "stop"
    assert control.signal == number
    assert len(told) == 1


def test_a_signal_that_was_ignored_still_is(store: Store) -> None:
    control = JobControl(store, Clock())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with caught_signals(control, print):
            signal.raise_signal(signal.SIGHUP)
            assert control() == "continue"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("raised", "expected", "status", "error"),
    [
        (TrainingError("loss is NaN"), WorkError, "failed", "loss is NaN"),
        (WorkError("rejected"), WorkError, "failed", "rejected"),
        (ZeroDivisionError("bug"), ZeroDivisionError, "failed", "ZeroDivisionError: bug"),
        (KeyboardInterrupt(), KeyboardInterrupt, "stopped", "interrupted"),
    ],
)
def test_no_way_out_leaves_a_run_running(
    store: Store,
    raised: BaseException,
    expected: type[BaseException],
    status: str,
    error: str,
) -> None:
    run_id = _run(store)
    with make_display("none") as display:
        session = Session(store, display, JobControl(store), "qllm train")
        with pytest.raises(expected), session.working(run_id):
            raise raised
    run = store.runs.get(run_id)
    assert (run.status, run.error) == (status, error)
