"""Settings of single algorithms: the layers as one algorithm's training sees them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from marl.errors import near_names
from marl.settings.base import Tree, differing
from marl.settings.env import EnvConfig
from marl.settings.registry import ALGORITHMS, spelled_out
from qllm.config.errors import ConfigError
from qllm.config.explain import explain, moved
from qllm.config.layers import Layer
from qllm.config.tree import OWN_GROUPS, RunConfig


def seen_by(layers: Sequence[Layer], name: str, *, lenient: bool = False) -> list[Layer]:
    """The layers for one algorithm: each layer, and above it its part for that algorithm alone.

    What a layer sets under another algorithm's name is left out.

    Args:
        lenient: leave out settings under no name that the algorithm does not have.
    """
    fields, out = ALGORITHMS[name].model_fields, list[Layer]()
    for layer in layers:
        shared = without(layer, "own", "algorithms", "variants")
        settings = shared.values.get("algorithm")
        if isinstance(settings, dict):
            if settings.get("name", name) != name:
                shared = without(shared, "algorithm")
            elif lenient:
                fit = {k: v for k, v in settings.items() if k in fields}
                shared = Layer(layer.source, {**shared.values, "algorithm": fit})
        out.append(shared)
        own = layer.values.get("own", {}).get(name)
        if own:
            out.append(Layer(layer.source, own, f"own.{name}."))
    return out


def without(layer: Layer, *keys: str) -> Layer:
    """A layer without some of its keys."""
    return Layer(layer.source, {k: v for k, v in layer.values.items() if k not in keys})


def for_kind(layer: Layer, kind: str) -> Layer:
    """A layer without the environment's settings for other kinds of tasks, where it names its kind.

    As a run's settings do, which may be fed back for another task.

    Args:
        kind: of the task; empty if it is not known.
    """
    env = layer.values.get("env")
    if not isinstance(env, dict) or (kind and env.get("kind", kind) == kind):
        return layer
    fit = {k: v for k, v in env.items() if k in EnvConfig.model_fields and k != "kind"}
    return Layer(layer.source, {**layer.values, "env": fit})


def compared_labels(layers: Sequence[Layer], default: Sequence[str]) -> list[str]:
    """The algorithms of a comparison, each once.

    Raises:
        ConfigError: no list of names, or an unknown one.
    """
    given = [layer.values["algorithms"] for layer in layers if "algorithms" in layer.values]
    listed = given[-1] if given else list(default)
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"algorithms: {listed!r} is no list of names, such as vdn,qmix,qllm")
    for entry in listed:
        if isinstance(entry, dict):
            raise ConfigError(
                "algorithms: list names only, and set what one of them has of its own as"
                f" own.{entry.get('name', 'NAME')}.algorithm.KEY=VALUE"
            )
        check_trained("algorithms", entry)
    return listed


def check_trained(path: str, label: object) -> None:
    """Refuse a label that names no algorithm.

    Raises:
        ConfigError: begins with the path; lists the near names.
    """
    name = spelled_out(label)["name"]
    _require_known(path, name)
    if label != name and ALGORITHMS[name].credit != "optional":
        raise ConfigError(f"{path}: no credit function can take the place of {name}'s mixer")


def _require_known(path: str, name: object) -> None:
    if not isinstance(name, str) or name not in ALGORITHMS:
        near = near_names(str(name), ALGORITHMS)
        raise ConfigError(f"{path}: unknown algorithm '{name}': {near}")


def check_own(layers: Iterable[Layer], kind: str) -> None:
    """Refuse settings for single algorithms that these do not have.

    Raises:
        ConfigError: an unknown algorithm or key, or a setting that is one for all of them.
    """
    for layer in layers:
        given = layer.values.get("own", {})
        if not isinstance(given, dict):
            raise ConfigError(f"own{layer.place}: {given!r} is no group of settings by algorithm")
        for name, tree in given.items():
            check_layer(Layer(layer.source, tree, f"own.{name}."), name, kind, f"own.{name}")


def check_layer(layer: Layer, name: str, kind: str, path: str) -> None:
    """Refuse what one algorithm's layer sets and that cannot have.

    Args:
        path: of the layer, for errors.

    Raises:
        ConfigError: an unknown algorithm or key, or a setting that is one for all of them.
    """
    tree = layer.values
    if name not in ALGORITHMS and spelled_out(name)["name"] in ALGORITHMS:
        said = f"{name} has the settings of {spelled_out(name)['name']}"
        raise ConfigError(f"{path}{layer.place}: {said}")
    _require_known(f"{path}{layer.place}", name)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}{layer.place}: {tree!r} is no group of settings")
    settings, env = (tree.get(group, {}) for group in ("algorithm", "env"))
    if isinstance(settings, dict):
        if settings.keys() & {"name", "tfcaf"}:
            raise ConfigError(f"{path}.algorithm{layer.place}: {name} it is: leave out its name")
        settings = {**settings, "name": name}
    env = {**env, "kind": kind} if isinstance(env, dict) else env
    whole = {"task": "-", **tree, "algorithm": settings, "env": env}
    try:
        RunConfig.model_validate(whole)
    except ValidationError as error:  # values are for those to refuse who are trained with them
        if said := explain(error, [layer], whole, keys_only=True):
            raise ConfigError(said) from None
    for key in tree.keys() - set(OWN_GROUPS):
        raise ConfigError(
            f"{layer.prefix}{key}{layer.place}: is one for all algorithms; one alone may have"
            f" settings of {', '.join(OWN_GROUPS)}"
        )


def check_shared_algorithm(layer: Layer, compared: Sequence[str]) -> None:
    """Refuse settings for all compared algorithms that none of them has.

    Raises:
        ConfigError: the message names the nearest setting.
    """
    entry, where = layer.values.get("algorithm", {}), f"algorithm{layer.place}"
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: {entry!r} is no group of settings")
    names = [entry["name"]] if "name" in entry else compared
    for name in names:
        _require_known(where, name)
    fields = {field for name in names for field in ALGORITHMS[name].model_fields}
    for key in entry.keys() - fields:
        path = f"algorithm.{key}"
        near = difflib.get_close_matches(key, sorted(fields), n=1)
        hint = moved(path) or (f"did you mean algorithm.{near[0]}?" if near else "")
        said = f"none of {', '.join(names)} has this setting"
        raise ConfigError(f"{path}{layer.place}: {said}{f': {hint}' if hint else ''}")


def own_of(config: RunConfig, shared: RunConfig) -> Tree:
    """Permitted differences of one algorithm's configuration from the shared one."""
    mine, all_ = config.model_dump(mode="json"), shared.model_dump(mode="json")
    groups = [group for group in OWN_GROUPS if group != "algorithm"]
    own = differing({g: mine[g] for g in groups}, {g: all_[g] for g in groups})
    usual = type(config.algorithm)().model_dump(mode="json", exclude={"tfcaf"})
    special = differing(mine["algorithm"], {**usual, "tfcaf": mine["algorithm"].get("tfcaf")})
    return {**({"algorithm": special} if special else {}), **own}
