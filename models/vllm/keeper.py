"""The process between us and a server: it ends the server with the last process that uses it, and
leaves nothing behind.

Whoever starts a server may be killed at any moment, and a server's own children outlive it when it
is. The keeper is a small process of its own. It adopts orphans of the server (as a subreaper), sees
by the folder's marks whether anybody uses the server, and when the server ends or is to end, ends
all of the family. Should the keeper itself be killed, the kernel tells the server to stop.

Run as ``python -m models.vllm.keeper``; what to do is read from standard input as JSON, since it
holds the server's key. The first line of its output is the server's process number.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.vllm.locks import FolderLock, users
from models.vllm.processes import kill_family, shared_memory

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STEP_S = 0.1
_LONGEST_PAUSE_S = 10.0


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Keeper:
    """Keeps one server.

    Args:
        job: ``command``, ``environment``, ``log``, ``folder``, ``persistent`` (whether it goes on
            when nobody uses it) and ``grace_s`` (seconds between asking it to stop and killing).
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._folder = Path(job["folder"])
        self._persistent = bool(job["persistent"])
        self._stop = False
        self._status: int | None = None
        self._shared: set[Path] = set()

    def run(self) -> int:
        """Start the server and stay until it has ended; its exit status, 128 + N for signal N."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, self._on_stay)
        server = self._start()
        print(server, flush=True)
        sys.stdout.close()
        lock = FolderLock(self._folder)
        look, pause = time.monotonic(), 0.25
        while self._status is None and not self._stop:
            time.sleep(_STEP_S)
            self._reap(server)
            if time.monotonic() > look:
                self._shared |= shared_memory(server)
                look, pause = time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE_S)
            if not self._persistent:
                # Held while the server is stopped, so that nobody adopts it at that moment.
                with lock.attempt() as held:
                    if held and users(self._folder) == 0:
                        self._end(server)
        self._end(server)
        return self._exit_code()

    def _end(self, server: int) -> None:
        """Ask the server to stop, for it ends its children better than we can; then kill."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGTERM)
            self._until(lambda: self._status is not None, self._job["grace_s"], server)
        self._end_family(server)

    def _start(self) -> int:
        log = os.open(self._job["log"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        keeper = os.getpid()

        def in_server() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != keeper:
                os._exit(1)

        process = subprocess.Popen(
            self._job["command"],
            env=self._job["environment"],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=in_server,
        )
        os.close(log)
        process.returncode = 0  # it is reaped here, not by the object
        return process.pid

    def _reap(self, server: int) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == server:
                self._status = os.waitstatus_to_exitcode(status)

    def _until(self, true: Callable[[], bool], seconds: float, server: int) -> None:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(0.05)
            self._reap(server)

    def _end_family(self, server: int) -> None:
        """Kill who is left, until there is nobody."""
        for _ in range(20):
            kill_family(server, itself=self._status is None)
            kill_family(os.getpid(), itself=False)
            self._reap(server)
            if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
                break
            time.sleep(0.1)
        for path in self._shared:  # who is killed cannot remove it, and it may be large
            with suppress(OSError):
                path.unlink()

    def _exit_code(self) -> int:
        status = self._status
        if status is None or status >= 0:
            self._note(f"the server ended with exit status {status}")
            return status or 0
        self._note(f"the server was ended by signal {-status} ({signal.Signals(-status).name})")
        return 128 - status

    def _note(self, text: str) -> None:
        with open(self._job["log"], "a", encoding="utf-8") as log:
            log.write(f"qllm: {text}\n")

    def _on_stop(self, *_: object) -> None:
        self._stop = True

    def _on_stay(self, *_: object) -> None:
        self._persistent = True


if __name__ == "__main__":
    raise SystemExit(Keeper(json.load(sys.stdin)).run())
