"""Executors: whoever does the pieces, and however often they die, the results are the same."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from installed_plugins import install
from recorded import everything, recorded

from marl.checkpoint import latest_checkpoint
from qllm.cli.main import run
from qllm.executors import processes
from qllm.executors.base import EXECUTORS
from qllm.jobs.job_control import JobControl
from qllm.store.store import open_store

TRAIN = [
    "train", "matrix/climbing", "--algo", "vdn", "--seeds", "0,1", "log_every=200",
    "evaluation.every=200", "evaluation.episodes=4", "learner.batch_size=8", "agent.hidden=8",
]  # fmt: skip
SHORT = [*TRAIN, "--steps", "600"]
LONG = [*TRAIN, "--steps", "6000", "checkpoint_every=600"]

FLAKY = """
import json
from qllm.executors.base import DiedError
from qllm.executors.task import perform

submitted = []

class Answered:
    def __init__(self, text, dies):
        self.text, self.dies = text, dies

    def answer(self):
        if self.dies:
            raise DiedError("its machine went away")
        return perform(self.text)

    def stop(self):
        submitted.append("stop")

class Silent(Answered):
    def answer(self):
        return None

class Flaky:
    at_once = None

    def __init__(self, surroundings):
        self.kind = surroundings.options.get("kind", "")

    def submit(self, task):
        submitted.append(task)
        if self.kind == "silent":
            return Silent(task, False)
        return Answered(task, self.kind == "hopeless" or submitted.count(task) == 1)

    def close(self):
        submitted.append("close")
"""

Act = Callable[..., int]


@pytest.fixture
def act(home: Path) -> Act:
    """Runs a command in the home folder."""
    return lambda *words: run(["--home", str(home), *map(str, words)])


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What executor `flaky`, which is installed, was told."""
    install(monkeypatch, tmp_path, EXECUTORS, {"flaky": "flaky:Flaky"}, {"flaky": FLAKY})
    import flaky  # type: ignore[import-not-found]

    found: list[str] = flaky.submitted
    return found


def _whole(home: Path, words: list[str]) -> Path:
    """The home of the same in one process."""
    folder = home.with_name("whole")
    assert run(["--home", str(folder), *words]) == 0
    return folder


def _same(home: Path, whole: Path) -> bool:
    with open_store(home) as one, open_store(whole) as other:
        return recorded(one) == recorded(other)


def test_a_task_whose_worker_dies_is_begun_again(
    home: Path, act: Act, submitted: list[str], capsys: Any
) -> None:
    assert act(*SHORT, "--executor", "flaky") == 0
    tasks = submitted[:-1]
    assert submitted[-1] == "close"
    assert sorted(json.loads(task)["index"] for task in tasks) == [0, 0, 1, 1]
    assert "its machine went away; it is begun again" in capsys.readouterr().err
    assert _same(home, _whole(home, SHORT))
    with open_store(home) as store:
        before = everything(store)
        assert act(*SHORT, "--executor", "flaky") == 0  # nothing is done twice
        assert len(submitted) == 5
        assert everything(store) == before


def test_a_task_is_not_begun_for_ever(
    home: Path, act: Act, submitted: list[str], capsys: Any
) -> None:
    assert act(*SHORT, "--executor", "flaky", "--with", "kind=hopeless") == 1
    assert submitted.count("close") == 1
    assert len(submitted) == 7
    said = capsys.readouterr().err
    assert "it was begun 3 times" in said
    assert "no piece has finished" in said


