"""Which moments and steps of a batch of episodes happened, laid out one moment after the other.

A batch is as long as its longest episode. What came after the end of a shorter one is never looked
at, and the moment after a terminal step is worth nothing whatever it shows. Packing leaves both
out before any network sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marl.episodes import Episodes


@dataclass(frozen=True)
class Packing:
    """Places of the M moments and the S steps of E episodes of at most T steps.

    The episodes are sorted by length, the longest first, so that those that reach moment t are the
    first ``counts[t]``. Moments and steps are ordered by time, and by that order within a time.
    """

    counts: list[int]
    """Episodes that have a moment 0, 1, ...; their sum is M."""
    moments: Tensor
    """int64 ``[M]``: each moment's row in ``[E * (T + 1), ...]``."""
    steps: Tensor
    """int64 ``[S]``: each step's row in ``[E * T, ...]``."""
    now: Tensor
    """int64 ``[S]``: where among the M is the moment that the step began at."""
    then: Tensor
    """int64 ``[S]``: where among the M is the moment after it; after a terminal step, which is
    followed by nothing, the one that it began at."""

    @classmethod
    def of(cls, batch: Episodes) -> Packing:
        """The packing of a batch."""
        horizon = batch.filled.shape[1]
        device = batch.filled.device
        lengths = batch.lengths()
        moments = lengths + 1 - (batch.terminated & batch.filled).any(1).long()
        # Of those with the same number of moments, the terminated ones have one step more.
        order = torch.argsort(moments * (horizon + 2) + lengths, descending=True, stable=True)
        lengths, moments = lengths[order], moments[order]
        time = torch.arange(horizon + 1, device=device)[:, None]
        reached = moments > time  # [T + 1, E]
        place = (reached.flatten().cumsum(0) - 1).view_as(reached)
        step_time, step_rank = (lengths > time[:-1]).nonzero(as_tuple=True)
        time, rank = reached.nonzero(as_tuple=True)
        now = place[step_time, step_rank]
        goes_on = reached[step_time + 1, step_rank]
        counts = reached.sum(1).tolist()
        return cls(
            counts=[count for count in counts if count],
            moments=order[rank] * (horizon + 1) + time,
            steps=order[step_rank] * horizon + step_time,
            now=now,
            then=torch.where(goes_on, place[step_time + 1, step_rank], now),
        )

    def of_moments(self, values: Tensor) -> Tensor:
        """``[E, T + 1, ...]`` -> ``[M, ...]``."""
        return values.flatten(0, 1).index_select(0, self.moments)

    def of_steps(self, values: Tensor) -> Tensor:
        """``[E, T, ...]`` -> ``[S, ...]``."""
        return values.flatten(0, 1).index_select(0, self.steps)

    def spread(self, values: Tensor, episodes: int, horizon: int) -> Tensor:
        """``[S, ...]`` -> ``[E, T, ...]``, zero where no step happened."""
        empty = values.new_zeros(episodes * horizon, *values.shape[1:])
        return empty.index_copy(0, self.steps, values).unflatten(0, (episodes, horizon))
