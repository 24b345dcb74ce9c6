"""Walk a credit graph with abstract values instead of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sandbox.graph import CreditGraph
from sandbox.inference import Types
from sandbox.prover.domain import INF, Interval, Reading, known, point
from sandbox.prover.guards import follow_guards
from sandbox.prover.registry import Results
from sandbox.prover.walk import Budget, Walk


def inputs(
    graph: CreditGraph,
    reading: Reading,
    q_ranges: Sequence[tuple[float, float]],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool],
) -> list[Results]:
    """Abstract inputs and constants.

    Over the reals an agent's Q rises with slope 1. In float32 only the direction of a slope is
    followed, which infinity stands for.
    """
    n = graph.n_agents
    least, most = (torch.tensor([[r[k] for r in q_ranges]], dtype=torch.float64) for k in (0, 1))
    own = torch.eye(n, dtype=torch.float64).reshape(n, 1, n)
    rising = torch.where(own > 0, INF, 0.0).to(torch.float64)
    slope = Interval(torch.zeros_like(own), rising) if reading.float32 else Interval(own, own)
    low, high = (torch.tensor([[r[k] for r in state_ranges]], dtype=torch.float64) for k in (0, 1))
    state = Interval(reading.literal(low).lo, reading.literal(high).hi)
    whole = torch.tensor([list(whole_columns)], dtype=torch.bool)
    values: list[Results] = [
        (known(Interval(least, most), 0, slope),),
        (known(state, 0, whole=whole),),
    ]
    for c in graph.constants:
        data = torch.tensor(c.data, dtype=torch.float64).reshape(c.shape)
        values.append((point(data, None, reading),))
    return values


def interpret(
    graph: CreditGraph,
    types: Types,
    reading: Reading,
    q_ranges: Sequence[tuple[float, float]],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool] | None = None,
    rounded: Sequence[Results] | None = None,
    budget: Budget | None = None,
    *,
    wide: bool = False,
) -> list[Results]:
    """Abstract results of every value, for agents' Qs and states in their ranges.

    Args:
        whole_columns: which state columns hold whole numbers only.
        rounded: what the rounded reading found for the same ranges. Conditions then count as known
            over the reals only where float32 knows them, and so do finite values.
        budget: what this may cost, and has; nothing is replayed once it is spent.
        wide: whether curves and products are followed over the reals where float32's values are,
            too: what is rounded may lie across the point where a curve turns.
    """
    columns = [False] * graph.state_dim if whole_columns is None else whole_columns
    walk = Walk(graph, types, reading, rounded, wide, budget or Budget())
    walk.values = dict(enumerate(inputs(graph, reading, q_ranges, state_ranges, columns)))
    for number in range(graph.first_operation, graph.first_operation + len(graph.operations)):
        walk.values[number] = follow_guards(walk, number, walk.step(number, walk.values))
    return list(walk.values.values())
