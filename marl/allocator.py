"""Keeping freed memory: what it costs to give it back to the system after every update.

An update makes and frees tensors of some megabytes. The C library returns such blocks to the
system at once, and getting them again means a page fault for every 4 KiB: about a tenth of an
update. Told to keep them, it hands the same pages out again.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt(3)."""
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Make this process keep what it frees; True where the C library knows how (glibc)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _LARGEST))
