"""Resources used by a job's process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qllm.store.states import ACTIVE

if TYPE_CHECKING:
    from qllm.store.schema import Run


@dataclass(frozen=True)
class Usage:
    """A job's process and those that it started. Numbers are None where nothing can be measured."""

    host: str
    pid: int | None
    here: bool
    """Whether it runs on this machine."""
    alive: bool
    cpu: float | None = None
    """Cores in use since the last read; 1.0 is one core."""
    memory: int | None = None
    """Resident bytes."""
    processes: int = 0
    threads: int = 0


def read_usage(run: Run, status: str, memory: dict[str, Any]) -> Usage:
    """Resources of the job of a run; ``memory`` keeps its processes between two reads."""
    import socket

    host, alive = run.host or "", status in ACTIVE
    here = host == socket.gethostname()
    if not alive or not here or run.pid is None:
        return Usage(host, run.pid, here, alive)
    import psutil

    known: dict[int, Any] = memory.setdefault("processes", {})
    try:
        root = known.get(run.pid) or psutil.Process(run.pid)
        family = {process.pid: process for process in (root, *root.children(recursive=True))}
        cpu, resident, threads = 0.0, 0, 0
        for pid, found in family.items():
            process = known.setdefault(pid, found)
            cpu += process.cpu_percent() / 100.0
            resident += process.memory_info().rss
            threads += process.num_threads()
        for pid in known.keys() - family.keys():
            del known[pid]
    except psutil.Error:
        return Usage(host, run.pid, here, alive)
    return Usage(host, run.pid, here, alive, cpu, resident, len(family), threads)
