"""A batch of episodes as an algorithm reads it: packed, each part worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from marl.episodes import Episodes
from marl.packing import Packing


@dataclass(frozen=True)
class Batch:
    """Episodes and their packing: M moments that were reached and S steps that happened."""

    episodes: Episodes
    packing: Packing
    newest: bool = False
    """They are the newest episodes, and not drawn at random."""

    @classmethod
    def of(cls, episodes: Episodes, *, newest: bool = False) -> Batch:
        """A batch of episodes."""
        return cls(episodes, Packing.of(episodes), newest)

    def moments(self, values: Tensor) -> Tensor:
        """``[E, T + 1, ...]`` -> ``[M, ...]``."""
        return self.packing.of_moments(values)

    def steps(self, values: Tensor) -> Tensor:
        """``[E, T, ...]`` -> ``[S, ...]``."""
        return self.packing.of_steps(values)

    def spread(self, values: Tensor) -> Tensor:
        """``[S, ...]`` -> ``[E, T, ...]``, zero where no step happened."""
        return self.packing.spread(values, *self.episodes.filled.shape)

    @property
    def counts(self) -> list[int]:
        """Episodes that have a moment 0, 1, ...; their sum is M."""
        return self.packing.counts

    @property
    def current(self) -> Tensor:
        """int64 ``[S]``: the moment that each step began at."""
        return self.packing.now

    @property
    def next(self) -> Tensor:
        """int64 ``[S]``: the moment after each step; after a terminal one, the one it began at."""
        return self.packing.then

    @cached_property
    def obs(self) -> Tensor:
        """``[M, n, o]``"""
        return self.moments(self.episodes.obs)

    @cached_property
    def last_actions(self) -> Tensor:
        """int64 ``[M, n]``, -1 at the first moment of an episode."""
        return self.moments(self.episodes.last_actions())

    @cached_property
    def state(self) -> Tensor:
        """``[M, s]``"""
        return self.moments(self.episodes.state)

    @cached_property
    def avail(self) -> Tensor:
        """bool ``[M, n, a]``"""
        return self.moments(self.episodes.avail)

    @cached_property
    def actions(self) -> Tensor:
        """int64 ``[S, n]``"""
        return self.steps(self.episodes.actions)

    @cached_property
    def reward(self) -> Tensor:
        """``[S]``, the team's."""
        return self.steps(self.episodes.reward)

    @cached_property
    def rewards(self) -> Tensor:
        """``[S, n]``, each agent's own, where they are kept; else the team's ``[S, 1]``."""
        return self.steps(self.episodes.rewards)

    @cached_property
    def terminated(self) -> Tensor:
        """bool ``[S]``"""
        return self.steps(self.episodes.terminated)

    def extra(self, name: str) -> Tensor:
        """``[S, ...]``: what the policy or the algorithm kept of each step under a name."""
        return self.steps(self.episodes.extras[name])
