"""Warmed zygotes that several test modules share, ended when the tests end."""

from __future__ import annotations

import atexit
import functools
from typing import Any

from attacks import attack_runner

from sandbox.isolation.host import Zygote
from sandbox.isolation.lockdown import Limits

LIMITS = Limits(512, 20)


@functools.cache
def zygote(kind: type[Zygote] = Zygote) -> Zygote:
    """The shared zygote of a kind."""
    made = kind()
    atexit.register(made.close)
    return made


def bare(code: str, cpu_s: float = 20.0) -> dict[str, Any]:
    """Run code as root in a child without any layer; its answer."""
    return _raw(zygote(attack_runner.BareZygote), code, Limits(LIMITS.memory_mb, cpu_s))


def caged(code: str, limits: Limits = LIMITS) -> dict[str, Any]:
    """Run code with everything in reach, in a child in all layers; its answer."""
    return _raw(zygote(attack_runner.SystemZygote), code, limits)


def as_candidate(code: str) -> str:
    """A source whose entry runs this code."""
    lines = "\n".join(f"    {line}" for line in code.strip("\n").split("\n"))
    return f"LOOT = []\ndef tfcaf(state):\n{lines}\n"


def _raw(cage: Zygote, code: str, limits: Limits) -> dict[str, Any]:
    with cage.child(limits) as child:
        child.ask({**attack_runner.TASK, "code": as_candidate(code)})
        answer = child.answer()
    assert isinstance(answer, dict)
    return answer
