"""Repeated matrix games: any pay-off array, played over and over within an episode.

Source: Claus and Boutilier (1998) for the games; Papoudakis et al. (2021) for repeating them.

- The state is the last joint action as action numbers, -1 before the first step, as in the paper.
- An agent's observation is its own last action, one-hot, all zero before the first step; with
  ``env.observe=joint`` it is everybody's, one after the other. Deviation: EPyMARL's "nostate" games
  show a constant. Numbers would suggest an order among the actions, so one-hot.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.errors import SettingsError, near_names
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard


def _payoff(card: TaskCard) -> Tensor:
    """The card's pay-off array, float64 ``[a] * n``."""
    for key in card.env.options:
        if key != "payoff":
            hint = near_names(key, ["payoff"])
            raise SettingsError(f"task '{card.name}': unknown matrix game option '{key}': {hint}")
    wanted = [card.n_actions] * card.n_agents
    try:
        payoff = torch.tensor(card.env.options["payoff"], dtype=torch.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        payoff = torch.empty(0)
    if list(payoff.shape) != wanted or not payoff.float().isfinite().all():
        raise SettingsError(
            f"task '{card.name}': env.options.payoff must be a nested list of finite numbers of "
            f"shape {wanted} (one axis per agent, one entry per action)"
        )
    return payoff


class MatrixGame(BatchedEnv):
    """A repeated matrix game; see the module's text for state and observations."""

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
    ) -> None:
        payoff = _payoff(card)
        n, a = card.n_agents, card.n_actions
        if card.state_dim != n:
            raise SettingsError(
                f"task '{card.name}': a matrix game's state is the last joint action, "
                f"{n} columns, but the card declares {card.state_dim}"
            )
        self._joint = config.observe == "joint"
        super().__init__(
            num_envs=num_envs,
            n_agents=n,
            n_actions=a,
            obs_dim=n * a if self._joint else a,
            state_dim=n,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self._payoff = payoff.to(device, dtype)
        self._avail = torch.ones(num_envs, n, a, dtype=torch.bool, device=device)
        self._last = torch.full((num_envs, n), -1, dtype=torch.int64, device=device)

    def _restart(self, mask: Tensor) -> None:
        self._last = self._last.masked_fill(mask[:, None], -1)

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._last = torch.where(active[:, None], actions, self._last)
        return self._payoff[actions.unbind(-1)], self._none

    def _observe(self) -> Observation:
        seen = F.one_hot(self._last + 1, self.n_actions + 1)[..., 1:].to(self.dtype)  # [B, n, a]
        if self._joint:
            seen = seen.flatten(1)[:, None].expand(-1, self.n_agents, -1)
        return Observation(seen, self._last.to(self.dtype), self._avail)

    def _world(self) -> dict[str, Tensor]:
        return {"last": self._last}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        self._last = world["last"]
