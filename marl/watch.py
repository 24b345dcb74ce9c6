"""What environment and values really do, held against the card that everything else believes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from marl.envs.base import BatchedEnv
from marl.episodes import Episodes
from marl.events import Noticed
from prompts.cards import TaskCard

ROLLOUTS = 10
"""As many of the first are watched."""

_TOLERANCE = 1e-5  # of the range, for numbers that went through float32
_MOST_SHOWN = 3


class QWatch:
    """Watches the agents' values, which a credit function was proved and tested for up to a bound.

    Args:
        card: the task, with the scale of its rewards.
    """

    def __init__(self, card: TaskCard) -> None:
        self._card, self._bound, self._told = card, card.q_bound(), False

    def look(self, largest: float, env_steps: int) -> Iterator[Noticed]:
        """The notice that the bound was left, the first time.

        Args:
            largest: |Q| of the last update, in the unit of Q.
            env_steps: so far.
        """
        if self._told or largest <= self._bound:
            return
        self._told = True
        unit = f"rewards divided by {self._card.reward.scale or 1:g}"
        yield Noticed(
            "the bound of |Q|",
            f"task '{self._card.name}': |Q| reached {largest:g} at step {env_steps:,}, and the "
            f"credit function is proved and tested up to {self._bound:g} ({unit}): beyond it "
            "nothing is known; correct the card's reward or learner.gamma, or lower learner.lr",
        )


class Watch:
    """Watches the first rollouts of a training; every column is told of once.

    Args:
        card: the task, whose ranges the prover and the property suite rely on.
        env: the training's.
    """

    def __init__(self, card: TaskCard, env: BatchedEnv) -> None:
        self._card, self._env, self._left = card, env, ROLLOUTS
        ranges = [*card.column_intervals(), (card.reward.low, card.reward.high)]
        self._low, self._high = torch.tensor(ranges, dtype=torch.float64).unbind(1)
        self._slack = _TOLERANCE * (1 + torch.maximum(self._low.abs(), self._high.abs()))
        self._told = torch.zeros(len(ranges), dtype=torch.bool)
        self._said: set[str] = set()

    def remarks(self) -> Iterator[Noticed]:
        """What the environment has to remark by now and had not before."""
        for about, text in self._env.remarks().items():
            if about not in self._said:
                self._said.add(about)
                yield Noticed(about, text)

    def look(self, episodes: Episodes) -> Iterator[Noticed]:
        """What new episodes show."""
        if self._left == 0:
            return
        self._left -= 1
        states, rewards = episodes.state.flatten(0, 1), episodes.reward[episodes.filled]
        least, most = (
            torch.cat([end(states), end(rewards[:, None])]).double().cpu()
            for end in (lambda x: x.amin(0), lambda x: x.amax(0))
        )
        below, above = least < self._low - self._slack, most > self._high + self._slack
        new = (below | above) & ~self._told
        self._told |= new
        if new.any():
            yield self._outside(new, torch.where(above, most, least))
        if self._left == 0:
            yield from self.remarks()

    def _outside(self, new: Tensor, seen: Tensor) -> Noticed:
        columns = new.nonzero().flatten().tolist()
        first, more = columns[:_MOST_SHOWN], len(columns) - _MOST_SHOWN
        shown = [
            f"{self._name(at)} reached {seen[at]:g}, and the card says {self._low[at]:g} to "
            f"{self._high[at]:g}"
            for at in first
        ]
        shown += [f"{more} more left their ranges"] if more > 0 else []
        return Noticed(
            f"ranges of {', '.join(map(self._name, first))}",
            f"task '{self._card.name}': {'; '.join(shown)}: correct the card, on whose ranges "
            "proofs, tests and the coder rely",
        )

    def _name(self, at: int) -> str:
        if at == self._card.state_dim:
            return "the team's reward"
        return f"state column {self._card.column_name(at)}"
