"""Shut a freshly forked child in, layer by layer, before it sees a byte of the candidate."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.isolation import seccomp

READ_FD, WRITE_FD = 3, 4
"""The only descriptors a child keeps: where its task comes from and where its answer goes."""

MANDATORY = ("no_new_privs", "seccomp", "rlimits")
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


@dataclass(frozen=True)
class Limits:
    """Resource limits of one child."""

    memory_mb: int = 4096
    cpu_s: int = 20


def _descriptors(limits: Limits) -> None:
    os.closerange(WRITE_FD + 1, 65_536)
    for fd in (0, 1, 2):
        os.close(fd)


def _die_with_parent(limits: Limits) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _environment(limits: Limits) -> None:
    os.environ.clear()
    os.chdir("/")


def _unprivileged(limits: Limits) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _rlimits(limits: Limits) -> None:
    memory = limits.memory_mb << 20
    for which, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(which, (value, value))


def _no_new_privileges(limits: Limits) -> None:
    seccomp.set_no_new_privileges()


def _seccomp(limits: Limits) -> None:
    seccomp.install(READ_FD, WRITE_FD)


LAYERS: tuple[tuple[str, Callable[[Limits], None]], ...] = (
    ("descriptors", _descriptors),
    ("environment", _environment),
    ("unprivileged", _unprivileged),
    ("die_with_parent", _die_with_parent),
    ("no_new_privs", _no_new_privileges),
    ("rlimits", _rlimits),
    ("seccomp", _seccomp),
)
"""In the order in which they are put on; each later one forbids what the earlier ones need."""


class _Nowhere:
    """Where Python-level output goes: nowhere, without a system call."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        raise OSError("no descriptor")


def lock_down(limits: Limits) -> dict[str, str]:
    """Put every layer on; say of each "on", or why it is not."""
    gc.disable()
    sys.stdin = sys.stdout = sys.stderr = _Nowhere()  # type: ignore[assignment]
    state = {}
    for name, apply in LAYERS:
        try:
            apply(limits)
            state[name] = "on"
        except OSError as error:
            state[name] = f"off: {error.strerror or error}"
        except ValueError as error:
            state[name] = f"off: {error}"
    return state
