"""Putting a configuration together, and writing it out so that it can be fed back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marl.envs.kinds import ENVIRONMENTS
from marl.errors import SettingsError
from marl.settings.base import Tree
from marl.settings.presets import PRESETS, Preset
from marl.settings.registry import ALGORITHMS, spelled_out
from marl.settings.stored import is_earlier, upgraded
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.keys import walk
from qllm.config.layers import (
    COMMAND_LINE,
    Layer,
    check_keys,
    file_layer,
    merge,
    override_layer,
    with_typed_numbers,
    without_empty_groups,
)
from qllm.config.own import (
    check_own,
    check_shared_algorithm,
    compared_labels,
    for_kind,
    own_of,
    seen_by,
    without_algorithm,
    without_own,
)
from qllm.config.reference import SPELLED, allowed_words
from qllm.config.stored import kind_of, stored_settings
from qllm.config.tree import RunConfig

_DEFAULT = RunConfig.model_fields["algorithm"].default.name
"""The algorithm that is trained where none is named."""


def build_config(
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    compared: Sequence[str] | None = None,
    algorithm: str | None = None,
    source: str = COMMAND_LINE,
) -> RunConfig:
    """The configuration from defaults, then a preset, a YAML file, the command line.

    In each of these layers, what one algorithm has of its own lies above what all have.

    Args:
        file: what ``--config`` names.
        overrides: ``key=value`` words.
        flags: settings that have options of their own (``task``, ``steps``); None is not given.
        compared: for commands that compare, the algorithms where the file and the command line
            name none; None for those that train one, which leave ``algorithms`` aside.
        algorithm: for commands that train one and the same algorithm, whatever is set.
        source: where overrides and flags were given, for errors; empty where only one place is.

    Raises:
        ConfigError: an unknown key or name, or a value that is not allowed.
    """
    typed = override_layer(overrides, flags or {}, source)
    env = typed.values.get("env")
    if isinstance(env, dict) and "kind" in env:
        raise ConfigError(f"env.kind{typed.place}: the task's card says of which kind it is")
    given = [*([file_layer(file)] if file is not None else []), typed]
    kind = kind_of(_chosen(given, "task"))
    users = [_read(layer, kind) for layer in given]
    _require_plugins(users, kind)
    layers = [_preset(users, kind), *users]
    if compared is None:
        return _single(layers, kind, algorithm)
    return _comparison(layers, kind, compared)


def _read(layer: Layer, kind: str) -> Layer:
    """A layer of the user's with its numbers read, for a task of this kind."""
    values = upgraded(layer.values, kind) if is_earlier(layer.values) else layer.values
    layer = without_empty_groups(RunConfig, Layer(layer.source, values))
    return for_kind(with_typed_numbers(RunConfig, layer), kind)


def _single(layers: Sequence[Layer], kind: str, algorithm: str | None) -> RunConfig:
    """The configuration that trains one algorithm."""
    shared = [without_own(layer) for layer in layers]
    default = algorithm or _DEFAULT
    for at, layer in enumerate(shared):
        check_keys(RunConfig, layer, _merged(shared[: at + 1], default, kind))
    for layer in layers:
        check_own(layer, kind)
    chosen = _merged(shared, default, kind)["algorithm"]
    if algorithm is not None:
        chosen = {"name": algorithm}
    seen = seen_by(layers, chosen["name"])
    merged = _merged(seen, chosen["name"], kind)
    if merged.get("tfcaf") is not None and ALGORITHMS[chosen["name"]].credit == "optional":
        merged["algorithm"] = {"tfcaf": True, **merged["algorithm"]}
    return _validated(merged, seen)


def _comparison(layers: Sequence[Layer], kind: str, default: Sequence[str]) -> RunConfig:
    """The configuration that trains several algorithms, each with its own layers."""
    labels = compared_labels(layers, default)
    names = [spelled_out(label)["name"] for label in labels]
    for layer in layers:
        alone = {k: v for k, v in without_own(layer).values.items() if k != "algorithm"}
        check_keys(RunConfig, Layer(layer.source, alone), {**alone, "env": {"kind": kind}})
        check_own(layer, kind)
        check_shared_algorithm(layer, names)
    first = _merged(seen_by(layers, names[0], lenient=True), names[0], kind)["algorithm"]
    shared = [without_own(layer) for layer in layers]
    base = {
        **_merged([without_algorithm(layer) for layer in shared], names[0], kind),
        "algorithm": {**first, **spelled_out(labels[0])},
        "algorithms": labels,
    }
    config = _validated(base, shared)
    own: dict[str, Tree] = {}
    for label, name in zip(labels, names, strict=True):
        seen = seen_by(layers, name, lenient=True)
        merged = _merged(seen, name, kind)
        merged["algorithm"] = {**merged["algorithm"], **spelled_out(label)}
        own[name] = own_of(_validated(merged, seen), config)
    return config.model_copy(update={"own": {name: tree for name, tree in own.items() if tree}})


