"""Putting a configuration together, and writing it out so that it can be fed back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marl.errors import SettingsError
from marl.settings.presets import PRESETS, Preset
from marl.settings.registry import ALGORITHMS
from marl.settings.train import without_retired
from prompts.cards import CardError, load_card
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.keys import walk
from qllm.config.layers import (
    COMMAND_LINE,
    Layer,
    Tree,
    check_keys,
    file_layer,
    merge,
    override_layer,
    unknown_member,
    with_typed_numbers,
    without_empty_groups,
)
from qllm.config.reference import SPELLED, allowed_words
from qllm.config.tree import RunConfig

_DEFAULT_NAMES = {"algorithm": RunConfig.model_fields["algorithm"].default.name}


def build_config(
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    compared: Sequence[str] | None = None,
    source: str = COMMAND_LINE,
) -> RunConfig:
    """The configuration from defaults, then a YAML file, then the command line.

    Args:
        file: what ``--config`` names.
        overrides: ``key=value`` words.
        flags: settings that have options of their own (``task``, ``steps``); None is not given.
        compared: for commands that compare, the algorithms where the file and the command line
            name none; None for those that train one, which leave ``algorithms`` aside.
        source: where overrides and flags were given, for errors; empty where only one place is.

    Raises:
        ConfigError: an unknown key or name, or a value that is not allowed.
    """
    given = ([file_layer(file)] if file is not None else []) + [
        override_layer(overrides, flags or {}, source)
    ]
    users = [
        with_typed_numbers(RunConfig, without_empty_groups(RunConfig, layer)) for layer in given
    ]
    _require_plugins(users)
    preset = _preset(users)
    layers = [Layer(f"of preset {_chosen(users, 'preset')}", preset.shared), *users]
    merged = merge(layers, _DEFAULT_NAMES)
    if compared is None:
        for at, layer in enumerate(layers):
            check_keys(RunConfig, layer, merge(layers[: at + 1], _DEFAULT_NAMES))
        merged.pop("algorithms", None)
        algorithm = merged["algorithm"]
        own = _own(preset, algorithm["name"], users)
        if merged.get("tfcaf") is not None and ALGORITHMS[algorithm["name"]].credit == "optional":
            own["tfcaf"] = True
        merged["algorithm"] = {**own, **algorithm}
    else:
        chosen = [
            {**_own(preset, settings["name"], users), **settings}
            for settings in _compared(layers, merged, compared)
        ]
        _check_compared(layers, chosen)
        merged["algorithms"], merged["algorithm"] = chosen, dict(chosen[0])
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from None


def _require_plugins(layers: Sequence[Layer]) -> None:
    """Refuse algorithms of other packages that do not load, with the reason.

    Raises:
        ConfigError: the message names the package.
    """
    for layer in layers:
        listed = layer.values.get("algorithms")
        for entry in [*(listed if isinstance(listed, list) else []), layer.values.get("algorithm")]:
            name = entry.get("name") if isinstance(entry, dict) else None
            try:
                if isinstance(name, str) and name in ALGORITHMS:
                    ALGORITHMS[name]
            except SettingsError as error:
                raise ConfigError(str(error)) from None


def _chosen(layers: Sequence[Layer], key: str) -> Any:
    """What the user sets for a key at the top, or its default."""
    given = [layer.values[key] for layer in layers if layer.values.get(key) is not None]
    default = RunConfig.model_fields[key].get_default()
    return given[-1] if given else default


def _preset(users: Sequence[Layer]) -> Preset:
    """The preset for the task; an empty one where either is yet to be refused."""
    name = _chosen(users, "preset")
    make = PRESETS.get(name)
    try:
        kind = load_card(str(_chosen(users, "task"))).env.kind
    except CardError:
        return Preset({})
    preset = make(kind) if make is not None else Preset({})
    searching = _SEARCHES.get(name)
    if searching is None:
        return preset
    return Preset({**preset.shared, "synth": searching}, preset.own)


_SEARCHES: dict[object, Tree] = {"paper": {"rounds": 3, "candidates": 3, "repairs": 10}}
"""What presets say of a search: T = 3 rounds of K = 3 candidates, each asked for at most ten times
more, as the published code of QLLM's authors has it."""


_PLACES = {
    "lr": ("learner", "lr"),
    "batch_size": ("learner", "batch_size"),
    "num_envs": ("env", "num_envs"),
    "gamma": ("learner", "gamma"),
}
"""Where the settings stand that an algorithm may have of its own."""


def _own(preset: Preset, algorithm: object, users: Sequence[Layer]) -> Tree:
    """What a preset gives one algorithm, less what the user sets for all of them."""

    def theirs(group: str, key: str) -> bool:
        groups = [layer.values.get(group) for layer in users]
        return any(isinstance(g, dict) and g.get(key) is not None for g in groups)

    own = preset.own.get(str(algorithm), {})
    return {k: v for k, v in own.items() if k not in _PLACES or not theirs(*_PLACES[k])}


