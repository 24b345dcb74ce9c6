"""A credit function where a mixing network would stand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.mixer import Choice, Mixer
from marl.errors import SettingsError
from marl.settings.algorithms import MOST_JOINT_ACTIONS, ROWS_AT_ONCE


def mixer_for(build: Build, own: Callable[[Build], Mixer]) -> Mixer:
    """An algorithm's own mixer, or the credit function that takes its place.

    An algorithm that always has a credit function makes its mixer of it itself.
    """
    if build.credit is None or build.config.algorithm.credit == "required":
        return own(build)
    return CreditMixer(build.sizes, build.credit)


class CreditMixer(Mixer):
    """Calls a credit function; holds nothing to learn.

    Args:
        sizes: of the task.
        credit: module with ``forward(agent_qs[N, n], state[N, s]) -> [N, 1]``.
        maximum: which joint action the targets evaluate.

    Raises:
        SettingsError: the credit function has parameters, or the joint actions are too many for
            the exhaustive maximum.
    """

    def __init__(
        self,
        sizes: TaskSizes,
        credit: nn.Module,
        maximum: Literal["greedy", "exhaustive"] = "greedy",
    ) -> None:
        super().__init__()
        if any(True for _ in credit.parameters()):
            raise SettingsError("a credit function has no parameters to learn, but this one does")
        self.credit = credit
        joint: Tensor | None = None
        if maximum == "exhaustive":
            count = sizes.n_actions**sizes.n_agents
            if count > MOST_JOINT_ACTIONS:
                raise SettingsError(
                    f"algorithm.maximum=exhaustive: {count} joint actions are more than "
                    f"{MOST_JOINT_ACTIONS}; use greedy"
                )
            every = itertools.product(range(sizes.n_actions), repeat=sizes.n_agents)
            joint = torch.tensor(list(every))  # [J, n]
        self._joint: Tensor | None
        self.register_buffer("_joint", joint, persistent=False)

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return self.credit(agent_qs, state)

    def greedy_actions(self, action_qs: Tensor, avail: Tensor, state: Tensor) -> Tensor:
        if self._joint is None:
            return super().greedy_actions(action_qs, avail, state)
        joint = self._joint
        rows = max(1, ROWS_AT_ONCE // len(joint))
        with torch.no_grad():
            parts = zip(action_qs.split(rows), avail.split(rows), state.split(rows), strict=True)
            return torch.cat([joint[self._best(joint, q, may, s)] for q, may, s in parts])

    def _best(self, joint: Tensor, action_qs: Tensor, avail: Tensor, state: Tensor) -> Tensor:
        """int64 ``[N]``: which of the joint actions has the largest q_tot and is available."""
        count, agents = joint.shape
        pick = joint.T.expand(len(action_qs), agents, count)  # [N, n, J]
        chosen = action_qs.gather(2, pick).transpose(1, 2).reshape(-1, agents)
        q_tot = self.credit(chosen, state.repeat_interleave(count, 0)).view(-1, count)
        possible = avail.gather(2, pick).all(1)
        return q_tot.masked_fill(~possible, -float("inf")).argmax(1)

    def make_target(self) -> Mixer:
        # Without parameters there is nothing that could lag behind.
        return self
