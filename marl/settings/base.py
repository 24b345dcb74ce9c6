"""The base of every settings class of the trainer, and trees of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

Tree = dict[str, Any]
"""Settings by name, groups of them nested, as a configuration file has them."""


class Settings(BaseModel):
    """Frozen and typed; an unknown key, a NaN or an infinity is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def laid_over(base: Mapping[str, Any], top: Mapping[str, Any]) -> Tree:
    """A tree with what another one sets: groups are merged, everything else is replaced."""
    out = dict(base)
    for key, value in top.items():
        below = out.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = laid_over(below, value)
        out[key] = value
    return out


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a tree that is no group, with its path: ``learner.lr``."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Tree:
    """What a tree sets otherwise than another one: ``laid_over(other, differing(one, other))`` is
    ``one`` where it has all keys of the other."""
    out: Tree = {}
    for key, value in one.items():
        below = other.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = differing(value, below)
            if value:
                out[key] = value
        elif key not in other or value != below:
            out[key] = value
    return out
