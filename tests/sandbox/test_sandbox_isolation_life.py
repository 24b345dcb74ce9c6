"""Processes and descriptors: nothing outlives what it belongs to, and nothing leaks."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import psutil
import pytest
from attacks import attack_runner
from sandbox_cages import LIMITS, zygote

from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig
from sandbox.isolation.host import ChildFailure, Errand, SandboxUnavailable, Zygote
from sandbox.isolation.lockdown import Limits

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
GOOD = "def tfcaf(state):\n    return state * 0 + 1, state[:, :1] * 0\n"
SPIN = "def a(x):\n    return x + 1\n"
for outer, inner in zip("bcdefghij", "abcdefghi", strict=True):  # a billion calls, without a loop
    SPIN += f"def {outer}(x):\n    return {f'{inner}(' * 10}x{')' * 10}\n"
SPIN += GOOD.replace("    return", "    y = j(1)\n    return")


def gone(pid: int) -> bool:
    """Whether a process has ended (one that waits to be reaped has)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def soon(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether a condition comes true within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def ask(cage: Zygote, code: str) -> object:
    """Check one source in a child."""
    with cage.child(LIMITS) as child:
        child.ask({**attack_runner.TASK, "code": code})
        return child.answer()


def open_descriptors() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def test_a_spinning_child_is_dead_when_its_processor_time_is_used_up() -> None:
    started, pids = time.perf_counter(), []

    def spin() -> None:
        with zygote().child(Limits(LIMITS.memory_mb, 1.0)) as child:
            pids.append(child.pid)
            child.ask({**attack_runner.TASK, "code": SPIN})
            child.answer()

    with pytest.raises(ChildFailure) as caught:
        spin()
    assert caught.value.rule == "isolation.time"
    assert time.perf_counter() - started < 60
    assert not psutil.pid_exists(pids[0])


def test_a_child_is_dead_when_the_caller_gives_up() -> None:
    pids = []

    def give_up() -> None:
        with zygote().child(LIMITS) as child:
            pids.append(child.pid)
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert not psutil.pid_exists(pids[0])


def test_children_have_no_children() -> None:
    with zygote().child(LIMITS):
        assert len(psutil.Process(zygote().pid).children(recursive=True)) == 1
    assert psutil.Process(zygote().pid).children(recursive=True) == []


def test_two_hundred_checks_leak_no_descriptor_and_no_process() -> None:
    cage = zygote()
    ask(cage, GOOD)
    before, theirs = open_descriptors(), psutil.Process(cage.pid).num_fds()
    for i in range(200):
        if i % 4 == 0:
            with contextlib.suppress(ChildFailure), cage.child(Limits(LIMITS.memory_mb, 0.0001)):
                pass
        elif i % 4 == 1:
            with contextlib.suppress(ZeroDivisionError), cage.child(LIMITS):
                raise ZeroDivisionError
        else:
            with cage.child(LIMITS):
                pass
    assert open_descriptors() == before
    assert psutil.Process(cage.pid).num_fds() == theirs
    assert psutil.Process(cage.pid).children() == []


def test_a_busy_parent_with_thousands_of_descriptors_can_check() -> None:
    """The descriptors of a check are then beyond what select takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("few descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1200)]
    try:
        assert isinstance(ask(zygote(), GOOD), dict)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_checks_from_several_threads_do_not_mix() -> None:
    def one(i: int) -> bool:
        """Whether the answer is the one to this thread's question."""
        answer = ask(zygote(), GOOD.replace("* 0 + 1", f"* 0 + {i}.5"))
        return isinstance(answer, dict) and f"{i}.5" in str(answer["graph"])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(one, range(36)))


def test_a_zygote_that_dies_in_mid_check_costs_one_candidate() -> None:
    with Sandbox(SandboxConfig(cpu_s=30, examples=2)) as sandbox:
        first, child_pids = sandbox.zygote.pid, []

        def kill_when_it_checks() -> None:
            """Wait for the child of the check, then kill the zygote."""
            soon(lambda: psutil.Process(first).children())
            time.sleep(0.3)
            child_pids.extend(p.pid for p in psutil.Process(first).children())
            os.kill(first, signal.SIGKILL)

        killer = threading.Thread(target=kill_when_it_checks)
        killer.start()
        report = sandbox.check(SPIN, attack_runner.CARD)
        killer.join()
        assert (report.verdict, report.rule) == ("rejected", "isolation.died")
        assert report.elapsed_s < 25
        assert len(child_pids) == 1
        assert soon(lambda: gone(child_pids[0]))
        assert sandbox.check(GOOD, attack_runner.CARD).rule != "isolation.died"
        assert sandbox.zygote.pid != first
        last = sandbox.zygote.pid
    assert not psutil.pid_exists(last)


