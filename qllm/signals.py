"""The signals that ask for a clean stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

STOP_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""Signals that ask a job to stop. The last three are what schedulers send some time before they
kill (SLURM's ``--signal``, a limit of processor time)."""


class Stoppable(Protocol):
    """What is told of a signal."""

    signal: int | None
    """The first one that came."""


@contextmanager
def caught_signals(control: Stoppable, tell: Callable[[str], None]) -> Iterator[None]:
    """Let `STOP_SIGNALS` ask for a clean stop instead of ending the process at once.

    A second Ctrl-C raises KeyboardInterrupt: what the last checkpoint holds is kept. A signal that
    was ignored before, as by ``nohup``, still is.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        if control.signal is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        control.signal = number
        tell("stopping: finishing this step and saving (Ctrl-C again to stop at once)")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {
        number: signal.signal(number, stop)
        for number in STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
