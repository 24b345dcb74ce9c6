"""Named settings of a whole training: the layer above the defaults and below the user's own.

- ``equal``: every algorithm with the same settings, so that a comparison compares algorithms. On
  matrix games these are the defaults, which suit short trainings; elsewhere they are those of
  ``epymarl`` with a higher learning rate.
- ``epymarl``: the settings of EPyMARL's benchmark (Papoudakis et al., 2021, "Benchmarking
  multi-agent deep reinforcement learning algorithms in cooperative tasks"): batches of 32 episodes,
  one update for every episode. Two deviations: rewards are divided by the card's scale where
  EPyMARL standardises them, and mixing networks get standardised states. EPyMARL's see the agents'
  observations side by side, ours the card's state, whose raw coordinates make QMIX's first values
  so large that it unlearns them for half a million steps.
- ``paper``: the settings of QLLM's authors (arXiv 2504.12961), as their published code has them,
  but for standardised rewards, which are divided by the card's scale. On all tasks but football
  algorithms differ there in learning rate, batch and number of environments; in football QLLM
  alone has a discount of 0.999, and target networks are copied after every update. What they used
  for algorithms other than QLLM and QMIX is not known, and QMIX's are taken.

The number of updates for each episode, ``learner.updates_per_rollout`` by ``env.num_envs``, matters
more than most settings: returns follow the number of updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """Settings for one kind of task."""

    shared: Tree
    """A tree of settings, as a configuration file would have it."""
    own: Mapping[str, Tree] = field(default_factory=dict)
    """What single algorithms have of their own, by name."""


_LONG: Tree = {
    "steps": 2_000_000,
    "env": {"num_envs": 8},
    "agent": {"core": "gru", "hidden": 128, "agent_id": True, "last_action": False},
    "learner": {
        "lr": 5e-4,
        "batch_size": 32,
        "replay_capacity": 5000,
        "updates_per_rollout": 8,
        "double_q": True,
        "grad_clip": 10.0,
        "target_update": "soft",
        "target_tau": 0.01,
        "standardise_states": True,
    },
    "exploration": {"start": 1.0, "finish": 0.05, "anneal_steps": 200_000},
    "evaluation": {"every": 50_000, "episodes": 100, "epsilon": 0.0},
    "checkpoint_every": 100_000,
    "log_every": 10_000,
}


def _changed(base: Tree, **changes: Any) -> Tree:
    """A tree with some leaves of its groups replaced: ``_changed(x, learner={"lr": 1e-3})``."""
    return {
        key: {**value, **changes.get(key, {})}
        if isinstance(value, dict)
        else changes.get(key, value)
        for key, value in {**{k: {} for k in changes if k not in base}, **base}.items()
    }


def _equal(kind: str) -> Preset:
    return Preset({} if kind == "matrix" else _changed(_LONG, learner={"lr": 1e-3}))


def _epymarl(kind: str) -> Preset:
    return Preset(_LONG)


def _paper(kind: str) -> Preset:
    if kind == "football":
        shared = _changed(
            _LONG,
            env={"num_envs": 16},
            agent={"hidden": 256},
            learner={
                "batch_size": 128,
                "updates_per_rollout": 1,
                "replay_capacity": 2000,
                "td_lambda": 1.0,
                "target_update": "hard",
                "target_interval": 1,
                "standardise_states": False,
            },
            exploration={"anneal_steps": 100_000},
            evaluation={"every": 10_000, "episodes": 32},
            gate={"scale_by_agents": True},
        )
        return Preset(shared, {"qllm": {"gamma": 0.999}})
    shared = _changed(
        _LONG,
        learner={"updates_per_rollout": 1, "standardise_states": False},
        evaluation={"epsilon": 0.05},
        gate={"scale_by_agents": True},
    )
    theirs = {"lr": 3e-4, "batch_size": 32, "num_envs": 6}
    own = dict.fromkeys(("iql", "vdn", "qmix", "qatten", "qplex"), theirs)
    own["qmix"] = {**theirs, "mixing_dim": 32, "hypernet_dim": 32}
    return Preset(shared, {**own, "qllm": {"lr": 1e-3, "batch_size": 64, "num_envs": 8}})


PRESETS: dict[str, Callable[[str], Preset]] = {
    "equal": _equal,
    "epymarl": _epymarl,
    "paper": _paper,
}
"""By name: a function of the kind of environment that the task's card names."""