def test_vulnerability_an_interrupted_conversation_mixes_up_children() -> None:
    """After it, the next question would get this one's answer: the zygote is given up."""
    cage = Zygote.__new__(Zygote)
    cage.__dict__.update(vars(zygote()))
    process, cage._process = cage._process, mock.Mock()
    cage._control = mock.Mock()
    for error, seen in ((KeyboardInterrupt, KeyboardInterrupt), (OSError, ChildFailure)):
        with (
            mock.patch("sandbox.isolation.host.socket.recv_fds", side_effect=error),
            mock.patch("sandbox.isolation.host.socket.send_fds"),
            pytest.raises(seen),
        ):
            cage._converse({"do": "fork"}, [])
        cage._process.kill.assert_called()
        cage._control.close.assert_called()
    assert process.poll() is None


def test_a_zygote_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setattr(Zygote, "_program", "raise RuntimeError('no torch here')")
    with pytest.raises(SandboxUnavailable, match="no torch here"):
        Zygote()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        Zygote()
    assert open_descriptors() == before


def test_a_zygote_whose_log_is_long_still_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = "import sys; sys.stderr.write('x' * 1_000_000); "
    quick = "from sandbox.isolation import zygote; zygote.warm_up = lambda **_: None; zygote.main()"
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {noisy}{quick}"
    monkeypatch.setattr(Zygote, "_program", program)
    cage = Zygote()
    assert cage.alive
    cage.close()
    assert not cage.alive


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        ("json:dumps", '{"a": 1}'),
        ("json:no_such_function", None),
        ("nowhere:dumps", None),
        ("sys:exit", None),
        ("json:JSONEncoder", None),  # whose answer is no JSON
    ],
)
def test_an_errand_is_answered_or_nothing_is_said(
    function: str, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = (
        "import os; from sandbox.isolation import zygote; "
        "zygote.warm_up = lambda *, errand, **_: os.waitpid(zygote._fork_errand(errand), 0); "
        "zygote.main()"
    )
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {quick}"
    monkeypatch.setattr(Zygote, "_program", program)
    before = open_descriptors()
    cage = Zygote(errand=Errand(function, {"a": 1}))
    try:
        assert cage.errand_answer == answer
        assert cage.alive
        assert psutil.Process(cage.pid).children() == []
    finally:
        cage.close()
    assert open_descriptors() == before


def test_closing_twice_and_checking_afterwards_is_told_cleanly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = "from sandbox.isolation import zygote; zygote.warm_up = lambda **_: None; zygote.main()"
    monkeypatch.setattr(
        Zygote, "_program", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {quick}"
    )
    cage = Zygote()
    cage.close()
    cage.close()
    with pytest.raises(ChildFailure), cage.child(LIMITS):
        pass


PARENT = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be inherited as ignored
from sandbox.isolation import host
from sandbox.isolation.lockdown import Limits
host.Zygote._program = (
    "import sys; sys.path.insert(0, {root!r}); from sandbox.isolation import zygote, child; "
    "zygote.warm_up = lambda **_: None; child.judge = lambda task: exec('while True: pass'); "
    "zygote.main()"
)
cage = host.Zygote()
sibling = os.fork() if {sibling} else 0
if {sibling} and sibling == 0:
    time.sleep(60)
    os._exit(0)
with cage.child(Limits(cpu_s=60)) as child:
    child.ask({{"kind": "check"}})
    print(cage.pid, child.pid, sibling, flush=True)
    child.answer()
"""


def a_parent(sibling: bool = False) -> tuple[subprocess.Popen[str], list[int]]:
    """A process that waits for a spinning child, and the process ids of what belongs to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(root=str(ROOT), sibling=sibling)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 3
    return process, pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_parent_leaves_no_process_behind(number: int) -> None:
    process, (cage, child, _) = a_parent()
    assert not gone(cage)
    assert not gone(child)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert soon(lambda: gone(cage) and gone(child))


def test_vulnerability_a_fork_of_the_parent_keeps_the_zygote_alive() -> None:
    """It holds the control socket open, so its end is no sign of the parent's end."""
    process, (cage, child, sibling) = a_parent(sibling=True)
    process.kill()
    try:
        assert soon(lambda: gone(cage) and gone(child))
        assert not gone(sibling)
    finally:
        os.kill(sibling, signal.SIGKILL)
        process.communicate(timeout=20)
