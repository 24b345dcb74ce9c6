"""Replay memory of whole episodes in preallocated tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from marl.episodes import EXTRA, Episodes

Extras = Mapping[str, tuple[int, ...]]
"""Shapes of what an algorithm keeps of each step, real numbers, by name."""


def _layout(
    t: int, n: int, a: int, o: int, s: int, real: torch.dtype, extras: Extras | None
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """By name of the tensors of `Episodes`: shape of one episode, and type."""
    kept = {EXTRA + name: ((t, *shape), real) for name, shape in (extras or {}).items()}
    return {
        "obs": ((t + 1, n, o), real),
        "state": ((t + 1, s), real),
        "avail": ((t + 1, n, a), torch.bool),
        "actions": ((t, n), torch.int64),
        "reward": ((t,), real),
        "terminated": ((t,), torch.bool),
        "filled": ((t,), torch.bool),
        **kept,
    }


class Replay:
    """The last ``capacity`` episodes, sampled uniformly without replacement.

    Args:
        capacity: E, episodes kept; the oldest is overwritten first.
        horizon: T, steps of the longest episode.
        n_agents, n_actions, obs_dim, state_dim: sizes n, a, o, s.
        seed: of the sampling, which owns its generator.
        device, dtype: of what is kept.
        extras: what else is kept of each step.
    """

    def __init__(
        self,
        capacity: int,
        horizon: int,
        *,
        n_agents: int,
        n_actions: int,
        obs_dim: int,
        state_dim: int,
        seed: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        extras: Extras | None = None,
    ) -> None:
        layout = _layout(horizon, n_agents, n_actions, obs_dim, state_dim, dtype, extras)
        self.capacity, self.size, self._next = capacity, 0, 0
        self._store = Episodes.from_named(
            {
                name: torch.zeros(capacity, *shape, dtype=kind, device=device)
                for name, (shape, kind) in layout.items()
            }
        )
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def names(self) -> list[str]:
        """Of the tensors that hold an episode in each row."""
        return list(self._store.named())

    @staticmethod
    def episode_bytes(
        horizon: int,
        *,
        n_agents: int,
        n_actions: int,
        obs_dim: int,
        state_dim: int,
        dtype: torch.dtype = torch.float32,
        extras: Extras | None = None,
    ) -> int:
        """Bytes of one episode, and so of a replay for each of its ``capacity``."""
        layout = _layout(horizon, n_agents, n_actions, obs_dim, state_dim, dtype, extras)
        return sum(math.prod(shape) * kind.itemsize for shape, kind in layout.values())

    def add(self, episodes: Episodes) -> None:
        """Keep new episodes (at most ``capacity`` at once) in the place of the oldest."""
        count = episodes.count
        if count > self.capacity:
            raise ValueError(f"{count} episodes do not fit a replay of {self.capacity}")
        places = torch.arange(self._next, self._next + count) % self.capacity
        new = episodes.named()
        for name, kept in self._store.named().items():
            kept[places.to(kept.device)] = new[name].to(kept.device)
        self._next = (self._next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, count: int) -> Episodes:
        """``count`` different episodes, cut to the longest of them.

        Raises:
            ValueError: fewer than ``count`` episodes are kept.
        """
        if count > self.size:
            raise ValueError(f"a sample of {count} from {self.size} episodes")
        which = torch.randperm(self.size, generator=self._generator)[:count]
        return self._at(which)

    def newest(self, count: int) -> Episodes:
        """The last ``count`` episodes added (fewer if there are fewer), the newest last."""
        count = min(count, self.size)
        return self._at(torch.arange(self._next - count, self._next) % self.capacity)

    def _at(self, which: Tensor) -> Episodes:
        kept = self._store.named().items()
        picked = Episodes.from_named({k: v[which.to(v.device)] for k, v in kept})
        longest = int(picked.lengths().max()) if len(which) else 0
        return picked if longest == picked.filled.shape[1] else picked.shortened(longest)

    def state_dict(self) -> dict[str, Tensor]:
        """What is kept (without the empty rest), where the next goes, and the generator."""
        return {
            **{k: v[: self.size] for k, v in self._store.named().items()},
            "next": torch.tensor(self._next),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            ValueError: the state is of a replay of other sizes.
        """
        for name, kept in self._store.named().items():
            given = state[name]
            if given.shape[1:] != kept.shape[1:] or len(given) > self.capacity:
                raise ValueError(
                    f"replay: '{name}' of shape {list(given.shape)} does not fit {list(kept.shape)}"
                )
            kept[: len(given)] = given.to(kept.device)
        self.size, self._next = len(state["filled"]), int(state["next"])
        self._generator.set_state(state["generator"].cpu())
