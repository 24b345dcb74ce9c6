"""Wait for a child for as long as it works, however slow or busy the machine is.

What a child may use is processor time. It is ended when it has used that up, or when it has slept
for seconds without working, since nothing in it has a reason to sleep. The wall clock alone ends
nobody, but for a day's worth of waiting that no machine needs.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from sandbox.isolation.wire import WireError

LOOK_S = 0.25
"""Between two looks at a child that is silent."""
ASLEEP_S = 5.0
"""A child that sleeps this long without any work has come to a standstill."""
ASLEEP_IN_ALL_S = 4 * ASLEEP_S
"""One that sleeps this long over its life, with little work in between, does so on purpose."""
LONGEST_S = 3600.0
_TICK = os.sysconf("SC_CLK_TCK")


class Patience:
    """Waits on a child's pipes.

    Args:
        pid: the child, as numbered in this process's namespace.
        cpu_s: processor time that it may use.
    """

    def __init__(self, pid: int, cpu_s: float) -> None:
        self._pid, self._cpu_s = pid, cpu_s
        self._begun = self._awake = self._looked = time.monotonic()
        self._used = self._asleep = 0.0
        self._returned = self._begun - 2 * LOOK_S

    def __call__(self, fd: int, event: int) -> None:
        """Return when the pipe is ready.

        Raises:
            WireError: ``timeout`` where the child's processor time is used up or it stands still,
                ``starved`` where the machine gave it none for an hour.
        """
        poller = select.poll()  # not select, which refuses descriptors from 1,024 on
        poller.register(fd, event)
        now = time.monotonic()
        if now - self._returned > LOOK_S:  # nobody waited meanwhile: it may have slept
            self._awake = self._looked = now
        while not poller.poll(LOOK_S * 1000):
            self._look()
        if time.monotonic() - self._looked > LOOK_S:  # one that sends in drops is looked at, too
            self._look()
        self._returned = time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        seen = _seen(self._pid)
        if seen is None:  # it is gone, which the pipe tells, or /proc cannot be read
            if now - self._begun > 20 * self._cpu_s + 2 * ASLEEP_S:
                raise WireError("timeout", "it did not answer")
            return
        state, used = seen
        if used > self._cpu_s:
            raise WireError("timeout", f"over {self._cpu_s:g} s of processor time")
        if used > self._used or state != "S":
            self._used, self._awake = used, now
        else:
            self._asleep += now - self._looked
        self._looked = now
        if now - self._awake > ASLEEP_S or self._asleep > ASLEEP_IN_ALL_S:
            raise WireError("timeout", "it waits for something that does not happen")
        if now - self._begun > LONGEST_S:
            raise WireError("starved", "the machine gives it no processor time")


def _seen(pid: int) -> tuple[str, float] | None:
    """A process's state and processor time in seconds; None where they cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return fields[0], (int(fields[11]) + int(fields[12])) / _TICK
    except (OSError, ValueError, IndexError):
        return None
