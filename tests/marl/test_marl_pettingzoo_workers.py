"""Everything that can happen to a worker ends in one clear line, and never in waiting."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from marl.envs.base import BatchedEnv
from marl.errors import TrainingError

pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
from marl_pettingzoo_batches import make, no_worker_stays, roll
from marl_pettingzoo_toys import FILE

_no_worker_stays = pytest.fixture(autouse=True)(no_worker_stays)


def fails(env: BatchedEnv) -> str:
    """The error of an environment whose second step goes wrong; it must come fast."""
    begin = time.monotonic()
    with closing(env), pytest.raises(TrainingError) as caught:
        roll(env, 1)
    assert time.monotonic() - begin < 10
    assert "\n" not in str(caught.value)
    with pytest.raises(TrainingError, match="workers were stopped"):
        env.reset()
    return str(caught.value)


def test_an_error_in_an_environment_is_told_with_worker_instance_and_line() -> None:
    error = fails(make("Failing"))
    assert re.match(
        r"environment worker [12] of 2 \(instances (0 to 1|2 to 4)\) failed in `step`: "
        r"instance [02]: RuntimeError: the den collapsed \(",
        error,
    )
    assert error.endswith("in happen)")
    assert "marl_pettingzoo_toys.py:" in error


def test_a_worker_that_dies_is_told() -> None:
    error = fails(make("Dying", workers=1))
    assert error == "environment worker 1 of 1 (instances 0 to 4) died in `step` (exit code 3)"


def test_a_worker_that_is_killed_is_told() -> None:
    env = make("Toy", workers=1)
    env.reset()
    psutil.Process().children()[0].kill()
    assert "died in `reset` (signal SIGKILL)" in fails(env)


def test_what_a_scheduler_sends_to_all_processes_leaves_the_workers_at_work() -> None:
    with closing(make("Toy", workers=2)) as env:
        env.reset()
        for worker in psutil.Process().children():
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
                worker.send_signal(number)
        roll(env, 1)


def test_a_worker_that_hangs_is_stopped() -> None:
    error = fails(make("Hanging", timeout_s=1.5))
    assert (
        "environment worker 1 of 2 (instances 0 to 1) did not answer `step` within 1.5 s" in error
    )
    assert "env.worker_timeout_s" in error


@pytest.mark.parametrize(
    ("factory", "thread"),
    [("Toy", "main"), ("Hanging", "main"), ("Toy", "other")],
    ids=["at work", "in a step that hangs", "started by another thread"],
)
def test_workers_die_with_a_killed_parent(factory: str, thread: str) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            str(FILE.with_name("marl_pettingzoo_parent.py")),
            f"{FILE}:{factory}",
            thread,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert parent.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    time.sleep(0.2)  # into the step that hangs
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_workers_end_with_an_environment_that_nobody_holds() -> None:
    env = make("Toy")
    assert len(psutil.Process().children()) == 2
    del env


def test_no_more_workers_than_instances() -> None:
    with closing(make("Toy", rows=2, workers=8)):
        assert len(psutil.Process().children()) == 2
