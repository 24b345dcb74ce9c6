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

Known differences from the reference:

- The team is paid the collected food's level divided by all food's at the start. The reference adds
  up the players' shares of the same number, which can differ in the last place of a float64.
- The reference does not put a player where one that is yet to be placed ended its *previous*
  episode. Here every episode is drawn as the reference draws its first one.
- The reference tries 1,000 random cells and then leaves the rest of the food out; here food is left
  out only where no cell is free. On grids that are not crowded neither ever happens.
"""

from __future__ import annotations

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.envs.config import EnvConfig
from marl.errors import SettingsError, near_names
from marl.settings import Settings
from prompts.cards import TaskCard

_ACTIONS = 6
_MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""(rows, columns) of none, north, south, west, east, load."""
_LOAD = 5
_SIDES = 5
"""Where the food beside a player lies: nowhere, or in the direction of actions 1 to 4."""
_MAX_PLAYER_LEVEL = 2
_HELPERS = 3
"""Food is never above the level that this many players, the weakest, have together."""
_FOOD_SPACING = 3
"""Smallest number of steps from one food to another."""


class LbfOptions(Settings):
    """What a card's ``env.options`` say. The limits are those of the tables' memory."""

    size: int = Field(strict=True, ge=3, le=50, description="rows and columns of the grid")
    players: int = Field(strict=True, ge=1, le=64)
    foods: int = Field(strict=True, ge=1, le=64)
    sight: int = Field(strict=True, ge=1, description="cells seen in each direction")
    coop: bool = Field(strict=True, description="every food has the highest level that it may have")

    @property
    def max_food_level(self) -> int:
        return _MAX_PLAYER_LEVEL * min(self.players, _HELPERS)


def _options(card: TaskCard) -> LbfOptions:
    def refuse(what: str) -> SettingsError:
        return SettingsError(f"task '{card.name}': level-based foraging: {what}")

    try:
        options = LbfOptions.model_validate(card.env.options)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            hint = near_names(name, LbfOptions.model_fields)
            raise refuse(f"unknown option '{name}': {hint}") from None
        if first["type"] == "missing":
            raise refuse(f"env.options needs '{name}'") from None
        raise refuse(f"env.options.{name} is {first['input']!r}: {first['msg']}") from None
    n, m = options.players, options.foods
    if n > options.size**2:
        raise refuse(f"{n} players have no room on {options.size} x {options.size} cells")
    if (card.n_agents, card.n_actions) != (n, _ACTIONS):
        raise refuse(
            f"{n} players with {_ACTIONS} actions need n_agents: {n} and n_actions: {_ACTIONS}, "
            f"but the card declares {card.n_agents} and {card.n_actions}"
        )
    if card.state_dim != 4 * n + 3 * m:
        raise refuse(
            f"the state of {n} players and {m} foods has {4 * n + 3 * m} columns (row, column and "
            f"level of each, last actions), but the card declares {card.state_dim}"
        )
    return options


