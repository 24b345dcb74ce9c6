"""Identity and liveness of a job's process."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STALE_AFTER_S = 120.0
"""A beat from another host that is older than this means that the process is gone."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, distinguished from all others with its pid.

    ``started`` is the kernel's start time: clock ticks since boot on Linux, seconds since the
    epoch elsewhere. It is only ever compared with another reading on the same boot.
    """

    host: str
    boot_id: str
    pid: int
    started: float


@cache
def boot_id() -> str:
    """An identifier that changes with every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        return f"boot-{int(psutil.boot_time())}"


def start_time(pid: int) -> float | None:
    """When a process of this host started, or None if it is gone (a zombie counts as gone)."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return None if fields[0] in "ZX" else float(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def this_process() -> ProcessIdentity:
    """The identity of the calling process."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), boot_id(), pid, start_time(pid) or 0.0)


def is_alive(process: ProcessIdentity, beat: float, now: float) -> bool:
    """Whether a process that beat last at ``beat`` is still there at ``now`` (epoch seconds).

    On this host the kernel knows: the boot, the pid and its start time must match. About another
    host only the age of the beat tells.
    """
    if process.host != socket.gethostname():
        return now - beat < STALE_AFTER_S
    if process.boot_id != boot_id():
        return False
    started = start_time(process.pid)
    return started is not None and abs(started - process.started) < 0.5
