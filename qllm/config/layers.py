"""Layers of settings: the defaults, a YAML file, the command line; a later one wins."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from marl.settings.base import Tree, laid_over
from marl.settings.registry import spelled_out
from marl.settings.stored import PLACES
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.keys import group, union, walk
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
        """The source as it stands in an error, after the setting's name."""
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
    """Of the words, the last one counts; which of an option and a word should, nobody can know."""

    def spelled(key: str, value: Any) -> Any:
        number = typed_number(value) if isinstance(value, str) else value
        return _shorthand({key: value if number is None else number})

    for key, value in dict(given).items():
        option = flags.get(key)
        if option is not None and spelled(key, option) != spelled(key, value):
            raise ConfigError(f"{key} is given twice, as {option} and as {value}: leave one out")


def _shorthand(values: Tree) -> Tree:
    """Spell out what may be written short: an algorithm's name, lists with commas."""
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
    """A part between commas; what is no YAML stays text, to be refused in its place."""
    try:
        return yaml_text.parse(text)
    except ValueError:
        return text


def with_typed_numbers(model: type[BaseModel], layer: Layer) -> Layer:
    """A layer whose numbers may be typed as ``20k`` or ``2M``."""
    numeric = {key.path for key in walk(model) if _is_number(key.field.annotation)}

    def read(value: Any, path: str) -> Any:
        if isinstance(value, dict) and path == "own":
            return {name: read(tree, "") for name, tree in value.items()}
        if isinstance(value, dict):
            return {k: read(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [read(entry, path) for entry in value]
        number = typed_number(value) if path in numeric and isinstance(value, str) else None
        return value if number is None else number

    return Layer(layer.source, read(layer.values, ""))


def _is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_is_number, typing.get_args(annotation)))


def merge(layers: Sequence[Layer], default_names: Mapping[str, str]) -> Tree:
    """All layers as one; a union whose ``name`` changes loses what lower layers set beside it.

    Args:
        default_names: the name that each union (by key) has by default.
    """
    out: Tree = {key: {"name": name} for key, name in default_names.items()}
    for layer in layers:
        for key in default_names:
            new = layer.values.get(key)
            if isinstance(new, dict) and new.get("name", out[key]["name"]) != out[key]["name"]:
                out[key] = {}
        out = laid_over(out, layer.values)
    return out


def without_empty_groups(model: type[BaseModel], layer: Layer) -> Layer:
    """A layer without groups that hold nothing, as in a file whose settings are commented out."""

    def cleaned(values: Tree) -> Tree:
        empty = {
            name
            for name, value in values.items()
            if value is None
            and (field := model.model_fields.get(name)) is not None
            and (name == "own" or union(field.annotation) or group(field.annotation))
        }
        return {k: v for k, v in values.items() if k not in empty}

    values = cleaned(layer.values)
    own = values.get("own")
    if isinstance(own, dict):
        whole = {name: {} if tree is None else tree for name, tree in own.items()}
        values["own"] = {n: cleaned(t) if isinstance(t, dict) else t for n, t in whole.items()}
    return Layer(layer.source, values)


def check_keys(model: type[BaseModel], layer: Layer, merged: Tree) -> None:
    """Refuse keys that the model does not have.

    Args:
        merged: this layer and those below it, which decide what a union's tag is.

    Raises:
        ConfigError: an unknown key or member; the message names the nearest known ones.
    """
    paths = {key.path for key in walk(model)}
    paths |= {path.rpartition(".")[0] for path in paths if "." in path}
    for path, message in _wrong_keys(model, layer.values, merged, "", sorted(paths)):
        raise ConfigError(f"{layer.prefix}{path}{layer.place}: {message}")


def moved(path: str) -> str:
    """Where a setting of earlier versions stands now, as a hint; empty for any other."""
    group_, _, key = path.partition(".")
    if group_ != "algorithm" or key not in PLACES:
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


def _wrong_keys(
    model: type[BaseModel], given: Tree, merged: Tree, prefix: str, paths: Sequence[str]
) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        path = f"{prefix}{name}"
        field = model.model_fields.get(name)
        if field is None:
            while isinstance(value, dict) and len(value) == 1:
                below, value = next(iter(value.items()))
                path = f"{path}.{below}"
            yield path, f"unknown key: {_near(path, paths)}"
            continue
        members, nested = union(field.annotation), group(field.annotation)
        if members is None and nested is None:
            continue
        if not isinstance(value, dict):
            inside = [p for p in paths if p.startswith(f"{path}.")][:3]
            yield path, f"{value!r} is no group of settings: set {', '.join(inside)}, ..."
            continue
        below_merged = merged.get(name)
        if members is not None:
            chosen = below_merged.get(members.tag) if isinstance(below_merged, dict) else None
            if chosen not in members.models and not members.open:
                yield f"{path}.{members.tag}", unknown_member(path, chosen, members.models)
                continue
            nested = members.models.get(str(chosen), members.shared)
            for key in value:
                if key not in nested.model_fields:
                    owners = [n for n, m in members.models.items() if key in m.model_fields]
                    if owners:
                        whose = " and ".join(f"{members.noun}{owner}" for owner in owners)
                        said = f"belongs to {whose}, not to {members.noun}{chosen}"
                        yield f"{path}.{key}", said
        assert nested is not None
        yield from _wrong_keys(
            nested, value, below_merged if isinstance(below_merged, dict) else {}, f"{path}.", paths
        )


def unknown_member(path: str, name: object, known: Mapping[str, object]) -> str:
    """The error about a name that a union does not have."""
    near = difflib.get_close_matches(str(name), list(known), n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
    return f"unknown {path} '{name}': {hint}"
