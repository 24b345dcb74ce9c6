"""Shut a freshly forked child in, layer by layer, before it sees a byte of the candidate."""

from __future__ import annotations

import ctypes
import errno
import gc
import math
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.isolation import landlock, namespaces, seccomp

READ_FD, WRITE_FD = 3, 4
"""The only descriptors a child keeps: where its task comes from and where its answer goes."""

MANDATORY = ("no_new_privs", "seccomp", "rlimits")
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class Limits:
    """Resource limits of one child."""

    memory_mb: int = 1024
    """Address space beyond what the zygote has mapped already, in MiB."""
    cpu_s: float = 20.0
    """Processor time, in seconds."""


@dataclass(frozen=True)
class Cage:
    """What a child must know to shut itself in."""

    limits: Limits
    zygote: int
    """Process id of the zygote, to see that it still lives."""
    mapped: int = 0
    """Bytes of address space that the zygote has mapped."""
    missing: dict[str, str] = field(default_factory=dict)
    """Layers that the zygote could not prepare, each with the reason."""


def mapped_bytes() -> int:
    """Address space of this process in bytes.

    Raises:
        OSError: ``/proc`` cannot be read.
    """
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _prepared(cage: Cage, name: str) -> None:
    """Fail with the zygote's reason where it could not prepare the layer."""
    if name in cage.missing:
        raise OSError(errno.EPERM, cage.missing[name])


def _descriptors(cage: Cage) -> None:
    os.closerange(WRITE_FD + 1, 65_536)  # the zygote was exec'd with three and opens a few
    os.closerange(0, READ_FD)


def _environment(cage: Cage) -> None:
    os.environ.clear()
    os.chdir("/")


def _namespaces(cage: Cage) -> None:
    _prepared(cage, "namespaces")


def _empty_root(cage: Cage) -> None:
    _prepared(cage, "empty_root")
    namespaces.take_empty_root()


def _unprivileged(cage: Cage) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _capabilities(cage: Cage) -> None:
    # Capabilities are left where root could not change its user, and in a user namespace.
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _die_with_parent(cage: Cage) -> None:
    # After the change of user, which would clear it.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != cage.zygote:
        os._exit(3)  # it died before it could be watched


def _rlimits(cage: Cage) -> None:
    _prepared(cage, "rlimits")
    memory = cage.mapped + (cage.limits.memory_mb << 20)
    seconds = math.ceil(cage.limits.cpu_s)
    _lower(resource.RLIMIT_CPU, seconds, seconds + 1)  # the first one says why
    for which, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _lower(which, value, value)


def _lower(which: int, soft: int, hard: int) -> None:
    """Set a limit, unless the one that whoever called has set is lower."""
    most = resource.getrlimit(which)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def _no_new_privileges(cage: Cage) -> None:
    seccomp.set_no_new_privileges()


def _landlock(cage: Cage) -> None:
    landlock.deny_everything()


def _seccomp(cage: Cage) -> None:
    seccomp.install(READ_FD, WRITE_FD)


LAYERS: tuple[tuple[str, Callable[[Cage], None]], ...] = (
    ("descriptors", _descriptors),
    ("environment", _environment),
    ("namespaces", _namespaces),
    ("empty_root", _empty_root),
    ("unprivileged", _unprivileged),
    ("capabilities", _capabilities),
    ("die_with_parent", _die_with_parent),
    ("no_new_privs", _no_new_privileges),
    ("landlock", _landlock),
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


def lock_down(cage: Cage) -> dict[str, str]:
    """Put every layer on; say of each "on", or why it is not."""
    gc.disable()
    sys.stdin = sys.stdout = sys.stderr = _Nowhere()
    state = {}
    for name, apply in LAYERS:
        try:
            apply(cage)
            state[name] = "on"
        except OSError as error:
            state[name] = f"off: {error.strerror or error}"
        except ValueError as error:
            state[name] = f"off: {error}"
    return state
