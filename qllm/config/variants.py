"""Variants: several settings of one algorithm in a comparison, each trained under a label.

A variant is written ``qmix:learner.lr=1e-3,agent.hidden=64``, after ``NAME=`` where it is to have a
label of one's own. In a file, ``variants`` is a list of these, or a mapping from labels to settings
that name their ``algorithm``; resolved settings have the mapping.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marl.settings.base import Tree, leaves
from marl.settings.registry import ALGORITHMS, spelled_out
from qllm.config import yaml_text
from qllm.config.errors import ConfigError
from qllm.config.layers import Layer, normalised, override_layer
from qllm.config.own import check_layer, check_trained, for_kind
from qllm.config.tree import RunConfig, algorithm_of

SUCH = "qmix:learner.lr=1e-3 or NAME=qmix:learner.lr=1e-3"

_WORD = re.compile(r"(?:(?P<label>[\w.+-]+)=)?(?P<algorithm>[\w.+-]+)(?::(?P<settings>.+))?", re.S)
_NEXT = re.compile(r",(?=[A-Za-z_][\w.]*=)")
_LABEL = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")
_LONGEST = 60
"""Characters of a label."""


def is_variant(word: str) -> bool:
    """Whether a word among a task and settings is a variant: one without ``=`` that is no task, or
    one with a ``:`` before its settings."""
    head, colon, _ = word.partition(":")
    label, equals, named = head.partition("=")
    if equals:
        known = bool(colon) or spelled_out(named)["name"] in ALGORITHMS
        return known and "." not in label and label not in RunConfig.model_fields
    return bool(_WORD.fullmatch(word)) and not word.endswith((".yaml", ".yml"))


def chosen_variants(layers: Sequence[Layer], kind: str) -> dict[str, Layer]:
    """What is compared, by label; empty where algorithms are.

    A variant lies above all layers. Of a layer that names variants and one that names algorithms,
    the later one counts.

    Raises:
        ConfigError: no such algorithm or setting, a setting that is one for the whole run, a label
            that cannot be used, or one layer that names both.
    """
    for layer in reversed(layers):
        given, algorithms = layer.values.get("variants"), layer.values.get("algorithms")
        if given and algorithms:
            raise ConfigError(
                f"variants{layer.place}: algorithms are given, too: leave one out (an algorithm"
                " without settings is a variant as well)"
            )
        if given:
            return _labelled(_read(given, layer, kind), layer.place)
        if algorithms:
            break
    return {}


def _read(given: Any, layer: Layer, kind: str) -> list[tuple[str | None, Layer]]:
    """The variants of a layer, in their order, with the labels that they were given."""
    if isinstance(given, Mapping):
        entries: list[tuple[str | None, Any]] = list(given.items())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        entries = [(None, entry) for entry in given]
    else:
        raise ConfigError(f"variants{layer.place}: {given!r} is no list of variants such as {SUCH}")
    return [_variant(label, entry, layer, kind) for label, entry in entries]


def _variant(label: str | None, entry: Any, layer: Layer, kind: str) -> tuple[str | None, Layer]:
    where = f"variants.{label}" if label else f"variant {entry}"
    if isinstance(entry, str):
        label, tree = _spelled(label, entry, layer)
    elif isinstance(entry, Mapping) and label is not None and entry.get("algorithm"):
        named = entry["algorithm"]
        tree = {**entry, "algorithm": spelled_out(named) if isinstance(named, str) else named}
    else:
        raise ConfigError(f"{where}{layer.place}: is no variant: write {SUCH}")
    named = tree["algorithm"]
    if not isinstance(named, Mapping) or "name" not in named:
        raise ConfigError(f"{where}.algorithm{layer.place}: needs its name")
    check_trained(f"{where}{layer.place}", algorithm_of(tree))
    read = for_kind(normalised(RunConfig, Layer(layer.source, tree)), kind)
    own = {k: v for k, v in read.values["algorithm"].items() if k not in ("name", "tfcaf")}
    found = Layer(layer.source, read.values, f"{where}: ")
    check_layer(
        Layer(layer.source, {**read.values, "algorithm": own}, found.prefix),
        str(named["name"]),
        kind,
        where,
    )
    return label, found


def _spelled(label: str | None, word: str, layer: Layer) -> tuple[str | None, Tree]:
    found = _WORD.fullmatch(word)
    if found is None or (label is not None and found["label"] is not None):
        raise ConfigError(f"variant {word}{layer.place}: is no variant: write {SUCH}")
    settings = _NEXT.split(found["settings"]) if found["settings"] else []
    try:
        tree = override_layer(settings, {}).values
    except ConfigError as error:
        raise ConfigError(f"variant {word}{layer.place}: {error}") from None
    own = tree.get("algorithm", {})
    if not isinstance(own, Mapping) or "name" in own:
        raise ConfigError(f"variant {word}{layer.place}: its algorithm stands before the colon")
    return label or found["label"], {
        **tree,
        "algorithm": {**own, **spelled_out(found["algorithm"])},
    }


def _labelled(found: Sequence[tuple[str | None, Layer]], place: str) -> dict[str, Layer]:
    """The variants by label: the given one, or the algorithm and its distinguishing settings."""
    flat = [dict(_texts(variant.values)) for _, variant in found]
    shared = set(flat[0].items()).intersection(*(each.items() for each in flat))
    paths = {path for each in flat for path, value in each.items() if (path, value) not in shared}
    last = Counter(path.rpartition(".")[2] for path in paths)
    out: dict[str, Layer] = {}
    for (label, variant), settings in zip(found, flat, strict=True):
        short = {path: path.rpartition(".")[2] for path in settings if path in paths}
        words = (
            f"{name if last[name] == 1 else path}={settings[path]}" for path, name in short.items()
        )
        algorithm = algorithm_of(variant.values)
        label = label or " ".join([algorithm, *words])
        _require_usable(label, algorithm, place)
        if label in out:
            raise ConfigError(f"variants{place}: there are two of the label '{label}'")
        out[label] = variant
    return out


def _require_usable(label: str, algorithm: str, place: str) -> None:
    said = ""
    if label != algorithm and spelled_out(label)["name"] in ALGORITHMS:
        said = f"it is the name of another algorithm, and this one is {algorithm}"
    elif len(label) > _LONGEST or not _LABEL.fullmatch(label):
        such = f"it may have up to {_LONGEST} characters and no slash"
        said = f"{such}: give it another, as NAME={algorithm}:..."
    if said:
        raise ConfigError(f"variants{place}: label '{label}': {said}")


def _texts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Settings as typed on the command line, without the algorithm before them."""
    for path, value in leaves(tree):
        if path not in ("algorithm.name", "algorithm.tfcaf"):
            yield path, repr(value) if isinstance(value, float) else yaml_text.dump_inline(value)


def require_different(trained: Mapping[str, RunConfig]) -> None:
    """Refuse variants that train the same.

    Raises:
        ConfigError: names the first two.
    """
    seen: dict[str, str] = {}
    for label, config in trained.items():
        other = seen.setdefault(config.train_config().model_dump_json(), label)
        if other != label:
            raise ConfigError(
                f"variants '{other}' and '{label}' are alike: all of their settings are the same,"
                " defaults and preset included: change one, or leave it out"
            )
