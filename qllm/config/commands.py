"""Which settings a command reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marl.settings.algorithms import WITH_CREDIT
from marl.settings.registry import uses_credit
from qllm.config.errors import ConfigError
from qllm.store.states import Kind

Command = Kind

COMPARED: dict[Command, tuple[str, ...]] = {"run": ("qllm", "vdn"), "compare": ("vdn", "qmix")}
"""Default algorithms of the commands that train several."""


def trained_by(command: Command) -> dict[str, Any]:
    """Properties of a command for `build_config`; pilots train QLLM."""
    return {
        "compared": COMPARED.get(command),
        "algorithm": "qllm" if command == "synth" else None,
    }


_UNREAD: dict[Command, tuple[str, ...]] = {
    "run": ("algorithm", "tfcaf", "init_from"),
    "synth": ("algorithm", *"algorithms variants tfcaf init_from seeds log tracking.".split()),
    "train": ("algorithms", "variants", "synth.", "models."),
    "compare": ("algorithm", "synth.", "models."),
}
"""Settings that a command does not read; a full stop ends the name of a whole group."""


READ: dict[str, tuple[str, ...]] = {
    "check": ("gate.", "sandbox.", "env.", "learner.", "algorithm", "preset"),
    "verify": ("sandbox.",),
    "explain": ("gate.", "sandbox.", "env.", "learner.", "algorithm", "preset"),
    "bench env": ("env.", "device", "threads"),
    "bench check": ("sandbox.",),
    "bench coder": ("synth.", "models.", "gate.", "sandbox.", "env."),
}
"""All that commands read which neither train nor search, by their beginnings; a learner's batches
decide how much memory a function may take."""


def require_read_by(command: str, settings: Sequence[str]) -> None:
    """Refuse ``key=value`` words that such a command would leave aside.

    Raises:
        ConfigError: names the setting, and what is read.
    """
    for word in settings:
        path = word.partition("=")[0]
        if path != "task" and not path.startswith(READ[command]):
            begun = ", ".join(
                f"{entry}*" if entry.endswith(".") else entry for entry in READ[command]
            )
            raise ConfigError(f"{path}: `qllm {command}` does not read it; it reads {begun}")


def reads(command: Command, path: str) -> bool:
    """Whether a command reads a setting."""
    unread = _UNREAD[command]
    if path == "task" or path in unread:
        return False
    return not any(entry.endswith(".") and path.startswith(entry) for entry in unread)


def require_read(
    command: Command, settings: Sequence[str], flags: Mapping[str, Any], algorithms: Sequence[str]
) -> None:
    """Refuse settings that the command would ignore.

    Args:
        flags: settings that have options of their own.

    Raises:
        ConfigError: names the setting, and where it belongs.
    """
    typed = [word.partition("=")[0] for word in settings]
    for path in typed:
        if path != "task" and not reads(command, path):
            owners = [f"`qllm {c}`" for c in _UNREAD if reads(c, path)]
            raise ConfigError(
                f"{path}: `qllm {command}` does not read it; {' and '.join(owners)} do"
            )
    typed += [key for key, value in flags.items() if value is not None]
    if command in ("train", "compare") and not any(map(uses_credit, algorithms)):
        option = "--algo qllm" if command == "train" else "--algos qllm,..."
        for path in typed:
            if path == "tfcaf" or path.startswith("gate."):
                name = "--tfcaf" if path == "tfcaf" else path.replace("gate.mode", "--gate")
                raise ConfigError(
                    f"{name} goes with a credit function, and {', '.join(algorithms)} would be"
                    f" trained without one: add {option} (or NAME{WITH_CREDIT}, where it can take"
                    " the mixer's place)"
                )
