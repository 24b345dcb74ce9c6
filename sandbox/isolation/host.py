"""The parent's side: keep a zygote, run tasks in locked children, and leave nothing alive."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.isolation import wire
from sandbox.isolation.lockdown import Limits

WARM_UP_S = 120.0
_ROOT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; sys.path.insert(0, {root!r}); from sandbox.isolation.zygote import main; main()"
)


class SandboxUnavailable(RuntimeError):
    """The sandbox cannot be used on this machine; the message says why and what to do."""


class ChildFailure(Exception):
    """A child ended without its answer.

    ``rule`` is ``isolation.time``, ``isolation.memory``, ``isolation.syscall``,
    ``isolation.reply`` or ``isolation.died``.
    """

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


@dataclass
class Child:
    """A forked, locked child: pipes to and from it, and a handle that cannot name another process."""

    pid: int
    handle: int
    task_fd: int
    answer_fd: int
    deadline: float
    layers: dict[str, str]

    def ask(self, message: Any) -> None:
        """Send it a message; one that it no longer reads shows when its answer is missing."""
        with contextlib.suppress(wire.WireError):
            wire.send(self.task_fd, message, self.deadline)

    def answer(self) -> Any:
        """Its next message (untrusted JSON).

        Raises:
            wire.WireError: none came, in time and in form.
        """
        return wire.receive(self.answer_fd, self.deadline)


class Zygote:
    """A warmed process to fork children from. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START.format(root=_ROOT), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._await_ready()

    def _await_ready(self) -> None:
        readable, _, _ = select.select([self._control], [], [], WARM_UP_S)
        data = self._control.recv(65_536) if readable else b""
        if data:
            return
        self._process.kill()
        _, log = self._process.communicate()
        self.close()
        tail = log.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise SandboxUnavailable(
            f"the sandbox could not start: {tail[0][:300]}; `qllm doctor` shows what is missing"
        )

    def _converse(self, request: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], list[int]]:
        try:
            if fds:
                socket.send_fds(self._control, [json.dumps(request).encode()], fds)
            else:
                self._control.send(json.dumps(request).encode())
            data, received, _, _ = socket.recv_fds(self._control, 65_536, 4)
        except OSError:
            data, received = b"", []
        if not data:
            raise ChildFailure("isolation.died", "the sandbox's zygote is gone")
        return json.loads(data), received

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._process.poll() is None

    @contextlib.contextmanager
    def child(self, limits: Limits, wall_s: float) -> Iterator[Child]:
        """A fresh locked child; on leaving, it is dead and reaped whatever happened.

        Raises:
            ChildFailure: it could not be made, or ended without an answer that was asked for.
        """
        task_read, task_write = os.pipe()
        answer_read, answer_write = os.pipe()
        deadline = time.monotonic() + wall_s
        try:
            with self._lock:
                reply, handles = self._converse(
                    {"do": "fork", "limits": vars(limits)}, [task_read, answer_write]
                )
        except BaseException:
            for fd in (task_read, task_write, answer_read, answer_write):
                os.close(fd)
            raise
        os.close(task_read)
        os.close(answer_write)
        made = Child(reply["pid"], handles[0], task_write, answer_read, deadline, {})
        failure: wire.WireError | None = None
        try:
            made.layers = _layers(made.answer())
            yield made
        except wire.WireError as error:
            failure = error
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(made.handle, signal.SIGKILL)
            for fd in (made.handle, task_write, answer_read):
                os.close(fd)
            with self._lock, contextlib.suppress(ChildFailure):
                status = self._converse({"do": "reap", "pid": made.pid}, [])[0]["status"]
        if failure is not None:
            raise _explain(failure, locals().get("status"), wall_s) from None

    def close(self) -> None:
        """End the zygote; children still running die with it."""
        self._control.close()
        if self._process.poll() is None:
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()


def _layers(message: Any) -> dict[str, str]:
    layers = message.get("layers") if isinstance(message, dict) else None
    if not isinstance(layers, dict):
        raise wire.WireError("malformed", "no layers")
    return {str(k)[:40]: str(v)[:120] for k, v in layers.items()}


def _explain(failure: wire.WireError, status: int | None, wall_s: float) -> ChildFailure:
    if failure.kind == "timeout":
        return ChildFailure(
            "isolation.time",
            f"it did not finish within {wall_s:g} s; use fewer and smaller steps, no long loops and no "
            "huge numbers",
        )
    if failure.kind == "malformed":
        return ChildFailure("isolation.reply", f"the sandboxed process answered with {failure}")
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGSYS:
            return ChildFailure(
                "isolation.syscall",
                "it asked the operating system for something that is forbidden, and was stopped",
            )
        if number == signal.SIGXCPU or number == signal.SIGKILL:
            return ChildFailure(
                "isolation.time", "it used too much processor time or memory and was stopped"
            )
        if number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            return ChildFailure(
                "isolation.memory", "it crashed, most likely for want of memory or stack"
            )
    return ChildFailure("isolation.died", "the sandboxed process ended without an answer")
