"""Layers of settings: the defaults, a YAML file, the command line; a later one wins."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from marl.settings.base import Tree, laid_over
from marl.settings.registry import spelled_out
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.keys import walk
from qllm.units import typed_number, typed_range

COMMAND_LINE = "on the command line"


@dataclass(frozen=True)
class Layer:
    """Settings from one place, as a nested mapping."""

    source: str
    """Where they were given, for errors: ``in settings.yaml`` or ``on the command line``."""
    values: Tree
    prefix: str = ""
    """Where the values belong that are of one algorithm alone: ``own.qmix.``"""

    @property
    def place(self) -> str:
        """The source as an error names it, after the setting's name."""
        return f" ({self.source})" if self.source else ""


def file_layer(path: Path) -> Layer:
    """The settings of a YAML file.

    Raises:
        ConfigError: no such file, no YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"--config '{path}' cannot be read: {reason}") from None
    try:
        values = yaml_text.parse(text)
    except ValueError as error:
        raise ConfigError(f"--config '{path}' is no YAML: {error}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"--config '{path}' needs a mapping of settings at its top")
    return Layer(f"in '{path}'", _shorthand(values or {}))


def override_layer(
    overrides: Sequence[str], flags: Mapping[str, Any], source: str = COMMAND_LINE
) -> Layer:
    """Settings of the command line: flags, then ``key=value`` words from left to right.

    Raises:
        ConfigError: a word that is no ``key=value``, a value that is no YAML, or an option and a
            word that contradict each other.
    """
    values: Tree = {}
    given = [(key, value) for key, value in flags.items() if value is not None]
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not all(part.isidentifier() for part in key.split(".")):
            raise ConfigError(f"'{word}' is no setting: write key=value, such as learner.lr=3e-4")
        try:
            given.append((key, yaml_text.parse(text)))
        except ValueError as error:
            raise ConfigError(f"{key}={text}: the value is no YAML: {error}") from None
    _refuse_contradictions(flags, given)
    for key, value in given:
        parts = key.split(".")
        nested: Tree = {parts[-1]: value}
        for part in reversed(parts[:-1]):
            nested = {part: nested}
        values = laid_over(values, _shorthand(nested))
    return Layer(source, values)


def _refuse_contradictions(flags: Mapping[str, Any], given: Sequence[tuple[str, Any]]) -> None:
    """Refuse an option and a word that contradict each other; among words, the last one wins."""

    def spelled(key: str, value: Any) -> Any:
        number = typed_number(value) if isinstance(value, str) else value
        return _shorthand({key: value if number is None else number})

    for key, value in dict(given).items():
        option = flags.get(key)
        if option is not None and spelled(key, option) != spelled(key, value):
            raise ConfigError(f"{key} is given twice, as {option} and as {value}: leave one out")


def _shorthand(values: Tree) -> Tree:
    """Expand short forms: an algorithm's name, lists with commas."""
    out = dict(values)
    if isinstance(out.get("algorithm"), str):
        out["algorithm"] = spelled_out(out["algorithm"])
    for key in ("algorithms", "seeds", "log"):
        if isinstance(out.get(key), str):
            out[key] = [_scalar(part) for part in out[key].split(",")]
        elif isinstance(out.get(key), int):
            out[key] = [out[key]]
    if isinstance(out.get("seeds"), list):
        ranges = [typed_range(seed) if isinstance(seed, str) else None for seed in out["seeds"]]
        pairs = zip(out["seeds"], ranges, strict=True)
        out["seeds"] = [one for seed, many in pairs for one in many or [seed]]
    return out


def _scalar(text: str) -> Any:
    """A part between commas; invalid YAML stays text, to be refused where it is used."""
    try:
        return yaml_text.parse(text)
    except ValueError:
        return text


def normalised(model: type[BaseModel], layer: Layer) -> Layer:
    """A layer with numbers for what may be typed as ``20k`` or ``2M``, and without groups that hold
    nothing, as in a file whose settings are commented out."""
    keys = {key.path: _is_number(key.field.annotation) for key in walk(model)}
    groups = {path.rpartition(".")[0] for path in keys} | {"own"}

    def read(value: Any, path: str) -> Any:
        if isinstance(value, dict) and path == "own":
            return {name: read({} if tree is None else tree, "") for name, tree in value.items()}
        if isinstance(value, dict):
            below = ((k, v, f"{path}.{k}" if path else str(k)) for k, v in value.items())
            return {
                k: read(v, place) for k, v, place in below if v is not None or place not in groups
            }
        if isinstance(value, list):
            return [read(entry, path) for entry in value]
        number = typed_number(value) if isinstance(value, str) and keys.get(path) else None
        return value if number is None else number

    return Layer(layer.source, read(layer.values, ""))


def _is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_is_number, typing.get_args(annotation)))


def merge(layers: Sequence[Layer], algorithm: str, kind: str) -> Tree:
    """All layers merged; a change of algorithm drops the old one's settings in lower layers."""
    out: Tree = {"algorithm": {"name": algorithm}}
    for layer in layers:
        new, below = layer.values.get("algorithm"), out["algorithm"]
        if isinstance(new, dict) and isinstance(below, dict) and "name" in new:
            out["algorithm"] = below if new["name"] == below.get("name") else {}
        out = laid_over(out, layer.values)
    env = out.get("env", {})
    return {**out, "env": {**env, "kind": kind} if isinstance(env, dict) else env}
