"""Several trainings at once: the same results as one after the other, and no process left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from marl.checkpoint import latest_checkpoint
from prompts.cards import load_card
from qllm import spawn
from qllm.cli.main import run
from qllm.display import make_display
from qllm.jobs import child_process, training_process
from qllm.jobs.job_control import JobControl
from qllm.jobs.parallel import run_parallel
from qllm.jobs.session import Session
from qllm.store.commands import CommandName
from qllm.store.numbers import run_name
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.store import Store, open_store
from sandbox.certificate import save_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import GateConfig

pytestmark = pytest.mark.long

FIRST = 1_000_001
SECOND = 1_000_002
"""Trainings of run 1: 1.1 and 1.2."""

ROOT = Path(__file__).parents[2]
STEPS = 6000
SETTINGS = [
    f"--steps={STEPS}",
    "--json",
    "checkpoint_every=400",
    "log_every=400",
    "evaluation.every=2000",
    "evaluation.episodes=4",
    "learner.batch_size=8",
    "agent.hidden=8",
]
COMPARE = ["compare", "matrix/climbing", "--algos", "vdn,qllm", *SETTINGS]
SOURCE = """
def tfcaf(state):
    weights = torch.ones(state.shape[0], 2)
    return weights, torch.zeros(state.shape[0], 1)
"""


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, warm_sandbox: Sandbox) -> Path:
    """The home of the same comparison, one training after the other in this process."""
    folder = tmp_path_factory.mktemp("whole")
    card = load_card("matrix/climbing")
    report = warm_sandbox.check(SOURCE, card, GateConfig())
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("QLLM_DB", raising=False)
        certificate = str(save_tfcaf(folder, report, card))
        assert run(["--home", str(home), *COMPARE, "--tfcaf", certificate]) == 0
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts jobs, and sees to it that a failed test leaves none."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "qllm.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "QLLM_HOME": str(home)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _credit(whole: Path) -> list[str]:
    return ["--tfcaf", str(whole / "1" / "credit.tfcaf.json")]


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"ended early: {process.communicate()}")
        try:
            if condition():
                return
        except Exception:  # noqa: BLE001 (the store may not exist yet)
            pass
        time.sleep(0.02)
    raise AssertionError("timed out")


def _read_until(text: str, process: subprocess.Popen[str]) -> str:
    """What the process wrote on its standard error, to the line with the text."""
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"ended without {text!r}: {''.join(lines)}")


def _children(home: Path) -> list[Run]:
    with open_store(home, readonly=True) as store:
        return store.runs.children(1)


def _begun_together(home: Path, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Let both trainings begin, and pause them before they move; returns their processes."""
    job = psutil.Process(process.pid)
    _until(lambda: len(job.children()) == 2, process)
    _pause(home, process)
    trainings = job.children(recursive=True)
    assert {p.pid for p in trainings} == {run.pid for run in _children(home)}
    return trainings


def _pause(home: Path, process: subprocess.Popen[str]) -> None:
    _command(home, "pause")
    _until(lambda: [run.status for run in _children(home)] == ["paused"] * 2, process)


def _command(home: Path, name: CommandName) -> None:
    with open_store(home) as store:
        store.commands.send(1, name)


def _outcome(home: Path, run_id: int) -> object:
    """All that a training came to, times excepted."""
    checkpoint = latest_checkpoint(home / run_name(run_id))
    assert checkpoint is not None
    tensors = load_file(checkpoint / "tensors.safetensors")
    with open_store(home, readonly=True) as store:
        return (
            store.runs.get(run_id).status,
            [(e.env_steps, e.returns) for e in store.training.evaluations(run_id)],
            {
                name: [(p.env_steps, p.value) for p in store.training.metrics(run_id, name)]
                for name in store.training.metric_names(run_id)
            },
            {name: value.numpy().tobytes() for name, value in tensors.items()},
        )


def _total(home: Path) -> tuple[int, int]:
    with open_store(home, readonly=True) as store:
        parent = store.runs.get(1)
        return parent.env_steps, parent.total_steps


