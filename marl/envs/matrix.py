"""Repeated matrix games: any pay-off array, played over and over within an episode.

A card may list several arrays (``payoffs``). Each step draws one of them, all equally likely; its
number is the state's last column, and the agents do not see it.

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
from marl.settings.env import MatrixEnvConfig
from prompts.cards import TaskCard


def _payoffs(card: TaskCard) -> Tensor:
    """The card's pay-off arrays, float64 ``[k] + [a] * n``; one unless it lists ``payoffs``."""
    options = card.env.options
    for key in options:
        if key not in ("payoff", "payoffs"):
            hint = near_names(key, ["payoff", "payoffs"])
            raise SettingsError(f"task '{card.name}': unknown matrix game option '{key}': {hint}")
    wanted = [card.n_actions] * card.n_agents
    try:
        (tables,) = [[given] if key == "payoff" else given for key, given in options.items()]
        payoffs = torch.tensor(tables, dtype=torch.float64)
    except (TypeError, ValueError, OverflowError):
        payoffs = torch.empty(0)
    if list(payoffs.shape[1:]) != wanted or not payoffs.float().isfinite().all():
        raise SettingsError(
            f"task '{card.name}': env.options.payoff must be a nested list of finite numbers of "
            f"shape {wanted} (one axis per agent, one entry per action), or env.options.payoffs a "
            "list of several such"
        )
    return payoffs


class MatrixGame(BatchedEnv):
    """A repeated matrix game; see the module's text for state and observations."""

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: MatrixEnvConfig,
    ) -> None:
        payoffs = _payoffs(card)
        n, a, self._several = card.n_agents, card.n_actions, len(payoffs) > 1
        if card.state_dim != n + self._several:
            raise SettingsError(
                f"task '{card.name}': the state is the last joint action and, of several "
                f"arrays, the number of the one that counts: {n + self._several} columns, "
                f"but the card declares {card.state_dim}"
            )
        self._joint = config.observe == "joint"
        super().__init__(
            num_envs=num_envs,
            n_agents=n,
            n_actions=a,
            obs_dim=n * a if self._joint else a,
            state_dim=n + self._several,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self._payoffs = payoffs.to(device, dtype)
        self._avail = torch.ones(num_envs, n, a, dtype=torch.bool, device=device)
        self._last = torch.full((num_envs, n), -1, dtype=torch.int64, device=device)
        self._which = torch.zeros(num_envs, dtype=torch.int64, device=device)

    def _restart(self, mask: Tensor) -> None:
        self._draw(mask)
        self._last = self._last.masked_fill(mask[:, None], -1)

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._last = torch.where(active[:, None], actions, self._last)
        reward = self._payoffs[self._which, *actions.unbind(-1)]
        self._draw(active)
        return reward, self._none

    def _draw(self, mask: Tensor) -> None:
        """Which array counts in the next step."""
        if self._several:
            drawn = (self.streams.uniform(mask=mask) * len(self._payoffs)).long()
            self._which = torch.where(mask, drawn, self._which)

    def _observe(self) -> Observation:
        seen = F.one_hot(self._last + 1, self.n_actions + 1)[..., 1:].to(self.dtype)  # [B, n, a]
        if self._joint:
            seen = seen.flatten(1)[:, None].expand(-1, self.n_agents, -1)
        state = torch.cat([self._last, self._which[:, None]], 1) if self._several else self._last
        return Observation(seen, state.to(self.dtype), self._avail)

    def _world(self) -> dict[str, Tensor]:
        return {"last": self._last, "which": self._which}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        self._last, self._which = world["last"], world["which"]
