"""Value decomposition: double-Q learning of a team through a mixer."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from marl.agents import Agent
from marl.algorithms.base import Algorithm, Build, Loss, largest, td_loss
from marl.algorithms.credit import mixer_for
from marl.algorithms.mixer import Choice, Mixer
from marl.batch import Batch
from marl.compiling import compile_mixer
from marl.credit_watch import Moments
from marl.targets import td_targets


class ValueDecomposition(Algorithm):
    """Agents' Q-values, a mixer, and target networks of both.

    A subclass gives its mixer (`make_mixer`) and may change the target (`target`) or the loss. The
    one group of parameters is ``q``.

    Raises:
        SettingsError: the mixer is to be compiled and cannot be.
    """

    central: ClassVar[bool] = False
    """Whether other networks than the mixer see the state."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        with build.seeded("agent"):  # apart, so that all algorithms start with the same agents
            agent = build.make_agent()
        with build.seeded("mixer"):
            mixer = mixer_for(build, self.make_mixer)
        self.agent = agent.to(build.device, build.dtype)
        self.mixer = mixer.to(build.device, build.dtype)
        self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)
        self.target_mixer = self.mixer.make_target()
        self._largest: Tensor | None = None
        self._autocast = build.config.dtype == "bfloat16"
        # Only what is trained on the state needs it in a known size.
        trained = any(True for _ in self.mixer.parameters())
        if trained or self.central:
            self.add_state_scale()
        self._mixer_is_trained = trained
        if self.learner.compile_mixer and trained:
            for network in (self.mixer, self.target_mixer):
                compile_mixer(network, build.device)

    @abstractmethod
    def make_mixer(self, build: Build) -> Mixer:
        """The algorithm's own mixer, initialised from torch's generator.

        Raises:
            SettingsError: it does not fit the task or the credit function.
        """

    @property
    def actor(self) -> Agent:
        return self.agent

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"q": [*self.agent.parameters(), *self.mixer.parameters()]}

    def loss(self, group: str, batch: Batch) -> Loss:
        """The mean squared TD error over the steps that happened."""
        q_tot, target = self.q_tot_and_target(batch, *self.q_values(batch))
        return self.squared_error(q_tot, target)._replace(largest_q=self._largest)

    def squared_error(self, q_tot: Tensor, target: Tensor) -> Loss:
        """The loss and metrics of values ``[S, 1 or n]`` and the targets that they should have.

        With ``learner.overestimation_weight`` below 1, steps whose value is above its target count
        that much less (hysteretic learning; OW-QMIX's weighting, Rashid et al., 2020, equation 8,
        against the target network's own value instead of Q*).
        """
        loss, weight = td_loss(q_tot, target), self.learner.overestimation_weight
        if weight == 1:
            return loss
        error = q_tot - target
        squares = error.square()
        return loss._replace(value=torch.where(error < 0, squares, weight * squares).mean())

    def q_values(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """All actions' values ``[M, n, a]`` of the online and of the target network."""
        inputs = self.agent.inputs(batch.obs, batch.last_actions)
        # The target network first: what it needs on the way is free again before the other begins.
        with torch.no_grad():
            target_qs = self.action_qs(self.target_agent, inputs, batch.counts)
        return self.action_qs(self.agent, inputs, batch.counts), target_qs

    def q_tot_and_target(
        self, batch: Batch, action_qs: Tensor, target_qs: Tensor, reward: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """q_tot of the actions taken and the target it should have, for the S steps that happened.

        y_t = r_t + gamma * (1 - terminated_t) * q_tot'(s_{t+1}, u), with q_tot' of the target
        network and u the joint action that is greedy for the online network (double-Q; van Hasselt
        et al., 2016) or for the target network. Gradients flow through q_tot only.

        Args:
            batch: the steps.
            action_qs, target_qs: as of `q_values`.
            reward: ``[S]``, in the place of the batch's.

        Returns:
            Both ``[S, 1]``, or ``[S, n]`` of a mixer that gives each agent a value of its own.
        """
        now, then = batch.current, batch.next
        target_qs = target_qs[then]
        state, avail = self.mixing_state(batch.state), batch.avail
        q_tot = mixed(self.mixer, action_qs[now], batch.actions, state[now], avail[now])
        with torch.no_grad():
            after, may = state[then], avail[then]
            if self.learner.double_q:
                greedy = self.mixer.greedy_actions(action_qs[then], may, after)
            else:
                greedy = self.target_mixer.greedy_actions(target_qs, may, after)
            values = mixed(self.target_mixer, target_qs, greedy, after, may)
            target = td_targets(batch, values, self.gamma, self.learner.td_lambda, reward)
            self._largest = torch.maximum(largest(action_qs, avail), largest(target_qs, may))
        return q_tot, target

    def action_qs(self, agent: Agent, inputs: Tensor, counts: list[int]) -> Tensor:
        """An agent network's values of all actions at all moments, ``[M, n, a]``."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._autocast):
            return agent.sequence(inputs, counts).to(inputs.dtype)

    def mixing_state(self, state: Tensor) -> Tensor:
        """The state as the mixer sees it: a credit function always gets it as it is."""
        return self.shown(state) if self._mixer_is_trained else state

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.agent, self.target_agent), (self.mixer, self.target_mixer)]

    def mixing(self, state: Tensor) -> tuple[Mixer, Tensor] | None:
        return None if self.mixer.per_agent else (self.mixer, self.mixing_state(state))

    @torch.no_grad()
    def credit_moments(self, batch: Batch) -> Moments:
        inputs = self.agent.inputs(batch.obs, batch.last_actions)
        return Moments(self.action_qs(self.agent, inputs, batch.counts), batch.avail, batch.state)


def mixed(mixer: Mixer, qs: Tensor, actions: Tensor, state: Tensor, avail: Tensor) -> Tensor:
    """The mixer's value of ``actions`` ``[N, n]``, given all Q-values ``[N, n, a]``."""
    chosen = qs.gather(-1, actions[..., None]).squeeze(-1)
    if not mixer.uses_choice:
        return mixer(chosen, state)
    best = qs.masked_fill(~avail, -float("inf")).amax(-1)
    return mixer(chosen, state, Choice(best, actions))
