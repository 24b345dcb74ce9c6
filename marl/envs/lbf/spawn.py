"""How an episode of level-based foraging begins.

As in the reference, one after the other: each player on a uniformly random cell that is free, then
each food on a uniformly random inner cell that holds no player and is at least three steps from
every other food. The reference finds such cells by trying; here the k-th of them is taken, k
uniformly random, which is the same distribution with one number per entity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marl.envs.lbf.options import HELPERS, MAX_PLAYER_LEVEL, LbfOptions
from marl.envs.lbf.tables import Tables


def numbers_needed(options: LbfOptions) -> int:
    """How many uniform random numbers one episode's beginning takes."""
    return 2 * (options.players + options.foods)


def spawn(options: LbfOptions, tables: Tables, luck: Tensor) -> dict[str, Tensor]:
    """Beginnings of episodes.

    Args:
        luck: uniform numbers, float64 ``[B, numbers_needed(options)]``.

    Returns:
        int64, with n players and m foods: ``player`` ``[B, n]`` and ``food`` ``[B, m]`` codes (see
        `marl.envs.lbf.tables`), foods in the order of their cells; ``player_level`` ``[B, n]``;
        ``food_level`` ``[B, m]``, 0 for a food that found no cell.
    """
    n, m = options.players, options.foods
    for_player, for_food, *places = luck.split((n, m, *[1] * (n + m)), 1)
    player_level = (for_player * MAX_PLAYER_LEVEL).long() + 1
    free = torch.ones(len(luck), tables.n_cells, dtype=torch.bool, device=luck.device)
    players, foods = [], []
    for place in places[:n]:
        players.append(_draw_cell(free, place))
        free = free & tables.beyond_player[players[-1]]
    free = free & tables.inner
    for place in places[n:]:
        foods.append(_draw_cell(free, place))
        free = free & tables.beyond_food[foods[-1]]
    food = torch.stack(foods, 1).sort(1).values + tables.n_cells
    most = player_level.sort(1).values[:, :HELPERS].sum(1, keepdim=True)
    level = most.expand(-1, m) if options.coop else (for_food * most).long() + 1
    return {
        "player": torch.stack(players, 1),
        "player_level": player_level,
        "food": food,
        "food_level": level * (food != tables.gone),
    }


def _draw_cell(free: Tensor, luck: Tensor) -> Tensor:
    """A uniformly random one of the free cells: int64 ``[B]``, N where none of N cells is free.

    Args:
        free: bool ``[B, N]``.
        luck: uniform numbers ``[B, 1]``.
    """
    count = free.cumsum(1, dtype=torch.int16)
    wanted = (luck * count[:, -1:]).to(torch.int16)
    return torch.searchsorted(count, wanted, right=True).squeeze(1)