class _Tables:
    """Everything about cells that a step looks up instead of computing it.

    Entities are *codes*: with N cells, a player on a cell is that cell's number, a food on a cell
    is N plus it, and a collected food is 2N. What a player sees of an entity is a *key*, laid out
    so that sorting the keys gives the order of the observation: foods in sight by place, foods
    out of sight, players in sight (oneself first), players out of sight.
    """

    def __init__(self, options: LbfOptions, device: torch.device, dtype: torch.dtype) -> None:
        n, m, size = options.players, options.foods, options.size
        sight = min(options.sight, size - 1)
        cells = size * size
        self.cells, self.codes, self.gone = cells, 2 * cells + 1, 2 * cells
        levels = max(options.max_food_level, _MAX_PLAYER_LEVEL) + 1
        side = min(2 * sight + 1, size)
        places = side * side  # as many as the part of the grid that is seen can have

        place = torch.stack([torch.arange(cells) // size, torch.arange(cells) % size], -1)  # [N, 2]
        apart = place[None] - place[:, None]  # from the first axis to the second, [N, N, 2]
        shown = place[None] - (place[:, None] - sight).clamp(min=0)
        at = shown[..., 0] * side + shown[..., 1]
        player_seen = ((shown >= 0) & (shown <= 2 * sight)).all(-1)
        food_seen = (apart.abs() <= sight).all(-1)
        self.seen = (
            torch.cat(
                [
                    torch.where(player_seen, at, n * places),
                    torch.where(food_seen, at, places),
                    torch.full((cells, 1), places),
                ],
                dim=1,
            )
            .mul(levels)
            .to(device, torch.int32)
            .flatten()
        )
        """int32 ``[N * codes]``: the part of an entity's key that depends on the two places."""
        food_keys = (places + 1) * levels
        me, other = torch.arange(n)[:, None], torch.arange(n)[None]
        rank = torch.where(other < me, other + 1, other).masked_fill(me == other, 0)
        self.key_base = (
            torch.cat([food_keys + rank * places * levels, torch.zeros(n, m)], 1)
            .to(device, torch.int32)
            .contiguous()
        )
        """int32 ``[n, n + m]``: the part that depends on who looks at whom; the level is added."""
        key = torch.arange(food_keys + 2 * n * places * levels)
        slot = key // levels
        is_food = slot <= places
        hidden = torch.where(is_food, slot == places, slot > places + n * places)
        where = torch.where(is_food, slot, slot - places - 1) % places
        decoded = torch.stack([where // side, where % side, key % levels], -1)
        nothing = torch.tensor([-1, -1, 0])
        self.decoded = torch.where(hidden[:, None], nothing, decoded).to(device, dtype)
        """``[keys, 3]``: what a key stands for in an observation."""

        entity = torch.arange(levels * self.codes)
        code, level = entity % self.codes, entity // self.codes
        rows = torch.cat([place[code % cells], level[:, None]], 1)
        self.described = torch.where((code == self.gone)[:, None], nothing, rows).to(device, dtype)
        """``[levels * codes, 3]``: (row, column, level) of an entity's code and level."""

        self.stride = _SIDES * m * _ACTIONS
        beside = torch.zeros(cells, self.codes, dtype=torch.int32)
        for action in range(1, _LOAD):
            there = (apart == torch.tensor(_MOVES[action])).all(-1)
            beside[:, cells:-1] += there * (action * m * _ACTIONS)
        self.beside = beside.flatten().to(device)
        """int32 ``[N * codes]``: the side on which a food lies, in units of ``m * actions``."""
        self.slots = (torch.arange(m, dtype=torch.int32) * _ACTIONS).to(device)

        # Indexed by [cell, side of the food beside it, which food, action].
        shape = (cells, _SIDES, m, _ACTIONS)
        goal = place[:, None] + torch.tensor(_MOVES)  # [N, actions, 2]
        inside = ((goal >= 0) & (goal < size)).all(-1)[:, None]
        free = inside & (torch.arange(_SIDES)[:, None] != torch.arange(_ACTIONS))
        free |= torch.arange(_ACTIONS) == 0
        wanted = (goal[..., 0] * size + goal[..., 1])[:, None]
        wanted = torch.where(free, wanted, torch.arange(cells)[:, None, None])
        self.wanted = wanted[:, :, None].expand(shape).flatten().to(device)
        """int64: the cell that a player wants to be on."""
        loads = torch.full(shape, m)
        loads[:, 1:, :, _LOAD] = torch.arange(m)
        self.loads = loads.flatten().to(device)
        """int64: the food that a player loads; m for none."""

        self.inner = ((place > 0) & (place < size - 1)).all(-1).to(device)
        """bool ``[N]``: where food may lie."""
        distance = torch.cat([apart.abs().sum(-1), torch.full((1, cells), 2 * size)])
        self.beyond_player = (distance > 0).to(device)
        self.beyond_food = (distance >= _FOOD_SPACING).to(device)
        """bool ``[N + 1, N]``: cells that stay free when a cell is taken; N takes none."""


def _draw_cell(free: Tensor, luck: Tensor) -> Tensor:
    """A uniformly random free cell per row: ``[B]``, N where none of the N cells is free.

    Args:
        free: bool ``[B, N]``.
        luck: uniform numbers ``[B]``.
    """
    count = free.cumsum(1)
    wanted = (luck * count[:, -1]).long()
    return (count <= wanted[:, None]).sum(1)


class Foraging(BatchedEnv):
    """Level-based foraging; see the module's text for state, observations and rules."""

    # The world, all int64; `_load_world` says what it holds.
    _player: Tensor
    _player_level: Tensor
    _food: Tensor
    _food_level: Tensor
    _last: Tensor
    # What follows from it.
    _level_rest: Tensor
    _key_rest: Tensor
    _spawned: Tensor
    _strength: Tensor
    _entities: Tensor
    _pairs: Tensor
    _at: Tensor

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
    ) -> None:
        options = _options(card)
        n, m = options.players, options.foods
        super().__init__(
            num_envs=num_envs,
            n_agents=n,
            n_actions=_ACTIONS,
            obs_dim=3 * (n + m),
            state_dim=card.state_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self._n_foods, self._coop = m, options.coop
        self._tables = _Tables(options, device, dtype)
        self._avail = torch.ones(num_envs, n, _ACTIONS, dtype=torch.bool, device=device)

        def full(columns: int, value: int) -> Tensor:
            return torch.full((num_envs, columns), value, dtype=torch.int64, device=device)

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
        tables, n, m = self._tables, self.n_agents, self._n_foods
        luck = self.streams.uniform(2 * (n + m), dtype=torch.float64, mask=mask)
        levels, food_levels, places = luck.split((n, m, n + m), 1)
        level = (levels * _MAX_PLAYER_LEVEL).long() + 1
        free = torch.ones(self.num_envs, tables.cells, dtype=torch.bool, device=self.device)
        player, food = [], []
        for i in range(n):
            player.append(_draw_cell(free, places[:, i]))
            free = free & tables.beyond_player[player[-1]]
        free = free & tables.inner
        for j in range(n, n + m):
            food.append(_draw_cell(free, places[:, j]))
            free = free & tables.beyond_food[food[-1]]
        code = torch.stack(food, 1).sort(1).values + tables.cells
        most = level.sort(1).values[:, :_HELPERS].sum(1, keepdim=True)
        need = most.expand(-1, m) if self._coop else (food_levels * most).long() + 1
        fresh = {
            "player": torch.stack(player, 1),
            "player_level": level,
            "food": code,
            "food_level": need * (code != tables.gone),
            "last": torch.full_like(level, -1),
        }
        chosen = mask[:, None]
        self._load_world({k: torch.where(chosen, fresh[k], v) for k, v in self._world().items()})

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        moving = active[:, None]
        self._last = torch.where(moving, actions, self._last)
        choice = self._at + actions * moving  # the frozen choose to stay
        wanted = self._tables.wanted.take(choice)
        rivals = (wanted[:, :, None] == wanted[:, None]).sum(-1)  # itself included
        self._player = torch.where(rivals == 1, wanted, self._player)

        strength = torch.zeros_like(self._strength).scatter_add_(
            1, self._tables.loads.take(choice), self._player_level
        )
        collected = strength[:, :-1] >= self._food_level  # [B, m]; never again once collected
        reward = (self._food_level * collected).sum(-1) / self._spawned
        self._food = self._food.masked_fill(collected, self._tables.gone)
        self._look()
        return reward, (self._food == self._tables.gone).all(-1)

    def _look(self) -> None:
        """Find out who is where to whom, after players or foods have changed."""
        entities = torch.cat((self._player, self._food), 1)  # [B, n + m]
        self._entities = entities
        pairs = entities[:, None] + (self._player * self._tables.codes)[:, :, None]
        self._pairs = pairs  # [B, n, n + m]
        # At most one food lies beside a player; of the sides and slots, the largest is that one's.
        beside = self._tables.beside.take(pairs[..., self.n_agents :]) + self._tables.slots
        self._at = self._player * self._tables.stride + beside.amax(-1)

    def _observe(self) -> Observation:
        tables = self._tables
        keys = (tables.seen.take(self._pairs) + self._key_rest).sort(-1).values
        obs = torch.embedding(tables.decoded, keys).flatten(2)
        described = torch.embedding(tables.described, self._entities + self._level_rest)
        state = torch.cat((described.flatten(1), self._last), 1)
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
        """The world is int64: ``player`` ``[B, n]`` and ``food`` ``[B, m]`` are codes (`_Tables`);
        ``food_level`` ``[B, m]`` is the level at the start, 0 of a food that was left out."""
        self._player, self._player_level = world["player"], world["player_level"]
        self._food, self._food_level = world["food"], world["food_level"]
        self._last = world["last"]
        # What follows from the levels stays the same for a whole episode.
        levels = torch.cat((self._player_level, self._food_level), 1)
        self._level_rest = levels * self._tables.codes
        self._key_rest = levels.to(torch.int32)[:, None] + self._tables.key_base
        self._spawned = self._food_level.sum(-1).clamp(min=1).to(self.dtype)
        self._strength = torch.zeros(
            self.num_envs, self._n_foods + 1, dtype=torch.int64, device=self.device
        )
        self._look()
