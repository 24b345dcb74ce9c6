"""Pydantic's errors in one line: setting, source, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from marl.settings.base import Tree
from marl.settings.stored import PLACES
from qllm.config import yaml_text
from qllm.config.keys import walk
from qllm.config.layers import Layer
from qllm.config.reference import SPELLED, allowed_words
from qllm.config.tree import RunConfig

_KEYS = ("extra_forbidden", "model_type", "other_kind")
"""Types of errors about keys and not about values; they come first."""

_IN_WORDS = (
    "int_", "float_", "bool_", "string_type", "tuple_type", "too_short", "greater_", "less_",
)  # fmt: skip
"""Value errors that are worded by what is allowed instead of by the broken rule."""


def explain(
    error: ValidationError, layers: Sequence[Layer], merged: Tree, *, keys_only: bool = False
) -> str:
    """The first error, with its place in the layers.

    Args:
        layers: where the settings were given, lowest first.
        keys_only: leave errors of values aside; empty where there are no others.
    """
    errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] not in _KEYS)
    if keys_only:
        errors = [e for e in errors if e["type"] in _KEYS]
    if not errors:
        return ""
    first, path = errors[0], _path(errors[0]["loc"])
    more = len({_path(e["loc"]) for e in errors} - {path})
    rest = f" (and {more} more)" if more else ""
    if first["type"] == "missing":
        such = ", such as matrix/climbing (`qllm tasks` lists them)" if path == "task" else ""
        return f"{path}: needs a value{such}: set it on the command line or with --config{rest}"
    if not path:
        return _plain(first["msg"]) + rest
    given, value = first["input"], ""
    if first["type"] == "extra_forbidden":
        said, path = _unknown(path, given, merged)
        return _placed(path, "", layers) + said
    if first["type"] == "model_type":
        inside = [key.path for key in walk(RunConfig) if key.path.startswith(f"{path}.")]
        some = ", ".join(list(dict.fromkeys(inside))[:3])
        return _placed(path, "", layers) + f"{given!r} is no group of settings: set {some}, ..."
    if not isinstance(given, Mapping):
        value = yaml_text.dump_inline(given)
        value = "=" + (value if len(value) <= 60 else value[:57] + "...")
    return _placed(path, value, layers) + _wrong_value(path, first) + rest


def _plain(message: str) -> str:
    said = message.removeprefix("Value error, ")
    return (said[:1].lower() + said[1:]).replace("input should", "must", 1)


def _wrong_value(path: str, error: Mapping[str, Any]) -> str:
    field = next((key.field for key in walk(RunConfig) if key.path == path), None)
    if field is not None and error["type"] == "string_pattern_mismatch":
        return f"must be {field.description}"
    if field is not None and error["type"].startswith(_IN_WORDS):
        return f"must be {allowed_words(path, field)}"
    near = []
    if error["type"] == "literal_error":  # pydantic lists the choices in words
        choices = re.findall(r"'([^']*)'", str(error["ctx"].get("expected")))
        near = difflib.get_close_matches(str(error["input"]), choices, n=1)
    return _plain(error["msg"]) + (f" (did you mean {near[0]}?)" if near else "")


def _unknown(path: str, value: object, merged: Tree) -> tuple[str, str]:
    """Error text for a key that its group does not have, and its whole path."""
    keys = list(walk(RunConfig))
    owners = [key.member for key in keys if key.path == path and key.member]
    if owners:
        return f"belongs to {' and '.join(owners)}, not to {merged['algorithm']['name']}", path
    while isinstance(value, Mapping) and len(value) == 1:
        ((below, value),) = value.items()
        path = f"{path}.{below}"
    paths = {key.path for key in keys}
    paths |= {known.rpartition(".")[0] for known in paths if "." in known}
    return f"unknown key: {_near(path, sorted(paths))}", path


def moved(path: str) -> str:
    """The new place of a setting of earlier versions, as a hint; empty for any other."""
    group, _, key = path.partition(".")
    if group != "algorithm" or key not in PLACES:
        return ""
    now = ".".join(PLACES[key])
    return f"write {now}, or own.NAME.{now} for one algorithm of several"


def _near(path: str, paths: Sequence[str]) -> str:
    if hint := moved(path):
        return hint
    # The last part may be right and the group forgotten or wrong, as in lr for learner.lr.
    last = path.rpartition(".")[2]
    same = [p for p in paths if p.rpartition(".")[2] == last]
    near = sorted(same, key=lambda p: -difflib.SequenceMatcher(None, path, p).ratio())[:3]
    near = near or difflib.get_close_matches(path, paths, n=3, cutoff=0.6)
    return (
        f"did you mean {' or '.join(near)}?" if near else "`docs/configuration.md` lists all keys"
    )


def _path(location: Sequence[int | str]) -> str:
    """A validation error's place."""
    parts: list[str] = []
    for at, part in enumerate(location):
        if isinstance(part, int) and location[at - 1] in SPELLED:
            continue  # typed in one go, so that the whole of it is to be typed again
        parts.append(str(part))
    return ".".join(parts)


def _placed(path: str, value: str, layers: Sequence[Layer]) -> str:
    """A setting as the layer has it that set it last, and which that is."""
    for layer in reversed(layers):
        at: Any = layer.values
        for part in path.split("."):
            at = at.get(part) if isinstance(at, Mapping) else None
        if at is not None:
            return f"{layer.prefix}{path}{value}{layer.place}: "
    return f"{path}{value}: "
