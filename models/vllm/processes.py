"""Processes by number and start time, and the end of whole families of them."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

_SHARED = re.compile(r"(/dev/shm/(?:psm_|sem\.mp-|nccl-)[\w.-]+)$", re.MULTILINE)


def started_at(pid: int) -> float | None:
    """Start time of a process, seconds since 1970; ``None`` if it is gone (or a zombie)."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.Error:
        return None


def is_alive(pid: int, started: float) -> bool:
    """Whether the process that had this number at that time still runs."""
    now = started_at(pid)
    return now is not None and abs(now - started) < 2.0


def wait_gone(pid: int, started: float, timeout_s: float) -> bool:
    """Wait for a process to end; whether it did. A child of ours is reaped."""
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(ChildProcessError, PermissionError):
            os.waitpid(pid, os.WNOHANG)
        if not is_alive(pid, started):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def kill_family(pid: int, *, itself: bool = True) -> None:
    """Kill all descendants of a process, those in its process group, and the process.

    Python's resource trackers are given a moment: they remove the shared memory of whoever died.
    """
    family = _family(pid)
    trackers = [p for p in family if _is_tracker(p)]
    for process in family:
        if process not in trackers:
            _kill(process)
    psutil.wait_procs(trackers, timeout=2.0)
    for process in [*family, *_family(pid)]:
        _kill(process)
    if itself:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def shared_memory(pid: int) -> set[Path]:
    """Files of shared memory that a process or its family has mapped, of the kinds that Python and
    NCCL make: their random names are used once."""
    found: set[Path] = set()
    for member in [pid, *(process.pid for process in _family(pid))]:
        with suppress(OSError):
            found.update(map(Path, _SHARED.findall(Path(f"/proc/{member}/maps").read_text())))
    return found


def _family(pid: int) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            found[process.pid] = process
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == pid and process.pid not in (pid, os.getpid()):
                found[process.pid] = process
    return list(found.values())


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.kill()