def test_a_stop_reaches_the_tasks(
    act: Act, submitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter(["continue"] * 5)
    monkeypatch.setattr(JobControl, "training", lambda _: next(asked, "stop"))
    monkeypatch.setattr("qllm.plans.driving.LEAVE_S", 0.0)
    assert act(*SHORT, "--executor", "flaky", "--with", "kind=silent") == 1
    assert submitted[2:] == ["stop", "stop", "close"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--executor", "rey"], "--executor rey: there is local, processes, submitit, ray"),
        (["--executor", "ray"], "pip install -e '.[ray]'"),
        (["--executor", "submitit"], "pip install -e '.[slurm]'"),
        (["--executor", "local", "--with", "a=1"], "--with a: executor 'local' has the options no"),
        (["--executor", "local", "--with", "a"], "--with takes KEY=VALUE"),
        (["--with", "a=1"], "--with goes with --executor"),
    ],
)
def test_what_no_executor_can_do_is_refused(
    act: Act, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], said: str
) -> None:
    for package in ("ray", "submitit"):  # as where they are not installed
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"qllm.executors.{package}", raising=False)
    assert act(*SHORT, *words) == 2
    assert said in capsys.readouterr().err


def test_a_cluster_that_does_not_start_is_one_clear_line(
    act: Act, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nIt could be loaded.")

    ended: list[str] = []
    fake = SimpleNamespace(init=init, shutdown=lambda: ended.append("shutdown"))
    monkeypatch.setitem(sys.modules, "ray", fake)
    assert act(*SHORT, "--executor", "ray") == 2
    assert "executor 'ray': The current node timed out during startup.\n" in capsys.readouterr().err
    assert ended == ["shutdown"]


@pytest.mark.long
def test_a_killed_process_goes_on_from_its_checkpoint(
    home: Path, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = processes.ProcessesExecutor.submit
    killed = []

    def submit(self: Any, task: str) -> Any:
        begun = begin(self, task)
        if not killed:
            killed.append(begun.process.pid)
            threading.Thread(target=kill, args=(begun.process.pid,), daemon=True).start()
        return begun

    def kill(pid: int) -> None:
        until = time.monotonic() + 120
        while not any(map(latest_checkpoint, home.glob("plans/*/0/1.1"))):
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(processes.ProcessesExecutor, "submit", submit)
    assert act(*LONG, "--executor", "processes", "--parallel", 2) == 0
    assert _same(home, _whole(home, LONG))
    with open_store(home) as store:
        first, second = store.runs.trainings(1)
        assert (first.attempt, second.attempt) == (2, 1)
        assert store.runs.attempts(first.id)[1].resumed_at > 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "options"),
    [("local", []), ("processes", []), ("submitit", ["--with", "cluster=local"]), ("ray", [])],
)
def test_every_executor_does_what_one_process_does(
    home: Path, act: Act, name: str, options: list[str]
) -> None:
    if name in ("submitit", "ray") and find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    assert act(*SHORT, "--parallel", 2, "--executor", name, *options) == 0
    assert _same(home, _whole(home, SHORT))


PAGE = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_pages_executor_works(
    tmp_path: Path, home: Path, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    install(
        monkeypatch, tmp_path, EXECUTORS, {"pool": "pool_executor:Pool"}, {"pool_executor": code}
    )
    assert act(*SHORT, "--parallel", 2, "--executor", "pool") == 0
    assert _same(home, _whole(home, SHORT))


@pytest.mark.long
def test_the_pages_script_is_requeued_and_goes_on(tmp_path: Path, act: Act) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    assert act(*["plan", *LONG[1:], "--out", tmp_path / "plan.json"]) == 0
    tools = tmp_path / "tools"
    tools.mkdir()
    programs = {
        "qllm": f'exec {sys.executable} -m qllm.cli.main "$@"',
        "scontrol": 'echo "$@" >> asked',
        # As SLURM does before the time is up, once.
        "srun": """
            "$@" &
            worker=$!
            if [ ! -e asked ]; then
                until ls runs/plans/*/1/1.1/checkpoints/0*/facts.json > seen 2>&1; do
                    sleep 0.1
                done
                kill -USR1 $worker
            fi
            wait $worker""",
    }
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "1",
    }
    ends = [
        subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment).returncode
        for _ in range(2)
    ]
    assert ends == [138, 0]
    assert (tmp_path / "asked").read_text() == "requeue 7_1\n"
