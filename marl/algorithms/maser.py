"""MASER: each agent is drawn to the observation of its own past that was worth most.

Source: Jeon et al. (2022), "MASER: multi-agent reinforcement learning with subgoals generated from
experience replay buffer", arXiv 2206.10607, with the settings of its code.

For every episode of a batch and every agent i, with values of the target networks:

    g_i = argmax_t alpha Q_i'(t, u*) + (1 - alpha) Q_tot'(t) / n          the subgoal's moment
    r_i(t) = -|phi(o_i(t)) - phi(o_i(g_i))|                                intrinsic reward
    r'(t) = r(t) + lam mean_i r_i(t)
    L_q    = (Q_tot - r' - gamma (1 - d) Q_tot'(s'))^2
    L_ind  = sum_i (Q_i - [softmax_i(Q_i'(next)) r' + lam r_i + gamma (1 - d) Q_i'(next)])^2
    L_dis  = (|phi(o) - phi(o_g)| - (1 - cos(Q_i'(t, .), Q_i'(g, .))))^2
    loss   = L_q + mix (L_ind + L_dis)

phi is trained by L_dis, as the paper says; its code makes phi after the optimiser has its list of
parameters, so that there phi stays as it was drawn, which ``reference=true`` does here. The paper's
fourth term, an entropy of the target's values, has no gradient and is left out. The argmax is over
moments that happened (the code lets padding take part). Q_tot / n presumes a mixer whose value
grows with the number of agents; with a credit function set ``gate.scale_by_agents`` if it does not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marl.algorithms.base import Build, Loss
from marl.algorithms.mixer import Mixer
from marl.algorithms.qmix import QmixMixer
from marl.algorithms.value import ValueDecomposition, mixed
from marl.batch import Batch
from marl.networks import mlp
from marl.settings.algorithms import MaserConfig, QmixConfig


class Maser(ValueDecomposition):
    """QMIX with subgoals."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings, sizes = build.settings(MaserConfig), build.sizes
        with build.seeded("goal"):
            distance = mlp(sizes.obs_dim, [self.settings.goal_dim], sizes.n_actions)
        self.goal = nn.Sequential(*distance, nn.ReLU()).to(build.device, build.dtype)
        self.goal.requires_grad_(not self.settings.reference)

    def make_mixer(self, build: Build) -> Mixer:
        return QmixMixer(QmixConfig(), build.sizes)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        goal = [] if self.settings.reference else list(self.goal.parameters())
        return {"q": [*super().groups()["q"], *goal]}

    def loss(self, group: str, batch: Batch) -> Loss:
        settings, now = self.settings, batch.current
        action_qs, target_qs = self.q_values(batch)
        with torch.no_grad():
            state, avail = self.mixing_state(batch.state), batch.avail
            greedy = self.mixer.greedy_actions(action_qs, avail, state)  # [M, n]
            best_qs = target_qs.gather(-1, greedy[..., None]).squeeze(-1)  # [M, n]
            best_tot = mixed(self.target_mixer, target_qs, greedy, state, avail)  # [M, 1]
            goals = self.subgoals(batch, best_qs, best_tot)  # [S, n], moments among M
        distance = self.distance(batch, goals)
        intrinsic = -distance.detach()
        reward = batch.reward + settings.lam * intrinsic.mean(-1)  # r'
        loss = self.squared_error(*self.q_tot_and_target(batch, action_qs, target_qs, reward))
        loss = loss._replace(largest_q=self._largest)
        if settings.mix == 0:
            return loss
        individual = self._individual(batch, action_qs, best_qs, reward, intrinsic)
        cosine = torch.cosine_similarity(target_qs[now], self._at(goals, target_qs), dim=-1)
        alike = (distance - (1 - cosine)).square().sum(-1).mean()
        metrics = {"individual_loss": individual, "distance_loss": alike}
        return loss._replace(
            value=loss.value + settings.mix * (individual + alike),
            metrics={**loss.metrics, **metrics, "intrinsic": intrinsic.mean()},
        )

    def distance(self, batch: Batch, goals: Tensor) -> Tensor:
        """|phi(o) - phi(o_g)| of each step and agent ``[S, n]``, for subgoals ``[S, n]``."""
        ahead = self.goal(batch.obs[batch.current]) - self.goal(self._at(goals, batch.obs))
        return torch.linalg.vector_norm(ahead, dim=-1)

    def _at(self, goals: Tensor, values: Tensor) -> Tensor:
        """Each agent's values at its subgoal: ``[M, n, ...]`` -> ``[S, n, ...]``."""
        return values[goals, torch.arange(self.sizes.n_agents, device=goals.device)]

    def _individual(
        self, batch: Batch, action_qs: Tensor, best_qs: Tensor, reward: Tensor, intrinsic: Tensor
    ) -> Tensor:
        """L_ind; ``best_qs`` ``[M, n]``, ``reward`` ``[S]`` and ``intrinsic`` ``[S, n]``."""
        own = action_qs[batch.current].gather(-1, batch.actions[..., None]).squeeze(-1)
        with torch.no_grad():
            following = best_qs[batch.next]  # [S, n]
            paid = following.softmax(-1) * reward[:, None]
            goes_on = ~batch.terminated[:, None]
            target = paid + self.settings.lam * intrinsic + self.gamma * goes_on * following
        return (own - target).square().sum(-1).mean()

    def subgoals(self, batch: Batch, best_qs: Tensor, best_tot: Tensor) -> Tensor:
        """The moment of each agent's subgoal for each step, int64 ``[S, n]`` among the M.

        Args:
            best_qs: ``[M, n]``, the target's values of the greedy actions.
            best_tot: ``[M, 1]``, the team's.
        """
        alpha, n = self.settings.alpha, self.sizes.n_agents
        worth = alpha * best_qs + (1 - alpha) * best_tot / n
        count, horizon = batch.episodes.filled.shape
        rows = count * (horizon + 1)
        padded = worth.new_full((rows, n), -float("inf"))
        padded[batch.packing.moments] = worth
        place = torch.zeros(rows, dtype=torch.int64, device=worth.device)
        place[batch.packing.moments] = torch.arange(len(worth), device=worth.device)
        when = padded.unflatten(0, (count, horizon + 1)).argmax(1)  # [E, n]
        row = torch.arange(count, device=worth.device)[:, None] * (horizon + 1) + when
        return place[row][batch.packing.steps // horizon]
