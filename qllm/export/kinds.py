"""Trackers by name: those of this package, and those of other installed packages.

A package adds one by an entry point of the group ``qllm.trackers``, whose object makes a
`qllm.trackers.protocol.Tracker` when it is called without arguments, such as its class.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from marl.errors import SettingsError, near_names
from marl.plugins import Registry
from qllm.config.errors import ConfigError
from qllm.errors import UsageError
from qllm.extras import require_extra
from qllm.trackers.background import Background
from qllm.trackers.protocol import Tracker


@dataclass(frozen=True)
class TrackerKind:
    """Meaning of a name in ``log``."""

    maker: str | Callable[[], Tracker]
    """What makes the tracker, or where it is: ``module:name``."""
    needs: str = ""
    """The module that it needs, which is also the name of the extra."""
    files: bool = False
    """Whether it writes files that ``qllm export`` writes, too, in the training's own thread."""

    def make(self) -> Tracker:
        """A tracker that has not begun."""
        maker = pkgutil.resolve_name(self.maker) if isinstance(self.maker, str) else self.maker
        tracker: Tracker = maker()
        return tracker if self.files else Background(tracker)


def _accepted(name: str, found: Any) -> TrackerKind:
    if not callable(found):
        raise ValueError("makes no tracker: it cannot be called")
    return TrackerKind(found)


TRACKERS = Registry(
    "qllm.trackers",
    "tracker",
    {
        "jsonl": TrackerKind("qllm.export.files:JsonLines", files=True),
        "tensorboard": TrackerKind("qllm.export.files:EventFiles", "tensorboard", files=True),
        "wandb": TrackerKind("qllm.trackers.wandb:WandbTracker", "wandb"),
        "mlflow": TrackerKind("qllm.trackers.mlflow:MlflowTracker", "mlflow"),
    },
    _accepted,
)


def require_known(names: Iterable[str], place: str = "") -> None:
    """Refuse names that stand for no tracker.

    Args:
        place: where they were given, for the error.

    Raises:
        ConfigError: the message lists the near names.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"log={name}{place}: unknown log: {near_names(name, TRACKERS)}")


def require_trackers(names: Iterable[str]) -> None:
    """Find out whether these trackers can be had on this machine.

    Raises:
        UsageError: a name is unknown, a package is missing (the message says what to install), or a
            plug-in does not load.
    """
    names = tuple(names)
    require_known(names)
    for name in names:
        try:
            needs = TRACKERS[name].needs
        except SettingsError as error:
            raise UsageError(str(error)) from None
        if needs:
            require_extra(f"log={name} needs", needs, needs, "leave it out of log")
