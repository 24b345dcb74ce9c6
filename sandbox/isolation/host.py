"""The parent's side: keep a zygote, run tasks in locked children, and leave nothing alive."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from sandbox.isolation import outside, wire
from sandbox.isolation.lockdown import Limits
from sandbox.isolation.patience import Patience

WARM_UP_S = 900.0
CONVERSE_S = 300.0
"""Longest wait for the zygote to fork or reap; it takes milliseconds."""
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
"""All that the zygote and its children are given."""
_ROOT = str(Path(__file__).resolve().parents[2])


class SandboxUnavailable(RuntimeError):
    """The sandbox cannot be used on this machine; the message says why and what to do."""


class ChildFailure(Exception):
    """A child ended without its answer.

    ``rule`` is ``isolation.time``, ``isolation.memory``, ``isolation.syscall``,
    ``isolation.crash``, ``isolation.reply``, ``isolation.layers`` or ``isolation.died``.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


@dataclass
class Child:
    """A forked, locked child: pipes to and from it, and a handle that names no other process."""

    pid: int
    handle: int
    task_fd: int
    answer_fd: int
    patience: wire.Wait
    layers: dict[str, str]

    def ask(self, message: Any) -> None:
        """Send it a message; one that it no longer reads shows when its answer is missing."""
        with contextlib.suppress(wire.WireError):
            wire.send(self.task_fd, message, self.patience)

    def answer(self) -> Any:
        """Its next message (untrusted JSON).

        Raises:
            wire.WireError: none came, within its processor time and in form.
        """
        return wire.receive(self.answer_fd, self.patience)


@dataclass(frozen=True)
class Errand:
    """Work of the parent's own that a fork of the zygote does while it warms up.

    The zygote has imported torch, so that the parent need not. It is trusted code on trusted data,
    done before there is any candidate.
    """

    function: str
    """``module:name``, called with the argument; importable beside this package."""
    argument: Any
    """JSON, as the answer is."""


class Zygote:
    """A warmed process to fork children from. Safe to use from several threads.

    Args:
        export: whether children will run sources, and not only judge graphs.
        errand: work of the parent's own to be done while it warms up.
    """

    _program = (
        f"import sys; sys.path.insert(0, {_ROOT!r}); "
        "from sandbox.isolation.zygote import main; main()"
    )

    errand_answer: Any = None
    """The errand's answer; None where there was no errand, or it failed."""

    def __init__(self, *, export: bool = True, errand: Errand | None = None) -> None:
        self._lock = threading.Lock()
        self._first_layers: dict[str, str] | None = None
        with tempfile.TemporaryFile("w+", encoding="utf-8") as paper:
            given = []
            if errand is not None:
                json.dump(asdict(errand), paper)
                paper.seek(0)
                given = [paper.fileno()]
            self._start("export" if export else "judge", given)
            try:
                self._await_ready()
                self.errand_answer = _answer_on(paper) if errand is not None else None
            except BaseException:
                self._process.kill()
                self.close()
                raise

    def _start(self, what: str, errand: list[int]) -> None:
        """Begin the process, with the descriptor of an errand's file if there is one."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        # A file and not a pipe: nobody reads it while the zygote warms up.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the zygote
        words = [theirs.fileno(), os.getpid(), what, *errand]
        try:
            self._process = subprocess.Popen(
                # As -I, but for the seed of hashes: sets have one order, in every session.
                [sys.executable, "-s", "-P", "-c", self._program, *map(str, words)],
                pass_fds=(theirs.fileno(), *errand),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            self._log.close()
            raise
        finally:
            theirs.close()

    def _await_ready(self) -> None:
        self._control.settimeout(WARM_UP_S)
        try:
            data = self._control.recv(65_536)
        except OSError:
            data = b""
        if data:
            self._control.settimeout(CONVERSE_S)
            return
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        log = self._log.read(1 << 20).decode("utf-8", "replace")
        tail = log.strip().splitlines()[-1:] or ["no reason given"]
        raise SandboxUnavailable(
            f"the sandbox could not start: {tail[0][:300]}; `qllm doctor` shows what is missing"
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _converse(
        self, request: dict[str, Any], fds: list[int]
    ) -> tuple[dict[str, Any], list[int]]:
        """One question and its answer, by one thread at a time.

        Whatever interrupts a conversation (a signal, say) ends the zygote: the next question would
        get this one's answer, and with it another candidate's child.
        """
        received: list[int] = []
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(request).encode()], fds)
                data, received, _, _ = socket.recv_fds(self._control, 65_536, 4)
                if not data or (request["do"] == "fork") != bool(received):
                    raise OSError("closed")
                return json.loads(data), received
            except BaseException as error:
                for fd in received:
                    os.close(fd)
                self._control.close()
                self._process.kill()
                if isinstance(error, (OSError, ValueError)):
                    message = "the sandbox's zygote is gone"
                    raise ChildFailure("isolation.died", message) from None
                raise

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._control.fileno() >= 0 and self._process.poll() is None

    @contextlib.contextmanager
    def child(self, limits: Limits) -> Iterator[Child]:
        """A fresh locked child; on leaving, it is dead and reaped whatever happened.

        Raises:
            ChildFailure: it could not be made, ended without an answer that was asked for, or has
                other layers than the first one had.
        """
        status: int | None = None
        with contextlib.ExitStack() as open_fds:
            task_read, task_write = _pipe(open_fds)
            answer_read, answer_write = _pipe(open_fds)
            reply, handles = self._converse(
                {"do": "fork", "limits": asdict(limits)}, [task_read.fd, answer_write.fd]
            )
            handle = _Descriptor(handles[0], open_fds)
            failure: wire.WireError | None = None
            try:
                task_read.close()
                answer_write.close()
                for end in (task_write, answer_read):
                    os.set_blocking(end.fd, False)
                patience = Patience(_pid(handle.fd, reply["pid"]), limits.cpu_s)
                made = Child(reply["pid"], handle.fd, task_write.fd, answer_read.fd, patience, {})
                made.layers = self._seen_layers(made, _layers(made.answer()))
                yield made
            except wire.WireError as error:
                failure = error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle.fd, signal.SIGKILL)
                with contextlib.suppress(ChildFailure):
                    status = self._converse({"do": "reap", "pid": reply["pid"]}, [])[0]["status"]
        if failure is not None:
            raise _explain(failure, status, limits) from None

    def _seen_layers(self, made: Child, said: dict[str, str]) -> dict[str, str]:
        try:
            layers = outside.verify(outside.process_of(made.handle), said)
        except ProcessLookupError:
            raise wire.WireError("closed", "it ended before its task") from None
        except OSError:
            layers = outside.verify(made.pid, said)
        if self._first_layers is None:
            self._first_layers = layers
        elif layers != self._first_layers:
            changed = sorted(
                k
                for k in layers.keys() | self._first_layers.keys()
                if layers.get(k) != self._first_layers.get(k)
            )
            raise ChildFailure(
                "isolation.layers", f"isolation changed while running: {', '.join(changed)}"
            )
        return layers

    def close(self) -> None:
        """End the zygote; children still running die with it."""
        with self._lock:
            self._control.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._log.close()


class _Descriptor:
    """A file descriptor that is closed once, at the latest with the stack."""

    def __init__(self, fd: int, stack: contextlib.ExitStack) -> None:
        self.fd = fd
        stack.callback(self.close)

    def close(self) -> None:
        """Close it if it is open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _pipe(stack: contextlib.ExitStack) -> tuple[_Descriptor, _Descriptor]:
    read, write = os.pipe()
    return _Descriptor(read, stack), _Descriptor(write, stack)


