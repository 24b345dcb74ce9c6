"""Search spaces of a sweep: ``learner.lr=1e-4..1e-2:log`` or ``agent.hidden=64,128``."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qllm.config.errors import ConfigError
from qllm.config.keys import walk
from qllm.config.tree import RunConfig
from qllm.units import typed_number

SUCH = "KEY=1e-4..1e-2, KEY=16..256:log or KEY=soft,hard"

_DIGITS = 4
"""Significant digits of a chosen number, so that a command line repeats it exactly."""


@dataclass(frozen=True)
class Range:
    """Numbers of a setting, both ends included."""

    path: str
    low: float
    high: float
    log: bool = False
    """Whether each factor is as likely as any other, rather than each distance."""
    whole: bool = False
    """Whether only whole numbers are meant."""

    def word(self, value: Any) -> str:
        """The setting with a number of the range as ``key=value``, rounded within the ends."""
        if not self.whole:
            value = min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)
        return f"{self.path}={value!r}"

    @property
    def ends(self) -> tuple[str, ...]:
        """The settings that have to be allowed."""
        return f"{self.path}={self.low!r}", f"{self.path}={self.high!r}"

    def __str__(self) -> str:
        return f"{self.path}={self.low!r}..{self.high!r}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """Values of a setting, as they were typed."""

    path: str
    values: tuple[str, ...]

    def word(self, value: Any) -> str:
        """The setting with one of the values as ``key=value``."""
        return f"{self.path}={value}"

    @property
    def ends(self) -> tuple[str, ...]:
        """The settings that have to be allowed."""
        return tuple(map(self.word, self.values))

    def __str__(self) -> str:
        return f"{self.path}={','.join(self.values)}"


Param = Range | Choices


def read_params(
    words: Sequence[str],
    build: Callable[[Sequence[str]], RunConfig],
    *,
    fixed: Sequence[str],
    aside: Sequence[str],
) -> tuple[Param, ...]:
    """The search space of each ``--param``, with all ends and values checked.

    Args:
        build: the configuration with ``key=value`` words added.
        aside: settings, or groups that end in a full stop, that a sweep cannot choose.

    Raises:
        ConfigError: names the parameter and what to write.
    """
    build(())
    params: list[Param] = []
    for word in words:
        param = _parsed(word)
        if param.path in [*fixed, *(p.path for p in params)]:
            raise ConfigError(f"--param {param.path}: it is given twice: leave one out")
        for end in param.ends:
            build((end,))
        if any(
            param.path == one or (one[-1:] == "." and param.path.startswith(one)) for one in aside
        ):
            raise ConfigError(
                f"--param {param.path}: all trials have the same, since it says nothing of how well"
                " a team learns: give it as a setting"
            )
        params.append(_typed(param) if isinstance(param, Range) else param)
    return tuple(params)


def _parsed(word: str) -> Param:
    path, equals, text = word.partition("=")
    if not equals or not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError(f"--param {word}: is no parameter: write {SUCH}")
    body, log = text.removesuffix(":log"), text.endswith(":log")
    first, dots, last = body.partition("..")
    low, high = typed_number(first), typed_number(last)
    if dots and low is not None and high is not None:
        if low >= high:
            raise ConfigError(f"--param {word}: the first end must be below the last one")
        if log and low <= 0:
            raise ConfigError(f"--param {word}: with :log both ends must be above 0")
        return Range(path, low, high, log)
    values = tuple(value.strip() for value in body.split(","))
    if log or len(values) < 2 or "" in values:
        raise ConfigError(f"--param {word}: leaves nothing to choose: write {SUCH}")
    if len(set(values)) < len(values):
        raise ConfigError(f"--param {word}: a value appears twice")
    return Choices(path, values)


def _typed(param: Range) -> Range:
    """The range as one of whole numbers, or of all, as the setting has it."""
    kinds = {
        kind
        for key in walk(RunConfig)
        if key.path == param.path
        for kind in _kinds(key.field.annotation)
    }
    if float in kinds:
        return replace(param, low=float(param.low), high=float(param.high))
    if int in kinds:
        return replace(param, whole=True)
    raise ConfigError(f"--param {param}: it is no number: write its values with commas")


def _kinds(annotation: Any) -> set[Any]:
    inner = typing.get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation}
