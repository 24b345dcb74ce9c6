"""Named settings of a whole training: the layer above the defaults and below the user's own.

A preset is a tree of settings for all algorithms, and trees for single ones that are laid over it.

- ``equal``: every algorithm with the same settings, so that a comparison compares algorithms. On
  matrix games these are the defaults, which suit short trainings; elsewhere they are those of
  ``epymarl`` with a higher learning rate.
- ``epymarl``: the settings of EPyMARL's benchmark (Papoudakis et al., 2021, "Benchmarking
  multi-agent deep reinforcement learning algorithms in cooperative tasks"): batches of 32 episodes,
  one update for every episode. Two deviations: rewards are divided by the card's scale where
  EPyMARL standardises them, and mixing networks get standardised states. EPyMARL's see the agents'
  observations side by side, ours the card's state, whose raw coordinates make QMIX's first values
  so large that it unlearns them for half a million steps. Actor-critics have a layer of their own,
  from EPyMARL's files ``config/algs/{coma,ippo,maddpg,mappo}.yaml``.
- ``paper``: the settings of QLLM's authors (arXiv 2504.12961), as their published code has them
  (``gymma/src/config/algs`` and ``G-football/src/config/algs``), but for standardised rewards,
  which are divided by the card's scale. QLLM, QMIX, Qatten, COMA, MADDPG and RIIT have files there.
  Other value decompositions take QMIX's, FACMAC takes MADDPG's, and PPO is EPyMARL's.

The number of updates for each episode, ``learner.updates_per_rollout`` by ``env.num_envs``, matters
more than most settings: returns follow the number of updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from marl.envs.kinds import small
from marl.settings.base import Tree, laid_over


@dataclass(frozen=True)
class Preset:
    """Settings for one kind of task."""

    shared: Tree
    """A tree of settings, as a configuration file would have it."""
    own: Mapping[str, Tree] = field(default_factory=dict)
    """By algorithm, the tree that is laid over it."""

    def of(self, algorithm: str) -> Tree:
        """The settings of one algorithm's training."""
        return laid_over(self.shared, self.own.get(algorithm, {}))


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


def _hard(interval: int) -> Tree:
    """The learner's targets as copies, made anew after so many updates."""
    return {"target_update": "hard", "target_interval": interval}


_COMA: Tree = {
    "env": {"num_envs": 10},
    "learner": {"lr": 3e-4, **_hard(200)},
    "algorithm": {"entropy": 0.001},
}
_PPO: Tree = {
    "env": {"num_envs": 10},
    "learner": {"lr": 3e-4},
    "algorithm": {"epochs": 4, "clip": 0.2, "entropy": 0.001},
}


def _equal(kind: str) -> Preset:
    return Preset({} if small(kind) else laid_over(_LONG, {"learner": {"lr": 1e-3}}))


def _epymarl(kind: str) -> Preset:
    maddpg: Tree = {
        "learner": {"replay_capacity": 50_000, **_hard(200)},
        "algorithm": {"logit_penalty": 0.001},
    }
    coma = laid_over(_COMA, {"agent": {"hidden": 64}})
    return Preset(_LONG, {"coma": coma, "maddpg": maddpg, "ippo": _PPO, "mappo": _PPO})


_LIKE_QMIX = ("iql", "vdn", "qmix", "qplex", "owqmix", "cwqmix", "qtran", "maser")
"""Value decompositions that the authors have no settings for, and QMIX."""


def _paper(kind: str) -> Preset:
    return _football() if kind == "football" else _gymma()


def _gymma() -> Preset:
    shared = laid_over(
        _LONG,
        {
            "learner": {"updates_per_rollout": 1, "standardise_states": False},
            "evaluation": {"epsilon": 0.05},
            "gate": {"scale_by_agents": True},
        },
    )
    theirs: Tree = {"learner": {"lr": 3e-4}, "env": {"num_envs": 6}}
    maddpg: Tree = {  # one environment and an update after each episode: the same ratio
        "learner": {"lr": 3e-3, "replay_capacity": 10_000, "updates_per_rollout": 8, **_hard(200)},
        "algorithm": {"logit_penalty": 0.001},
    }
    return Preset(
        shared,
        {
            **dict.fromkeys(_LIKE_QMIX, theirs),
            "qmix": {**theirs, "algorithm": {"mixing_dim": 32, "hypernet_dim": 32}},
            "qllm": {"learner": {"lr": 1e-3, "batch_size": 64}},
            "qatten": {  # targets are copied every 200 episodes: after 25 rollouts of 8
                "agent": {"last_action": True},
                "learner": {"lr": 1e-3, "batch_size": 128, "td_lambda": 0.6, **_hard(25)},
                "exploration": {"anneal_steps": 100_000},
                "algorithm": {"weighted_head": True},
            },
            "coma": _COMA,
            "maddpg": maddpg,
            "facmac": maddpg,
            "riit": {  # two batches for each rollout, and copies every 200 episodes
                "agent": {"last_action": True},
                "learner": {"lr": 1e-3, "batch_size": 64, **_hard(50)},
                "algorithm": {"newest": 32, "newest_lambda": 0.6, "entropy": 0.03},
            },
            "ippo": _PPO,
            "mappo": _PPO,
        },
    )


def _football() -> Preset:
    shared = laid_over(
        _LONG,
        {
            "env": {"num_envs": 16},
            "agent": {"hidden": 256},
            "learner": {
                "batch_size": 128,
                "updates_per_rollout": 1,
                "replay_capacity": 2000,
                "td_lambda": 1.0,
                "target_update": "hard",
                "target_interval": 1,
                "standardise_states": False,
                **_hard(1),
            },
            "exploration": {"anneal_steps": 100_000},
            "evaluation": {"every": 10_000, "episodes": 32},
            "gate": {"scale_by_agents": True},
        },
    )
    maddpg: Tree = {  # as above
        "learner": {
            "lr": 3e-3,
            "batch_size": 32,
            "replay_capacity": 10_000,
            "updates_per_rollout": 16,
            "td_lambda": 0.0,
        },
        "algorithm": {"logit_penalty": 0.001},
    }
    return Preset(
        shared,
        {
            "qllm": {"learner": {"gamma": 0.999}},
            "qatten": {
                "learner": {"replay_capacity": 5000},
                "algorithm": {"weighted_head": True},
            },
            "coma": {"learner": _hard(30), "algorithm": {"entropy": 0.001}},
            "maddpg": maddpg,
            "facmac": maddpg,
            "riit": {  # its critic's learning rate is twice as large there
                "learner": {"batch_size": 64, "replay_capacity": 5000, **_hard(2)},
                "algorithm": {"newest": 32, "newest_lambda": 0.6, "entropy": 0.03},
            },
        },
    )


PRESETS: dict[str, Callable[[str], Preset]] = {
    "equal": _equal,
    "epymarl": _epymarl,
    "paper": _paper,
}
"""By name: a function of the kind of environment that the task's card names."""
