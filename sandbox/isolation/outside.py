"""What a child's layers look like from outside: the kernel's word instead of the child's."""

from __future__ import annotations

from pathlib import Path


def process_of(handle: int) -> int:
    """The process that a handle (pidfd) stands for, as numbered in our own namespace.

    Raises:
        OSError: ``/proc`` cannot be read or the process is gone.
    """
    for line in Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pid" and int(value) > 0:
            return int(value)
    raise ProcessLookupError("the process is gone")


def verify(pid: int, said: dict[str, str]) -> dict[str, str]:
    """A child's account of its layers, corrected by what the kernel says about it.

    A layer that is claimed to be on and is not seen to be on is off. Where ``/proc`` cannot be
    read, the layers that it would show are off.
    """
    seen = dict(said)
    try:
        status = _status(pid)
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError as error:
        reason = f"off: not to be seen from outside ({error.strerror or error})"
        return {k: reason if k in _SHOWN and v == "on" else v for k, v in seen.items()}
    wrong = {
        "no_new_privs": status.get("NoNewPrivs") != "1",
        "seccomp": status.get("Seccomp") != "2",
        "unprivileged": "0" in status.get("Uid", "0").split(),
        "capabilities": set(status.get("CapEff", "1") + status.get("CapPrm", "1")) != {"0"},
        "rlimits": "unlimited" in _limit(limits, "Max address space"),
    }
    for layer in _SHOWN:
        if seen.get(layer) == "on" and wrong[layer]:
            seen[layer] = "off: the kernel shows that it is not on"
    return seen


_SHOWN = ("no_new_privs", "seccomp", "unprivileged", "capabilities", "rlimits")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _limit(limits: str, name: str) -> list[str]:
    """Soft and hard value of one line of ``/proc/PID/limits``; unlimited where it is missing."""
    for line in limits.splitlines():
        if line.startswith(name):
            return line[len(name) :].split()[:2]
    return ["unlimited"]
