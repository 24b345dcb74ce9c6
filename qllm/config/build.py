"""Building a configuration, and writing it out in a form that can be read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marl.errors import SettingsError
from marl.settings.base import Tree
from marl.settings.presets import PRESETS, Preset
from marl.settings.registry import ALGORITHMS, spelled_out
from marl.settings.stored import is_earlier, upgraded
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.explain import explain
from qllm.config.layers import COMMAND_LINE, Layer, file_layer, merge, normalised, override_layer
from qllm.config.own import (
    check_own,
    check_shared_algorithm,
    compared_labels,
    for_kind,
    own_of,
    seen_by,
    without,
)
from qllm.config.stored import kind_of, stored_settings
from qllm.config.tree import RunConfig, algorithm_of
from qllm.config.variants import chosen_variants, require_different
from qllm.export.kinds import require_known

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
    try:
        users = [_read(layer, kind) for layer in given]
        layers = [_preset(users, kind), *users]
        check_own(layers, kind)
        if compared is None:
            config = _single(layers, kind, algorithm)
        else:
            config = _comparison(layers, kind, compared)
        require_known(config.log)
        return config
    except SettingsError as error:  # of another package, which does not load
        raise ConfigError(str(error)) from None


def _read(layer: Layer, kind: str) -> Layer:
    """A layer of the user's as this version has it, for a task of this kind."""
    values = upgraded(layer.values, kind) if is_earlier(layer.values) else layer.values
    return for_kind(normalised(RunConfig, Layer(layer.source, values)), kind)


def _single(layers: Sequence[Layer], kind: str, algorithm: str | None) -> RunConfig:
    """The configuration that trains one algorithm."""
    seen = [without(layer, "own", "algorithms", "variants") for layer in layers]
    name = algorithm
    if algorithm is None:
        chosen = merge(seen, _DEFAULT, kind)["algorithm"]
        name = chosen.get("name") if isinstance(chosen, dict) else None
    if isinstance(name, str) and name in ALGORITHMS:
        seen = seen_by(layers, name)
    else:  # which is refused as part of the configuration
        name = _DEFAULT
    merged = merge(seen, name, kind)
    if merged.get("tfcaf") is not None and ALGORITHMS[name].credit == "optional":
        merged["algorithm"] = {"tfcaf": True, **merged["algorithm"]}
    return _validated(merged, seen)


def _comparison(layers: Sequence[Layer], kind: str, default: Sequence[str]) -> RunConfig:
    """The configuration that trains several algorithms, each with its own layers."""
    variants = chosen_variants(layers, kind)
    labels = list(dict.fromkeys(algorithm_of(one.values) for one in variants.values()))
    labels = labels or compared_labels(layers, default)
    names = [spelled_out(label)["name"] for label in labels]
    for layer in layers:
        check_shared_algorithm(layer, names)

    def whole(label: str, *above: Layer) -> RunConfig:
        name = spelled_out(label)["name"]
        seen = [*seen_by(layers, name, lenient=True), *above]
        merged = merge(seen, name, kind)
        merged["algorithm"] = {**merged["algorithm"], **spelled_out(label)}
        return _validated(merged, seen)

    alone = [whole(label) for label in labels]
    require_different({x: whole(algorithm_of(one.values), one) for x, one in variants.items()})
    shared = [without(layer, "own", "algorithms", "algorithm", "variants") for layer in layers]
    compared: Tree = {"algorithms": labels}
    if variants:
        compared = {"variants": {label: one.values for label, one in variants.items()}}
    merged = merge(shared, names[0], kind)
    config = _validated({**merged, "algorithm": alone[0].algorithm, **compared}, shared)
    own = {name: own_of(one, config) for name, one in zip(names, alone, strict=True)}
    return config.model_copy(update={"own": {name: tree for name, tree in own.items() if tree}})


def _validated(merged: Tree, layers: Sequence[Layer]) -> RunConfig:
    """The configuration of a tree.

    Raises:
        ConfigError: a key or a value is not allowed; it is looked for in the layers.
    """
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(explain(error, layers, merged)) from None


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


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration; fed back with ``--config`` it gives the same configuration."""
    return yaml_text.dump(config.model_dump(mode="json"))


def from_stored(data: Mapping[str, Any]) -> RunConfig:
    """A configuration from the run store; one of an older version is for reading only.

    Raises:
        ConfigError: it was written by another version whose settings differ.
    """
    settings = stored_settings(data)
    try:
        config = RunConfig.model_validate(settings)
        for label in config.labels:
            config.for_training(label, config.seeds[0])
    except ValidationError as error:
        said = explain(error, (), settings)
        raise ConfigError(f"the stored configuration does not fit: {said}") from None
    return config
