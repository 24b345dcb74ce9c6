"""A credit function at work: its weights along an episode, and what they depend on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prompts.cards import TaskCard
from sandbox.graph import CreditGraph
from sandbox.runtime import CreditFunction

_DRAWS = 4
"""Other values that each state column is given."""
_ROWS_AT_ONCE = 8_192


def credit_at_work(
    graph: CreditGraph,
    card: TaskCard,
    agent_qs: list[list[float]],
    states: list[list[float]],
    seed: int,
) -> dict[str, Any]:
    """Weights and influences along an episode of T steps.

    Args:
        graph: gated.
        card: the task.
        agent_qs: ``[T, n]``, the agents' values of their actions.
        states: ``[T, s]``.
        seed: of the other values that columns are given.

    Returns:
        ``weights`` ``[T, n]`` (d q_tot / d Q_i) and ``influence`` ``[s]``.
    """
    function = CreditFunction(graph)
    qs, state = torch.tensor(agent_qs), torch.tensor(states)
    weights = credit_weights(function, qs, state)
    moved = influences(function, card, qs, state, seed)
    return {"weights": weights.nan_to_num(0.0).tolist(), "influence": moved.tolist()}


def credit_weights(function: CreditFunction, agent_qs: Tensor, states: Tensor) -> Tensor:
    """d q_tot / d Q_i ``[T, n]`` at agents' values ``[T, n]`` and states ``[T, s]``.

    One pass gives them all, since rows do not mix.
    """
    qs = agent_qs.detach().clone().requires_grad_()
    total = function(qs, states).sum()
    if not total.requires_grad:
        return torch.zeros_like(agent_qs)
    (weights,) = torch.autograd.grad(total, qs, allow_unused=True)
    return torch.zeros_like(agent_qs) if weights is None else weights


def influences(
    function: CreditFunction, card: TaskCard, agent_qs: Tensor, states: Tensor, seed: int
) -> Tensor:
    """``[s]``: how far each state column moves the weights (the bias, if none moves them).

    Each column in turn gets, at every step, values that it has at other steps (any of its range,
    where it never changes); the mean absolute change over draws, steps and agents is its influence.
    0 says that nothing was seen to depend on it.
    """
    draw = torch.Generator().manual_seed(seed)
    rows, still = len(states) * _DRAWS, torch.zeros_like(agent_qs)
    base = credit_weights(function, agent_qs, states).repeat(_DRAWS, 1)
    with torch.no_grad():
        rest = function(still, states).repeat(_DRAWS, 1)
    used = [at + i for s, at in card.offsets() if not s.unused for i in range(s.size)]
    moved, moved_rest = torch.zeros(card.state_dim), torch.zeros(card.state_dim)
    width = max(1, _ROWS_AT_ONCE // rows)
    for first in range(0, len(used), width):
        columns = used[first : first + width]
        changed = states.repeat(_DRAWS, 1).repeat(len(columns), 1, 1)  # [c, rows, s]
        for place, column in enumerate(columns):
            changed[place, :, column] = _others(card, column, states, rows, draw)
        flat = changed.flatten(0, 1)
        qs = agent_qs.repeat(_DRAWS * len(columns), 1)
        weights = credit_weights(function, qs, flat).view(len(columns), rows, -1)
        moved[columns] = (weights - base).abs().mean((1, 2))
        with torch.no_grad():
            bias = function(torch.zeros_like(qs), flat).view(len(columns), rows, 1)
        moved_rest[columns] = (bias - rest).abs().mean((1, 2))
    found = moved if bool((moved > 0).any()) else moved_rest
    return found.nan_to_num(0.0)


def _others(
    card: TaskCard, column: int, states: Tensor, rows: int, draw: torch.Generator
) -> Tensor:
    """``[rows]``: what a column is at other steps, or any value of its range if it never moves."""
    seen = states[:, column]
    if bool((seen != seen[0]).any()):
        return seen[torch.randint(len(seen), (rows,), generator=draw)]
    s, _ = card.column(column)
    low, high = s.interval
    drawn = low + (high - low) * torch.rand(rows, generator=draw)
    return drawn if s.kind == "real" else drawn.round()
