"""Landlock by ctypes alone: no file system access, and where the kernel can, no TCP either.

A ruleset that handles every right and holds no rule denies them all, to this process and to what
it may ever start. Source: the kernel's Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_VERSION_FLAG = 1

# Rights per ABI version: (file system rights, network rights, scopes) that it added, as bit counts.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NETWORK_RIGHTS = 2  # bind and connect TCP, from version 4
_SCOPES = 2  # abstract unix sockets and signals to others, from version 6


def abi_version() -> int:
    """The newest version of Landlock that the running kernel offers.

    Raises:
        OSError: none: not Linux, too old, not built in, or switched off at boot.
    """
    if platform.system() != "Linux":
        raise OSError(errno.ENOSYS, f"Landlock needs Linux, this is {platform.system()}")
    libc = ctypes.CDLL(None, use_errno=True)
    version: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        raise OSError(ctypes.get_errno(), "the kernel offers no Landlock")
    return version


def deny_everything() -> None:
    """Deny this process every access that the kernel's Landlock can deny, for good.

    Needs ``no_new_privs``.

    Raises:
        OSError: the kernel offers no Landlock or refuses.
    """
    version = abi_version()
    files = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1
    network = (1 << _NETWORK_RIGHTS) - 1 if version >= 4 else 0
    scopes = (1 << _SCOPES) - 1 if version >= 6 else 0
    # An older kernel knows a shorter structure and refuses a longer one unless the rest is zero.
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", files, network, scopes), 24)
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(24), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)
