"""Settings that earlier versions stored, as this version has them.

- Rewards were raw or standardised (``learner.standardise_rewards``). Such runs can be looked at,
  but not resumed.
- An algorithm had a learning rate, a batch, environments and a discount of its own beside its other
  settings, and a comparison listed its algorithms with their settings. Now that stands in ``own``.
- An environment had the settings of all kinds of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marl.settings.algorithms import WITH_CREDIT
from marl.settings.base import Tree, laid_over
from marl.settings.env import EnvConfig, env_class, env_classes

PLACES = {
    "lr": ("learner", "lr"),
    "batch_size": ("learner", "batch_size"),
    "num_envs": ("env", "num_envs"),
    "gamma": ("learner", "gamma"),
}
"""What an algorithm had of its own, and where that stands now."""

_STANDARDISED = "standardise_rewards"


def has_retired(stored: Mapping[str, Any]) -> bool:
    """Whether stored settings are of a version whose rewards were raw or standardised."""
    learner = stored.get("learner")
    return isinstance(learner, Mapping) and _STANDARDISED in learner


def is_earlier(stored: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a whole run, as an earlier version wrote them."""
    algorithm = stored.get("algorithm")
    return isinstance(algorithm, Mapping) and algorithm.keys() >= {"lr", "batch_size", "num_envs"}


def upgraded(stored: Mapping[str, Any], kind: str = "") -> Tree:
    """Stored settings of a training or a run as this version has them.

    Args:
        stored: as `model_dump` gave them; those of this version come back as they are.
        kind: of the task; where it is not known, the environment's settings tell it.
    """
    out = dict(stored)
    if has_retired(out):
        out["learner"] = {k: v for k, v in out["learner"].items() if k != _STANDARDISED}
    if isinstance(out.get("env"), Mapping) and "kind" not in out["env"]:
        out["env"] = _fitting(out["env"], kind)
    if is_earlier(out):
        own, out["algorithm"] = _parted(out["algorithm"])
        out = _with_own(out, own)
    return out


def stored_env(stored: Mapping[str, Any], kind: str) -> EnvConfig:
    """The environment's settings out of stored ones.

    Raises:
        ValidationError: they do not fit the kind of task.
    """
    env = upgraded(stored, kind).get("env") or {}
    return env_class(kind).model_validate({**env, "kind": kind})


def _fitting(env: Mapping[str, Any], kind: str) -> Tree:
    """The settings of one kind of task out of those of all."""
    if not kind:
        for name, settings in env_classes().items():
            special = settings.model_fields.keys() - EnvConfig.model_fields.keys()
            if any(env.get(k) not in (None, settings.model_fields[k].default) for k in special):
                kind = name
    fields = env_class(kind).model_fields
    return {"kind": kind, **{k: v for k, v in env.items() if k in fields}}


def _parted(algorithm: Mapping[str, Any]) -> tuple[Tree, Tree]:
    """What was an algorithm's own of the settings that all have, and the others."""
    own: Tree = {}
    for key, (group, name) in PLACES.items():
        if algorithm.get(key) is not None:
            own.setdefault(group, {})[name] = algorithm[key]
    return own, {k: v for k, v in algorithm.items() if k not in PLACES}


def _with_own(stored: Tree, own: Tree) -> Tree:
    if "algorithms" not in stored:  # of a training, not of a run
        return laid_over(stored, own)
    layers: Tree = {str(stored["algorithm"].get("name")): own}
    labels = []
    for entry in stored["algorithms"]:
        own, special = _parted(entry if isinstance(entry, Mapping) else {"name": entry})
        name = str(special.pop("name", ""))
        labels.append(name + WITH_CREDIT if special.pop("tfcaf", False) else name)
        layers[name] = laid_over(own, {"algorithm": special} if special else {})
    return {**stored, "algorithms": labels, "own": {k: v for k, v in layers.items() if v}}