def _compared(layers: Sequence[Layer], merged: Tree, default: Sequence[str]) -> list[Tree]:
    """The settings of each compared algorithm.

    What is set under ``algorithm`` counts for the compared algorithm of that name; on the command
    line, where no name stands beside it, for every compared algorithm that has such a setting.
    """
    listed = merged.get("algorithms", [{"name": name} for name in default])
    if not isinstance(listed, list) or not listed or any(not isinstance(a, dict) for a in listed):
        raise ConfigError(f"algorithms: {listed!r} is no list of names, such as vdn,qmix,qllm")
    inherited: dict[str, Tree] = {}
    shared: Tree = {}
    for layer in layers:
        entries = [*(layer.values.get("algorithms") or []), layer.values.get("algorithm")]
        for entry in entries:
            if isinstance(entry, dict) and "name" in entry:
                own = {key: value for key, value in entry.items() if key != "tfcaf"}
                inherited.setdefault(str(entry["name"]), {}).update(own)
            elif isinstance(entry, dict):
                shared.update(entry)
    out = []
    for entry in listed:
        name = entry.get("name")
        if name not in ALGORITHMS:
            raise ConfigError(f"algorithms: {unknown_member('algorithm', name, ALGORITHMS)}")
        fields = ALGORITHMS[name].model_fields
        fitting = {key: value for key, value in shared.items() if key in fields}
        out.append({**inherited.get(name, {}), **entry, **fitting})
    return out


def _check_compared(layers: Sequence[Layer], compared: Sequence[Tree]) -> None:
    for layer in layers:
        alone = {k: v for k, v in layer.values.items() if k not in ("algorithm", "algorithms")}
        check_keys(RunConfig, Layer(layer.source, alone), alone)
        entry = layer.values.get("algorithm")
        keys = set(entry) - {"name"} if isinstance(entry, dict) and "name" not in entry else set()
        for key in sorted(keys):
            if not any(key in ALGORITHMS[a["name"]].model_fields for a in compared):
                names = ", ".join(a["name"] for a in compared)
                fields = {f for a in compared for f in ALGORITHMS[a["name"]].model_fields}
                near = difflib.get_close_matches(key, sorted(fields), n=1)
                hint = f": did you mean algorithm.{near[0]}?" if near else ""
                raise ConfigError(
                    f"algorithm.{key}{layer.place}: none of {names} has this setting{hint}"
                )
    for settings in compared:
        one = Layer("in algorithms", {"algorithm": settings})
        check_keys(RunConfig, one, {"algorithm": settings})


def _path(location: Sequence[int | str]) -> str:
    """A validation error's place without the names of union members that pydantic puts in."""
    parts: list[str] = []
    for at, part in enumerate(location):
        after = location[at - 1] if at else None
        inside_list = at >= 2 and location[at - 2] == "algorithms"
        if part in ALGORITHMS and (after == "algorithm" or inside_list):
            continue
        if isinstance(part, int) and after in SPELLED and after != "algorithms":
            continue  # typed in one go, so that the whole of it is to be typed again
        parts.append(str(part))
    return ".".join(parts)


def _as_typed(path: str) -> str:
    """The setting of a path: what all compared algorithms are given is written once."""
    return re.sub(r"^algorithms\.\d+\.", "algorithm.", path)


def _given_in(path: str, layers: Sequence[Layer]) -> str:
    """Which layer set a path last."""
    for layer in reversed(layers):
        at: Any = layer.values
        for part in path.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        if at is not None:
            return layer.place
    return ""


def _explain(error: ValidationError, layers: Sequence[Layer]) -> str:
    errors = error.errors(include_url=False)
    first, path = errors[0], _path(errors[0]["loc"])
    others = {_as_typed(_path(e["loc"])) for e in errors} - {_as_typed(path)}
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "missing":
        such = ", such as matrix/climbing (`qllm tasks` lists them)" if path == "task" else ""
        return f"{path}: needs a value{such}: set it on the command line or with --config{more}"
    said = first["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    if not path:
        return said + more
    said = said.replace("input should", "must", 1)
    setting = _as_typed(path)
    field = next((key.field for key in walk(RunConfig) if key.path == setting), None)
    if first["type"] == "string_pattern_mismatch" and field is not None:
        said = f"must be {field.description}"
    elif first["type"].startswith(_IN_WORDS) and field is not None:
        said = f"must be {allowed_words(setting, field)}"
    near = _near_choice(first["input"], first["ctx"]) if first["type"] == "literal_error" else ""
    value = yaml_text.dump_inline(first["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    return f"{path}={shown}{_given_in(path, layers)}: {said}{near}{more}"


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
        return RunConfig.model_validate(without_retired(data))
    except ValidationError as error:
        raise ConfigError(f"the stored configuration does not fit: {_explain(error, ())}") from None