def _layers(message: Any) -> dict[str, str]:
    layers = message.get("layers") if isinstance(message, dict) else None
    if not isinstance(layers, dict):
        raise wire.WireError("malformed", "no layers")
    return {str(k)[:40]: str(v)[:120] for k, v in layers.items()}


def _answer_on(paper: TextIO) -> Any:
    paper.seek(0)
    try:
        return json.load(paper)
    except ValueError:
        return None


def _pid(handle: int, otherwise: int) -> int:
    try:
        return outside.process_of(handle)
    except OSError:
        return otherwise


def _explain(failure: wire.WireError, status: int | None, limits: Limits) -> ChildFailure:
    if failure.kind == "starved":
        raise SandboxUnavailable(
            "the machine gave a sandboxed process no processor time for an hour; try again when it "
            "is less busy"
        )
    if failure.kind == "timeout":
        return ChildFailure("isolation.time", f"{_TOO_LONG} ({failure})")
    if failure.kind == "malformed":
        return ChildFailure("isolation.reply", f"the sandboxed process answered with {failure}")
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            return ChildFailure(
                "isolation.time", f"{_TOO_LONG} (over {limits.cpu_s:g} s of processor time)"
            )
        if number in _SIGNALS:
            return ChildFailure(*_SIGNALS[number])
        return ChildFailure("isolation.crash", f"it was ended by {signal.Signals(number).name}")
    return ChildFailure("isolation.died", "the sandboxed process ended without an answer")


_TOO_LONG = "it did not finish; use fewer and smaller steps, no long loops and no huge numbers"
_MEMORY = "it crashed, most likely for want of memory or stack"
_SIGNALS: dict[int, tuple[str, str]] = {
    signal.SIGSYS: (
        "isolation.syscall",
        "it asked the operating system for something that is forbidden, and was stopped",
    ),
    signal.SIGKILL: ("isolation.memory", "it used too much memory or time and was stopped"),
    signal.SIGSEGV: ("isolation.memory", _MEMORY),
    signal.SIGABRT: ("isolation.memory", _MEMORY),
    signal.SIGBUS: ("isolation.memory", _MEMORY),
    signal.SIGFPE: (
        "isolation.crash",
        "a division of whole numbers has no result (by zero, or of the least integer by -1)",
    ),
    signal.SIGILL: ("isolation.crash", "it crashed on an illegal instruction"),
}
