"""Pause and stop of a running search."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

Directive = Literal["continue", "pause", "stop", "stop-after-round"]
Control = Callable[[], Directive]

_POLL_S = 0.1


class Interrupted(Exception):
    """The synthesis was told to stop. A pilot that was told so itself may raise it, too."""


class ControlPoll:
    """Asks ``control`` between steps, waits while it says pause, remembers a stop for later."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.last_round = False
        """Whether the current round is to be the last one."""

    def checkpoint(self) -> None:
        """Return when work may go on.

        Raises:
            Interrupted: ``control`` says stop.
        """
        while True:
            directive = self._control()
            if directive == "stop":
                raise Interrupted
            if directive == "stop-after-round":
                self.last_round = True
            if directive != "pause":
                return
            time.sleep(_POLL_S)
