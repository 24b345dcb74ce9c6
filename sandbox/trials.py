"""See that the cage holds: try forbidden things from inside it, and say what came of each."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sandbox.checker import Sandbox
from sandbox.isolation.host import ChildFailure
from sandbox.isolation.lockdown import Limits

TRIALS = {
    "file": "open a file",
    "network": "make a socket",
    "process": "fork a process",
    "exec": "run another program",
    "kill": "signal another process",
    "memory": "take all memory",
    "time": "run for ever",
}
_CPU_S = {"time": 1.0}


@dataclass(frozen=True)
class Trial:
    """One forbidden thing, tried in a locked child."""

    name: str
    tried: str
    held: bool
    said: str
    seconds: float


def try_everything(sandbox: Sandbox) -> list[Trial]:
    """Try each forbidden thing in a child of its own."""
    return [_try(sandbox, name) for name in TRIALS]


def _try(sandbox: Sandbox, name: str) -> Trial:
    started = time.perf_counter()
    limits = Limits(sandbox.config.memory_mb, _CPU_S.get(name, 20.0))
    try:
        with sandbox.zygote.child(limits) as child:
            child.ask({"kind": "probe", "what": name})
            said = str(child.answer()["result"])[:200]
        held = not said.startswith("EFFECTIVE")
    except ChildFailure as failure:
        said, held = failure.message, failure.rule in _EXPECTED.get(name, _STOPPED)
    return Trial(name, TRIALS[name], held, said, time.perf_counter() - started)


_STOPPED = ("isolation.syscall",)
_EXPECTED = {
    "time": ("isolation.time",),
    "memory": ("isolation.time", "isolation.memory", "isolation.died"),
}
