"""Imports from several threads, one at a time.

Commands import late, so that ``qllm --help`` is quick, and several have threads. When two threads
import parts of one package at once, each may wait for a module that the other is in the middle of.
Python breaks such a deadlock by raising ImportError in one of them, or by handing it a module that
is half made: https://docs.python.org/3/library/importlib.html (``_DeadlockError``).
"""

from __future__ import annotations

import builtins
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

_lock = threading.RLock()


def _is_whole(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def import_in_turns() -> None:
    """Let ``import`` wait while another thread is importing something; calling it again is free."""
    original = builtins.__import__
    if getattr(original, "in_turns", False):
        return

    def imported(
        name: str,
        globals_: Mapping[str, Any] | None = None,
        locals_: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level == 0 and _is_whole(name):  # the usual case, and nobody waits for it
            return original(name, globals_, locals_, fromlist or (), level)
        with _lock:
            return original(name, globals_, locals_, fromlist or (), level)

    imported.in_turns = True  # type: ignore[attr-defined]
    builtins.__import__ = imported  # type: ignore[assignment]
    os.register_at_fork(after_in_child=_forget_other_threads)


def _forget_other_threads() -> None:
    global _lock
    _lock = threading.RLock()
