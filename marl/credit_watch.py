"""A credit function in training, held against what was claimed of it before.

Claims are made over the card's ranges. A training can leave them: an environment may show other
states than its card says, and Q-values may grow beyond the bound. So the function is looked at, at
a few real moments now and then, and a training does not go on with one that breaks its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from marl.episodes import Episodes
from marl.errors import TrainingError

OFTEN_UNTIL, OFTEN, SELDOM = 1_000, 10, 250
"""Until this update, every so many updates; and after it."""
EPISODES, ROWS = 2, 32
"""Looked at each time: episodes of the batch, and moments of these."""
_ROUNDING = 1e-4
"""Relative to q_tot: differences below it are float32's."""

Rehearse = Callable[[Tensor, Tensor], str | None]
"""Runs a function on ``(agent_qs [N, n], state [N, s])`` elsewhere, where it can do no harm; says
what went wrong, or None."""


class Moments(NamedTuple):
    """Real moments of a training."""

    action_qs: Tensor
    """``[M, n, a]``: the agents' values of their actions."""
    avail: Tensor
    """bool ``[M, n, a]``"""
    state: Tensor
    """``[M, s]``"""

    def greedy(self) -> Tensor:
        """``[M, n]``: each agent's value of its best available action."""
        return self.action_qs.masked_fill(~self.avail, -float("inf")).amax(-1)


@dataclass(frozen=True)
class Broken:
    """A claim that does not hold, and where."""

    text: str
    agent_qs: Tensor
    """``[n]``"""
    state: Tensor
    """``[s]``"""


class CreditWatch:
    """Looks at a credit function now and then.

    Args:
        credit: ``forward(agent_qs [N, n], state [N, s]) -> [N, 1]``.
        monotone: whether it is claimed that q_tot never falls where an agent's value rises.
        rehearse: told the first batch before the function sees it here.
    """

    def __init__(
        self, credit: nn.Module, *, monotone: bool, rehearse: Rehearse | None = None
    ) -> None:
        self._credit, self._monotone, self._rehearse = credit, monotone, rehearse
        self._rehearsed = False

    def check(
        self, update: int, batch: Episodes, moments_of: Callable[[Episodes], Moments | None]
    ) -> Broken | None:
        """Look before update number ``update``, if it is time to; the first batch is rehearsed.

        Args:
            update: from 0.
            batch: what will be learned from.
            moments_of: what the function would be asked about some episodes, if anything.

        Raises:
            TrainingError: the function fails on the first batch, elsewhere.
        """
        if self._rehearsed and not self.is_due(update):
            return None
        if not self._rehearsed:
            moments = moments_of(batch)
            wrong = None if moments is None else self.rehearse(moments)
            if wrong is not None:
                raise TrainingError(f"the credit function fails on this training's batch: {wrong}")
            self._rehearsed = True
        moments = moments_of(batch.first(EPISODES))
        return None if moments is None else self.look(moments)

    @staticmethod
    def is_due(update: int) -> bool:
        """Whether to look before update number ``update``, from 0."""
        return update % (OFTEN if update < OFTEN_UNTIL else SELDOM) == 0

    def rehearse(self, moments: Moments) -> str | None:
        """What goes wrong with a batch where it can do no harm."""
        if self._rehearse is None:
            return None
        return self._rehearse(moments.greedy(), moments.state)

    def look(self, moments: Moments) -> Broken | None:
        """Hold the claims against moments of a training.

        At each of them every agent in turn goes from its lowest to its highest value, with those of
        the others all low and all high: q_tot and its gradient must be finite, and q_tot, where it
        is to be monotone, must not fall.
        """
        count = len(moments.state)
        rows = torch.arange(0, count, max(1, count // ROWS), device=moments.state.device)[:ROWS]
        state, highest = moments.state[rows], moments.greedy()[rows]
        values = moments.action_qs[rows]
        lowest = values.masked_fill(~moments.avail[rows], float("inf")).amin(-1)
        agents = highest.shape[1]
        alone = torch.eye(agents, dtype=torch.bool, device=state.device)
        # The first half is where an agent's value is low, the second where it is high.
        raised = torch.stack([torch.zeros_like(alone), ~alone, alone, torch.ones_like(alone)])
        raised = raised.flatten(0, 1)  # [4n, n]
        qs = torch.where(raised, highest[:, None], lowest[:, None])  # [R, 4n, n]
        flat = qs.flatten(0, 1).requires_grad_()
        states = state.repeat_interleave(4 * agents, 0)
        with torch.enable_grad():
            q_tot = self._credit(flat, states)
            gradient = torch.zeros_like(flat)
            if q_tot.requires_grad:
                (gradient,) = torch.autograd.grad(q_tot.sum(), flat)
        for what, found in (("q_tot", q_tot.detach()), ("the gradient of q_tot", gradient)):
            wrong = ~found.isfinite().all(1)
            if bool(wrong.any()):
                at = int(wrong.nonzero()[0])
                return Broken(f"{what} is not finite", flat[at].detach(), states[at])
        return self._fallen(qs, q_tot.detach().view(len(rows), -1), state)

    def _fallen(self, qs: Tensor, q_tot: Tensor, state: Tensor) -> Broken | None:
        """Where q_tot ``[R, 4n]`` falls from its first half to its second."""
        before, after = q_tot.chunk(2, 1)
        slack = _ROUNDING * q_tot.abs().amax(1, keepdim=True).clamp(min=1.0)
        wrong = after < before - slack
        if not self._monotone or not bool(wrong.any()):
            return None
        row, place = wrong.nonzero()[0].tolist()
        agent, low = place % qs.shape[2], qs[row, place]
        high = qs[row, place + qs.shape[1] // 2]
        return Broken(
            f"it was to be monotone, but raising agent {agent}'s Q from {low[agent]:g} to "
            f"{high[agent]:g} lowers q_tot from {before[row, place]:g} to {after[row, place]:g}",
            low,
            state[row],
        )
