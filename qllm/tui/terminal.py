"""Noticing that the terminal is gone, also where the signal that tells it (SIGHUP) is ignored."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable


def when_gone(then: Callable[[], None], descriptor: int = 0) -> None:
    """Call ``then``, in a thread, once the terminal that ``descriptor`` reads has hung up.

    What is written to it from then on goes nowhere, instead of failing.
    """
    terminal = os.fstat(descriptor).st_rdev
    ours = [stream for stream in (0, 1, 2) if os.fstat(stream).st_rdev == terminal]

    def wait() -> None:
        end = select.poll()
        end.register(descriptor, 0)  # a hang-up is reported whatever is asked for
        end.poll()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in ours:
            os.dup2(nothing, stream)
        os.close(nothing)
        then()

    threading.Thread(target=wait, name="terminal", daemon=True).start()