def _merged(layers: Sequence[Layer], name: str, kind: str) -> Tree:
    merged = merge(layers, {"algorithm": name})
    env = merged.setdefault("env", {})
    return {**merged, "env": {**env, "kind": kind} if isinstance(env, dict) else env}


def _validated(merged: Tree, layers: Sequence[Layer]) -> RunConfig:
    """The configuration of a tree.

    Raises:
        ConfigError: a value is not allowed; it is looked for in the layers.
    """
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from None


def _require_plugins(layers: Sequence[Layer], kind: str) -> None:
    """Refuse algorithms and environments of other packages that do not load, with the reason.

    Raises:
        ConfigError: the message names the package.
    """
    named: list[Any] = []
    for layer in layers:
        algorithm, listed = layer.values.get("algorithm"), layer.values.get("algorithms")
        named += [algorithm] if isinstance(algorithm, dict) else []
        named += map(spelled_out, listed if isinstance(listed, list) else [])
    names = [one["name"] for one in named if isinstance(one.get("name"), str)]
    try:
        for name in filter(ALGORITHMS.__contains__, names):
            ALGORITHMS[name]
        if kind in ENVIRONMENTS:
            ENVIRONMENTS[kind]
    except SettingsError as error:
        raise ConfigError(str(error)) from None


def _chosen(layers: Sequence[Layer], key: str) -> Any:
    """What the user sets for a key at the top, or its default."""
    given = [layer.values[key] for layer in layers if layer.values.get(key) is not None]
    default = RunConfig.model_fields[key].get_default()
    return given[-1] if given else default


def _preset(users: Sequence[Layer], kind: str) -> Layer:
    """The preset for a kind of task; an empty one where the name or the task is to be refused."""
    name = _chosen(users, "preset")
    known = isinstance(name, str) and name in PRESETS and kind
    preset = PRESETS[name](kind) if known else Preset({})
    search = _SEARCHES.get(name, {}) if known else {}
    values = {**preset.shared, "own": dict(preset.own), "synth": search}
    return Layer(f"of preset {name}", values)


_SEARCHES: dict[str, Tree] = {"paper": {"rounds": 3, "candidates": 3, "repairs": 10}}
"""What presets say of a search: T = 3 rounds of K = 3 candidates, each asked for at most ten times
more, as the published code of QLLM's authors has it."""


def _path(location: Sequence[int | str]) -> str:
    """A validation error's place."""
    parts: list[str] = []
    for at, part in enumerate(location):
        if isinstance(part, int) and location[at - 1] in SPELLED:
            continue  # typed in one go, so that the whole of it is to be typed again
        parts.append(str(part))
    return ".".join(parts)


def _given_in(path: str, layers: Sequence[Layer]) -> tuple[str, str]:
    """The path as the layer has it that set it last, and which that is."""
    for layer in reversed(layers):
        at: Any = layer.values
        for part in path.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if at is not None:
            return layer.prefix + path, layer.place
    return path, ""


def _explain(error: ValidationError, layers: Sequence[Layer]) -> str:
    errors = error.errors(include_url=False)
    first, path = errors[0], _path(errors[0]["loc"])
    others = {_path(e["loc"]) for e in errors} - {path}
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "missing":
        such = ", such as matrix/climbing (`qllm tasks` lists them)" if path == "task" else ""
        return f"{path}: needs a value{such}: set it on the command line or with --config{more}"
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if not path:
        return said + more
    said = said.replace("input should", "must", 1)
    field = next((key.field for key in walk(RunConfig) if key.path == path), None)
    if first["type"] == "string_pattern_mismatch" and field is not None:
        said = f"must be {field.description}"
    elif first["type"].startswith(_IN_WORDS) and field is not None:
        said = f"must be {allowed_words(path, field)}"
    near = _near_choice(first["input"], first["ctx"]) if first["type"] == "literal_error" else ""
    value = yaml_text.dump_inline(first["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    typed, place = _given_in(path, layers)
    return f"{typed}={shown}{place}: {said}{near}{more}"


_IN_WORDS = (
    "int_", "float_", "bool_", "string_type", "tuple_type", "too_short", "greater_", "less_",
)  # fmt: skip
"""Errors of values that are better said by what is allowed than by which rule was broken."""


def _near_choice(given: object, context: Mapping[str, Any]) -> str:
    """The choice of a Literal that resembles what was given (pydantic lists them in words)."""
    choices = re.findall(r"'([^']*)'", str(context.get("expected")))
    near = difflib.get_close_matches(str(given), choices, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration; fed back with ``--config`` it gives the same configuration."""
    return yaml_text.dump(config.model_dump(mode="json"))


def from_stored(data: Mapping[str, Any]) -> RunConfig:
    """A configuration from what the run store keeps of it, for looking at where it is an old one.

    Raises:
        ConfigError: it was written by another version whose settings differ.
    """
    try:
        config = RunConfig.model_validate(stored_settings(data))
        for label in config.labels:
            config.for_training(label, config.seeds[0])
    except ValidationError as error:
        raise ConfigError(f"the stored configuration does not fit: {_explain(error, ())}") from None
    return config