def _resumed_as_whole(home: Path, whole: Path, *words: str) -> None:
    assert run(["--home", str(home), "resume", "1", "--json", *words]) == 0
    for run_id in (FIRST, SECOND):
        assert _outcome(home, run_id) == _outcome(whole, run_id)
    assert _total(home) == _total(whole) == (2 * STEPS, 2 * STEPS)


def test_a_killed_training_is_named_a_killed_job_leaves_no_process_and_all_go_on_exactly(
    home: Path, whole: Path, start: Start
) -> None:
    process = start(*COMPARE, *_credit(whole), "--parallel", "2")
    trainings = _begun_together(home, process)
    _command(home, "resume")
    _until(lambda: _children(home)[0].env_steps >= 800, process)
    _pause(home, process)
    vdn, _ = _children(home)
    assert 800 <= vdn.env_steps < STEPS
    assert vdn.pid is not None
    os.kill(vdn.pid, signal.SIGKILL)
    _until(lambda: [run.status for run in _children(home)] == ["failed", "paused"], process)
    # The reason is printed after the status is stored: the job is killed once it was read.
    reason = f"run 1.1 (vdn, seed 0): its process {vdn.pid} was killed by SIGKILL"
    assert "Traceback" not in _read_until(reason, process)
    process.kill()
    # At once: what still saves its training is waited for.
    _resumed_as_whole(home, whole, "--parallel", "2")
    assert not psutil.wait_procs(trainings, 0)[1]


