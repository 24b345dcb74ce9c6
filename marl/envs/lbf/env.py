"""Level-based foraging: players of different levels walk a grid and collect food together.

Source: Albrecht and Ramamoorthy (2013); the rules, observations and rewards are those of lbforaging
2.0.0 (the ids ``Foraging-...-v3``, vector observations), as EPyMARL plays it.

- The state is (row, column, level) of each player and of each food, then the last action that each
  player *chose* (-1 before the first step), as in the paper. Foods are listed in the order in which
  they lie on the grid, row by row; a collected one keeps its place and reads (-1, -1, 0).
- A player's observation is (row, column, level) of the foods in sight, of itself and of the other
  players in sight, counted from the corner of the part of the grid that it sees. What is in sight
  comes first in each of the two lists, the rest is filled up with (-1, -1, 0). A habit of the
  reference is kept: a player within ``sight`` cells of the upper or left border sees players (not
  food) as far as 2 * sight cells from that border.
- A move off the grid or against food, and loading beside no food, count as staying. Whoever wants a
  cell that nobody else wants gets it. So two players may change places, and a player may enter the
  cell of one who wanted to leave and could not: then both stand there, as in the reference.
- Loading happens where the players stood before the step. The reference takes the loading players
  in the arbitrary order of a set. That order cannot matter: foods are spawned at least three steps
  apart, so no player ever stands beside two.
- All actions are always available, as EPyMARL has it.
- Of a collected food's worth each player that loads it is paid the share that its level has in the
  levels of all who load it.

Known differences from the reference:

- The team is paid the collected food's level divided by all food's at the start. The reference adds
  up the players' shares of the same number, which can differ in the last place of a float64.
- The reference does not put a player where one that is yet to be placed ended its *previous*
  episode. Here every episode is drawn as the reference draws its first one.
- The reference tries 1,000 random cells and then leaves the rest of the food out; here food is left
  out only where no cell is free. On grids that are not crowded neither ever happens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.envs.lbf.options import N_ACTIONS, read_options
from marl.envs.lbf.spawn import numbers_needed, spawn
from marl.envs.lbf.tables import Tables
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard


class Foraging(BatchedEnv):
    """Level-based foraging; see the module's text for state, observations and rules.

    Raises:
        SettingsError: the card's options cannot be played or do not fit its sizes.
    """

    individual: ClassVar[bool] = True

    # The world, all int64: what `spawn` returns, and the last actions.
    _player: Tensor
    _player_level: Tensor
    _food: Tensor
    _food_level: Tensor
    _last: Tensor
    # What follows from levels, and so stays the same for a whole episode.
    _key_rest: Tensor
    _described_rest: Tensor
    _spawned: Tensor
    # What follows from places, and changes with every step.
    _entities: Tensor
    _pairs: Tensor
    _situation: Tensor
    # Of the last step: which food each player loads, the levels that load each food, and which
    # foods were collected.
    _loading: tuple[Tensor, Tensor, Tensor]

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
    ) -> None:
        self.options = read_options(card)
        n, m = self.options.players, self.options.foods
        super().__init__(
            num_envs=num_envs,
            n_agents=n,
            n_actions=N_ACTIONS,
            obs_dim=3 * (n + m),
            state_dim=card.state_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self._n_foods = m
        self._tables = Tables(self.options, device, dtype)
        self._avail = torch.ones(num_envs, n, N_ACTIONS, dtype=torch.bool, device=device)

        def full(columns: int, value: int) -> Tensor:
            return torch.full((num_envs, columns), value, dtype=torch.int64, device=device)

        self._idle = full(m + 1, 0)
        self._load_world(
            {
                "player": full(n, 0),
                "player_level": full(n, 1),
                "food": full(m, self._tables.gone),
                "food_level": full(m, 0),
                "last": full(n, -1),
            }
        )

    def _restart(self, mask: Tensor) -> None:
        count = numbers_needed(self.options)
        luck = self.streams.uniform(count, dtype=torch.float64, mask=mask)
        fresh = spawn(self.options, self._tables, luck)
        fresh["last"] = torch.full_like(self._last, -1)
        chosen = mask[:, None]
        self._load_world({k: torch.where(chosen, fresh[k], v) for k, v in self._world().items()})

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        tables, moving = self._tables, active.unsqueeze(1)
        self._last = torch.where(moving, actions, self._last)
        choice = self._situation + actions * moving  # the frozen choose to stay
        wanted = tables.wanted.take(choice)
        contenders = (wanted.unsqueeze(2) == wanted.unsqueeze(1)).sum(-1)  # the player included
        self._player = torch.where(contenders == 1, wanted, self._player)

        # Levels loading each food, with one column more for those who load none.
        loads = tables.loads.take(choice)
        strength = self._idle.scatter_add(1, loads, self._player_level)
        collected = strength.narrow(1, 0, self._n_foods) >= self._food_level
        self._loading = loads, strength, collected
        reward = (self._food_level * collected).sum(-1) / self._spawned
        self._food = self._food.masked_fill(collected, tables.gone)
        self._look()
        return reward, (self._food == tables.gone).all(-1)

    def _individual_rewards(self) -> Tensor:
        loads, strength, collected = self._loading
        worth = F.pad(self._food_level * collected, (0, 1)).gather(1, loads)  # [B, n]
        shared_by = strength.gather(1, loads) * self._spawned.unsqueeze(1)
        return self._player_level * worth / shared_by

    def _look(self) -> None:
        """Find out who stands where to whom, after a player or a food has changed."""
        tables = self._tables
        self._entities = torch.cat((self._player, self._food), 1)  # [B, n + m]
        viewer = (self._player * tables.n_codes).unsqueeze(2)
        self._pairs = viewer + self._entities.unsqueeze(1)  # [B, n, n + m]
        foods = self._pairs.narrow(2, self.n_agents, self._n_foods)
        # At most one food lies beside a player, and it has the largest of these numbers.
        beside = (tables.beside.take(foods) + tables.slots).amax(-1)
        self._situation = self._player * tables.stride + beside

    def _observe(self) -> Observation:
        tables = self._tables
        keys = (tables.seen.take(self._pairs) + self._key_rest).sort(-1).values
        obs = torch.embedding(tables.shown, keys).flatten(2)
        entities = torch.embedding(tables.described, self._entities + self._described_rest)
        state = torch.cat((entities.flatten(1), self._last), 1)
        return Observation(obs, state, self._avail)

    def _world(self) -> dict[str, Tensor]:
        return {
            "player": self._player,
            "player_level": self._player_level,
            "food": self._food,
            "food_level": self._food_level,
            "last": self._last,
        }

    def _load_world(self, world: dict[str, Tensor]) -> None:
        self._player, self._player_level = world["player"], world["player_level"]
        self._food, self._food_level = world["food"], world["food_level"]
        self._last = world["last"]
        levels = torch.cat((self._player_level, self._food_level), 1)
        self._key_rest = levels.to(torch.int32).unsqueeze(1) + self._tables.key_base
        self._described_rest = levels * self._tables.n_codes
        self._spawned = self._food_level.sum(-1).clamp(min=1).to(self.dtype)
        self._look()
