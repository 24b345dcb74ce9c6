"""Namespaces of its own for the zygote, and so for every child: no network, nobody's mounts.

Best effort: a container or a kernel setting may forbid them. Root takes them directly; another user
needs a user namespace, which some distributions switch off.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from pathlib import Path

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x40000000,
)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 16384, 1 << 18

EMPTY_ROOT = "/sys"
"""Where the empty directory is mounted, in this mount namespace only, that becomes a child's root.

``/sys`` is there on every Linux, and nothing in it is needed once the zygote is warm.
"""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter() -> None:
    """Move this single-threaded process into new network, IPC, UTS and mount namespaces.

    Raises:
        OSError: the system does not permit it; nothing has changed then, or only some of it.
    """
    if platform.system() != "Linux":
        raise OSError(errno.ENOSYS, f"namespaces need Linux, this is {platform.system()}")
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = _NEWNET | _NEWIPC | _NEWUTS | _NEWNS
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _check(libc.unshare(kinds), "unshare")
    else:
        _check(libc.unshare(kinds | _NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")


def mount_empty_root() -> None:
    """Mount an empty, read-only file system for children to take as their root.

    Raises:
        OSError: the system does not permit it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    where = EMPTY_ROOT.encode()
    _check(libc.mount(b"tmpfs", where, b"tmpfs", flags, b"size=4k,mode=0555"), "mount")


def take_empty_root() -> None:
    """Make the empty file system this process's root.

    Raises:
        OSError: the system does not permit it.
    """
    os.chroot(EMPTY_ROOT)
    os.chdir("/")
