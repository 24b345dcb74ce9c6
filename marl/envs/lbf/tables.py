"""Everything about the cells of the grid that a step looks up instead of computing it.

With N cells, an entity is one number, its *code*: a player on a cell is that cell's number
(row * size + column), a food on a cell is N plus it, and a food that is gone is 2N. What a player
sees of an entity is one number too, a *key*, laid out so that sorting a player's keys gives the
order of its observation: foods in sight by place, foods out of sight, oneself, other players in
sight by number, players out of sight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marl.envs.lbf.options import MAX_PLAYER_LEVEL, N_ACTIONS, LbfOptions

LOAD = 5
_MOVES = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]])
"""(rows, columns) of each action"""
_SIDES = 5
"""Where the food beside a player lies: nowhere, or in the direction of action 1, 2, 3 or 4."""
_NOTHING = torch.tensor([-1, -1, 0])
_FOOD_SPACING = 3
"""Smallest number of steps from one food to another."""


class Tables:
    """The tables of one grid; n players, m foods, N cells, ``n_codes`` = 2N + 1.

    Attributes:
        n_cells: N.
        n_codes: number of codes of an entity.
        gone: the code of a food that is gone.
        seen: int32 ``[N * n_codes]``, at ``cell * n_codes + code``: the part of a key that depends
            on where the player and the entity are.
        key_base: int32 ``[n, n + m]``: the part that depends on who looks at whom. The key is the
            sum of both and the entity's level.
        shown: ``[keys, 3]``: what a key stands for in an observation.
        described: ``[levels * n_codes, 3]``, at ``level * n_codes + code``: an entity in the state.
        beside: int32 ``[N * n_codes]``, at ``cell * n_codes + code``: the side of the player on
            which a food lies, and ``slots`` int32 ``[m]``: which food it is; both in the units in
            which a *situation*, ``cell * stride + max(beside + slots)``, counts them.
        stride: situations times actions of one cell.
        wanted: int64, at ``situation + action``: the cell that the player wants to be on.
        loads: int64, at ``situation + action``: the food that the player loads, m for none.
        inner: bool ``[N]``: cells where food may lie.
        beyond_player, beyond_food: bool ``[N + 1, N]``: the cells that are still free for the next
            player or food when the one of the row is taken; row N takes none.
    """

    def __init__(self, options: LbfOptions, device: torch.device, dtype: torch.dtype) -> None:
        size = options.size
        self.n_cells = size * size
        self.gone = 2 * self.n_cells
        self.n_codes = self.gone + 1
        number = torch.arange(self.n_cells)
        place = torch.stack([number // size, number % size], -1)  # [N, 2]
        apart = place[None] - place[:, None]  # [N, N, 2], from the first axis to the second
        self._observations(options, place, apart, device, dtype)
        self._states(options, place, device, dtype)
        self._steps(options, place, apart, device)

        self.inner = ((place > 0) & (place < size - 1)).all(-1).to(device)
        distance = torch.cat([apart.abs().sum(-1), torch.full((1, self.n_cells), 2 * size)])
        self.beyond_player = (distance > 0).to(device)
        self.beyond_food = (distance >= _FOOD_SPACING).to(device)

    def _observations(
        self,
        options: LbfOptions,
        place: Tensor,
        apart: Tensor,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Keys. In units of ``levels``: first a food's place or ``places`` when out of sight; then,
        for the player of each rank, its place, and all of that again when out of sight."""
        n, m = options.players, options.foods
        sight = min(options.sight, options.size - 1)
        side = min(2 * sight + 1, options.size)  # of the largest part of the grid that is seen
        places = side * side
        levels = _levels(options)

        at = place[None] - (place[:, None] - sight).clamp(min=0)  # [N, N, 2], in what is seen
        at_number = at[..., 0] * side + at[..., 1]
        sees_player = ((at >= 0) & (at <= 2 * sight)).all(-1)
        sees_food = (apart.abs() <= sight).all(-1)
        player = torch.where(sees_player, at_number, n * places)
        food = torch.where(sees_food, at_number, places)
        seen = torch.cat([player, food, torch.full_like(food[:, :1], places)], 1) * levels
        self.seen = seen.to(device, torch.int32).flatten()

        players_from = places + 1
        me, other = torch.arange(n)[:, None], torch.arange(n)
        rank = (other + (other < me)).masked_fill(me == other, 0)  # oneself first
        base = torch.cat(
            [(players_from + rank * places) * levels, torch.zeros_like(rank[:, :1]).expand(n, m)], 1
        )
        self.key_base = base.to(device, torch.int32)

        key = torch.arange((players_from + 2 * n * places) * levels)
        unit = key // levels
        of_food = unit < players_from
        hidden = torch.where(of_food, unit == places, unit >= players_from + n * places)
        spot = torch.where(of_food, unit, unit - players_from) % places
        shown = torch.stack([spot // side, spot % side, key % levels], -1)
        self.shown = torch.where(hidden[:, None], _NOTHING, shown).to(device, dtype)

    def _states(
        self, options: LbfOptions, place: Tensor, device: torch.device, dtype: torch.dtype
    ) -> None:
        index = torch.arange(_levels(options) * self.n_codes)
        level, code = index // self.n_codes, index % self.n_codes
        rows = torch.cat([place[code % self.n_cells], level[:, None]], 1)
        rows = torch.where((code == self.gone)[:, None], _NOTHING, rows)
        self.described = rows.to(device, dtype)

    def _steps(
        self, options: LbfOptions, place: Tensor, apart: Tensor, device: torch.device
    ) -> None:
        """Situations with actions, in row-major order of [cell, side, food, action]."""
        size, m = options.size, options.foods
        shape = (self.n_cells, _SIDES, m, N_ACTIONS)
        self.stride = _SIDES * m * N_ACTIONS
        beside = torch.zeros(self.n_cells, self.n_codes, dtype=torch.int32)
        for direction in range(1, _SIDES):
            there = (apart == _MOVES[direction]).all(-1)
            beside[:, self.n_cells : self.gone] += there * (direction * m * N_ACTIONS)
        self.beside = beside.flatten().to(device)
        self.slots = (torch.arange(m, dtype=torch.int32) * N_ACTIONS).to(device)

        goal = place[:, None] + _MOVES  # [N, actions, 2]
        inside = ((goal >= 0) & (goal < size)).all(-1)
        onto_food = torch.arange(1, _SIDES)[:, None] == torch.arange(N_ACTIONS)
        onto_food = torch.cat([torch.zeros_like(onto_food[:1]), onto_food])  # [sides, actions]
        goal_cell = (goal[..., 0] * size + goal[..., 1])[:, None]
        own_cell = torch.arange(self.n_cells)[:, None, None]
        wanted = torch.where(inside[:, None] & ~onto_food, goal_cell, own_cell)
        self.wanted = wanted[:, :, None].expand(shape).flatten().to(device)
        loads = torch.full(shape, m)
        loads[:, 1:, :, LOAD] = torch.arange(m)
        self.loads = loads.flatten().to(device)


def _levels(options: LbfOptions) -> int:
    """How many levels there are, 0 included."""
    return max(options.max_food_level, MAX_PLAYER_LEVEL) + 1
