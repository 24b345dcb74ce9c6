"""Whole episodes as tensors: rollouts make them, the replay keeps them, the learner reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from marl.settings.learner import LearnerConfig

EXTRA = "extra."
"""Before the names of `Episodes.extras` among those of all tensors."""

INDIVIDUAL = "individual_reward"
"""Among `Episodes.extras`, where they are asked for: the agents' own rewards, ``[E, T, n]``."""


def own_rewards(config: LearnerConfig, n_agents: int) -> dict[str, tuple[int, ...]]:
    """The shape of a step's own rewards by their name, where the settings ask for them."""
    return {INDIVIDUAL: (n_agents,)} if config.individual else {}


@dataclass(frozen=True)
class Episodes:
    """E episodes of at most T steps. n agents, o features, s state columns, a actions.

    Rows after an episode's end repeat what it showed last, so that every row holds a state that
    the task can really be in; ``filled`` says which steps happened.
    """

    obs: Tensor
    """``[E, T+1, n, o]``"""
    state: Tensor
    """``[E, T+1, s]``"""
    avail: Tensor
    """bool ``[E, T+1, n, a]``"""
    actions: Tensor
    """int64 ``[E, T, n]``"""
    reward: Tensor
    """``[E, T]``, the team's; 0 where not filled"""
    terminated: Tensor
    """bool ``[E, T]``: true at a terminal step; a truncated episode has none"""
    filled: Tensor
    """bool ``[E, T]``: the step happened; true up to the episode's last step"""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """``[E, T, ...]`` by name: what an algorithm keeps of each step"""

    @classmethod
    def from_named(cls, tensors: Mapping[str, Tensor]) -> Episodes:
        """The inverse of `named`."""
        own = {f.name for f in fields(cls)}
        extras = {k.removeprefix(EXTRA): v for k, v in tensors.items() if k not in own}
        return cls(**{k: v for k, v in tensors.items() if k in own}, extras=extras)

    def named(self) -> dict[str, Tensor]:
        """The tensors by name; those of `extras` with ``extra.`` before it."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extras"}
        return {**own, **{EXTRA + name: value for name, value in self.extras.items()}}

    def first(self, count: int) -> Episodes:
        """The first ``count`` of them, or all."""
        return self.from_named({name: value[:count] for name, value in self.named().items()})

    def where(self, kept: Tensor) -> Episodes:
        """Those of ``kept``, bool ``[E]``."""
        return self.from_named({name: value[kept] for name, value in self.named().items()})

    def with_extras(self, **extras: Tensor) -> Episodes:
        """The same episodes with more kept of each step."""
        return replace(self, extras={**self.extras, **extras})

    @property
    def count(self) -> int:
        """Number of episodes, E."""
        return self.filled.shape[0]

    def lengths(self) -> Tensor:
        """int64 ``[E]``: steps of each episode."""
        return self.filled.sum(1)

    def returns(self) -> Tensor:
        """``[E]``: the undiscounted sum of each episode's team rewards."""
        return self.reward.sum(1)

    @property
    def rewards(self) -> Tensor:
        """``[E, T, n]``, each agent's own, where they are kept; else the team's ``[E, T, 1]``."""
        own = self.extras.get(INDIVIDUAL)
        return self.reward[..., None] if own is None else own

    def in_unit(self, scale: float) -> Episodes:
        """The same episodes with all rewards divided by ``scale``."""
        own = {k: v / scale for k, v in self.extras.items() if k == INDIVIDUAL}
        return replace(self, reward=self.reward / scale, extras={**self.extras, **own})

    def last_actions(self) -> Tensor:
        """int64 ``[E, T+1, n]``: the action before each moment, -1 at the first."""
        first = torch.full_like(self.actions[:, :1], -1)
        return torch.cat([first, self.actions], 1)

    def shortened(self, steps: int) -> Episodes:
        """The first ``steps`` steps (and the moment after them)."""
        longer = {"obs", "state", "avail"}
        return self.from_named(
            {k: v[:, : steps + 1] if k in longer else v[:, :steps] for k, v in self.named().items()}
        )