@pytest.mark.slow
def test_stopped_trainings_leave_no_process_and_go_on_exactly(
    home: Path, whole: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    process = start(*COMPARE, *_credit(whole), "--parallel", "2")
    trainings = _begun_together(home, process)
    assert run(["--home", str(home), "runs", "--all"]) == 0
    assert capsys.readouterr().out.count(" paused ") == 3
    _command(home, "resume")
    _until(lambda: _total(home)[0] >= 800, process)
    assert run(["--home", str(home), "stop", "1"]) == 0
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert not psutil.wait_procs(trainings, 0)[1]
    assert json.loads(out)["status"] == "stopped"
    assert [run.status for run in _children(home)] == ["stopped", "stopped"]
    assert _total(home) == (sum(run.env_steps for run in _children(home)), 2 * STEPS)

    process = start("resume", "1", "--parallel", "3")
    _begun_together(home, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "qllm resume 1" in err
    assert [run.status for run in _children(home)] == ["stopped", "stopped"]
    _resumed_as_whole(home, whole)


# -- the watching alone, with processes that only pretend to train -----------------------------

_PRETENDER = """
import json, os, sys, time
from multiprocessing.connection import Connection
sys.path[:] = json.loads(sys.argv.pop())
sys.argv.pop(1)  # the function that is called otherwise
from qllm.jobs.messages import BarBegan, Channel, Ended, BarEnded, BarMoved
channel = Channel(Connection(int(sys.argv[2])))
number = channel.receive().run_id
channel.send(BarBegan(f"training {number}", 100, "steps", 0))
channel.send(BarMoved(40, 10.0, None))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def _session(store: Store) -> Session:
    return Session(store, make_display("plain"), JobControl(store), "qllm compare")


def _queue(store: Store, number: int) -> tuple[int, list[Run]]:
    config: dict[str, Any] = {"task": "matrix/climbing"}
    parent = store.runs.create("compare", "t", config=config, command="c", versions={})
    for seed in range(number):
        store.runs.create(
            "train",
            "t",
            config=config,
            command="c",
            versions={},
            parent_id=parent,
            algo="vdn",
            seed=seed,
            total_steps=100,
        )
    return parent, store.runs.children(parent)


def _own() -> set[int]:
    """The processes that this one has started."""
    return {process.pid for process in psutil.Process().children()}


def _pretend(patch: pytest.MonkeyPatch, then: str) -> None:
    patch.setattr(spawn, "_START", _PRETENDER + then)


def test_more_at_once_than_there_are_trainings_and_never_more_than_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = "os.environ['OMP_NUM_THREADS']"
    _pretend(monkeypatch, f"channel.send(BarEnded({threads})); channel.send(Ended(None))")
    monkeypatch.setattr("qllm.jobs.parallel.cores", lambda: 2)
    parent, queue = _queue(store, 3)
    before = _own()
    assert run_parallel(_session(store), parent, queue, 8) == []
    said = capsys.readouterr().err
    assert "3 trainings at once with threads=1 want 3 CPU cores, and there are 2" in said
    assert "no sooner than with --parallel 2" in said
    assert said.count(": 1\n") == 3  # the process's own number of threads
    assert _own() == before


def test_a_process_that_crashes_is_named_with_what_it_printed_last_and_the_rest_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(
        monkeypatch,
        f"if number == {FIRST}: raise SystemError('the disk has melted')\n"
        "channel.send(Ended(None))",
    )
    parent, queue = _queue(store, 2)
    (failure,) = run_parallel(_session(store), parent, queue, 2)
    assert failure.startswith("run 1.1 (vdn, seed 0): its process ")
    assert "ended with exit code 1" in failure
    assert "SystemError: the disk has melted" in failure
    assert failure.count("\n") == 0
    assert failure in capsys.readouterr().err
    failed = store.runs.get(FIRST)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error in failure
    log = store.run_dir(FIRST) / training_process.LOG_FILE
    assert "melted" in log.read_text(encoding="utf-8")
    assert not (store.run_dir(SECOND) / training_process.LOG_FILE).exists()  # it printed nothing


def test_pause_and_stop_are_passed_on_and_what_has_not_begun_stays_queued(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    heard = {number: tmp_path / f"heard-{number}" for number in (FIRST, SECOND, SECOND + 1)}
    _pretend(
        monkeypatch,
        f"""
with open({str(tmp_path)!r} + f"/heard-{{number}}", "w", buffering=1) as log:
    while (word := channel.receive()) != "stop":
        log.write(word + "\\n")
    log.write(word)
channel.send(Ended(None))
""",
    )
    parent, queue = _queue(store, 3)
    session = _session(store)
    control, orders = session.control.training, ["pause", "resume", "stop"]

    def acting() -> str:
        # Each command only after the one before it has reached both processes.
        words = [heard[n].read_text().split() for n in (FIRST, SECOND) if heard[n].exists()]
        if orders and [len(w) for w in words] == [3 - len(orders)] * 2:
            store.commands.send(parent, orders.pop(0))  # type: ignore[arg-type]
        return control()

    monkeypatch.setattr(session.control, "training", acting)
    with session.control.watching(parent):
        assert run_parallel(session, parent, queue, 2) == []
    for number in (FIRST, SECOND):
        assert heard[number].read_text().split() == ["pause", "continue", "stop"]
    assert not heard[SECOND + 1].exists()
    assert derived_status(store.runs.get(SECOND + 1)) == "queued"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_job_that_fails_leaves_no_process(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    # A second Ctrl-C kills; any other end closes the pipe, at which a training saves and ends.
    ends = "try: channel.receive()\nexcept EOFError: pass"
    patient = ends if error is RuntimeError else "time.sleep(60)"
    _pretend(monkeypatch, patient)
    before = _own()
    parent, queue = _queue(store, 2)
    session = _session(store)
    control = session.control.training
    asked = 0

    def failing() -> str:
        nonlocal asked
        asked += 1
        if asked == 5:
            assert len(_own() - before) == 2
            raise error
        return control()

    monkeypatch.setattr(session.control, "training", failing)
    with pytest.raises(error):
        run_parallel(session, parent, queue, 2)
    assert _own() == before


def test_a_process_that_cannot_be_started_is_one_clear_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child_process.subprocess, "Popen", full)
    parent, queue = _queue(store, 2)
    failures = run_parallel(_session(store), parent, queue, 2)
    assert failures == [
        f"run 1.{n + 1} (vdn, seed {n}): no process can be started (Resource temporarily"
        " unavailable): lower `parallel`"
        for n in (0, 1)
    ]


@pytest.mark.parametrize("words", [["parallel=0"], ["--parallel", "0"], ["parallel=two"]])
def test_an_impossible_number_is_refused_before_anything_runs(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(["--home", str(home), *COMPARE, *words]) == 2
    said = capsys.readouterr().err
    assert "parallel" in said
    assert said.count("\n") == 1
    assert not home.exists()
