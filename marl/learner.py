"""Q-learning of a team: double-Q targets, masked loss, Adam."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from marl.agents import Agent
from marl.algorithms.base import Choice, Mixer
from marl.clock import Clock
from marl.compiling import compile_mixer
from marl.credit_watch import Moments
from marl.episodes import Episodes
from marl.errors import TrainingError
from marl.packing import Packing
from marl.settings import Settings
from marl.targets import RunningScale, lambda_returns


class LearnerConfig(Settings):
    """How the networks are trained; the same for every algorithm."""

    lr: float = Field(default=3e-3, gt=0, description="Adam's learning rate")
    batch_size: int = Field(default=32, ge=1, description="episodes in an update")
    replay_capacity: int = Field(default=200, ge=1, description="episodes kept for replay")
    updates_per_rollout: int = Field(
        default=4, ge=1, description="updates after each rollout of env.num_envs episodes"
    )
    gamma: float | None = Field(
        default=None, gt=0, le=1, description="discount per step; null takes the task card's"
    )
    td_lambda: float = Field(
        default=0.0, ge=0, le=1, description="lambda of TD(lambda) targets; 0 is one-step"
    )
    double_q: bool = Field(
        default=True, description="online network chooses the next action, target network values it"
    )
    grad_clip: float = Field(default=10.0, gt=0, description="largest norm of the gradient")
    target_update: Literal["soft", "hard"] = Field(
        default="soft",
        description="move the target a little with every update, or copy it at times",
    )
    target_tau: float = Field(
        default=0.01, gt=0, le=1, description="soft: share of the online network taken per update"
    )
    target_interval: int = Field(default=200, ge=1, description="hard: updates between copies")
    reward_scale: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="what rewards are divided by before anything is learned from them, the unit of "
        "every Q; null takes the task card's or, where it has none, measures it in random play "
        "before training; returns stay as they are",
    )
    standardise_states: bool = Field(
        default=True,
        description="give mixing networks the state with columns of running mean 0 and variance 1, "
        "cut at 10; credit functions always get the state as it is",
    )

    compile_mixer: bool = Field(
        default=False,
        description="run mixing networks through torch.compile: some percent faster after a "
        "minute's beginning, and rounded otherwise; a resumed run is compiled anew and need not "
        "equal an uninterrupted one bit for bit; credit functions are left as they are",
    )

    @model_validator(mode="after")
    def _fits(self) -> LearnerConfig:
        if self.batch_size > self.replay_capacity:
            raise ValueError(
                f"batch_size {self.batch_size} is more than replay_capacity {self.replay_capacity}"
            )
        return self


class NonFiniteError(TrainingError):
    """A quantity of an update is NaN or infinite; the networks were left as they were."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not finite")


STATE_LIMIT = 10.0
"""Standardised states are cut here: a column that was constant for long may jump."""

METRICS = ("q_tot_mean", "target_mean", "td_error_abs", "loss", "grad_norm")


def _largest(action_qs: Tensor, avail: Tensor) -> Tensor:
    """The largest |Q| of an available action; both ``[M, n, a]``."""
    return action_qs.detach().abs().masked_fill(~avail, 0).amax()


class Learner:
    """Online and target networks and what trains them.

    Args:
        config: settings.
        agent, mixer: the online networks, updated in place.
        gamma: discount per step.
        state_dim: columns of the state.
        clock: charged with forward, backward and optimiser.
        reward_scale: what rewards are divided by; nothing is ever subtracted from them, which
            would change the best policy wherever an episode can end early.
        autocast: run the agents' products in bfloat16; weights, mixer and loss stay as they are.

    Raises:
        SettingsError: the mixer is to be compiled and cannot be.
    """

    def __init__(
        self,
        config: LearnerConfig,
        agent: Agent,
        mixer: Mixer,
        gamma: float,
        state_dim: int,
        clock: Clock,
        *,
        reward_scale: float = 1.0,
        autocast: bool = False,
    ) -> None:
        self.config, self.agent, self.mixer, self.gamma = config, agent, mixer, gamma
        self.target_agent = copy.deepcopy(agent).requires_grad_(False)
        self.target_mixer = mixer.make_target()
        self.parameters = [*agent.parameters(), *mixer.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.lr, fused=True)
        device = self.parameters[0].device
        self.reward_scale = reward_scale
        self.largest_q = 0.0
        """The largest |Q| of an available action in the last update's batch, both networks'."""
        # Only what is trained on the state needs it in a known size.
        trained = any(True for _ in mixer.parameters())
        columns = state_dim if config.standardise_states and trained else None
        self.state_scale = None if columns is None else RunningScale(columns, device=device)
        if config.compile_mixer and trained:
            for network in (self.mixer, self.target_mixer):
                compile_mixer(network, device)
        self.updates = 0
        self._largest = torch.zeros((), device=device)
        self._clock, self._autocast = clock, autocast

    def observe(self, episodes: Episodes) -> None:
        """Count the states of new episodes; call once for each."""
        if self.state_scale is not None:
            self.state_scale.update(episodes.state[:, :-1], episodes.filled)

    def update(self, batch: Episodes) -> dict[str, float]:
        """One step of Adam on the mean squared TD error over the steps that happened.

        Returns:
            The `METRICS`, as of before the step.

        Raises:
            NonFiniteError: q_tot, target, loss or gradient is; nothing was changed.
        """
        with self._clock.part("forward"):
            q_tot, target = self.q_tot_and_target(batch, Packing.of(batch))
            error = q_tot - target
            loss = error.square().mean()
        with self._clock.part("backward"):
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)
            parts = [q_tot.mean(), target.mean(), error.abs().mean(), loss, norm, self._largest]
            *values, self.largest_q = torch.stack(parts).tolist()
        metrics = dict(zip(METRICS, values, strict=True))
        for what, value in metrics.items():
            if value - value != 0:
                raise NonFiniteError(what)
        with self._clock.part("optimiser"):
            self.optimiser.step()
            self.updates += 1
            self._move_target()
        return metrics

    @torch.no_grad()
    def moments(self, batch: Episodes) -> Moments:
        """What the agents think of a batch now: their values at every moment that happened."""
        packing = Packing.of(batch)
        moments = packing.of_moments
        inputs = self.agent.inputs(moments(batch.obs), moments(batch.last_actions()))
        action_qs = self._action_qs(self.agent, inputs, packing.counts)
        return Moments(action_qs, moments(batch.avail), moments(batch.state))

    def q_tot_and_target(self, batch: Episodes, packing: Packing) -> tuple[Tensor, Tensor]:
        """q_tot of the actions taken and the target it should have, for the S steps that happened.

        y_t = r_t / scale + gamma * (1 - terminated_t) * q_tot'(s_{t+1}, u), with q_tot' of the
        target network and u the joint action that is greedy for the online network (double-Q; van
        Hasselt et al., 2016) or for the target network. Gradients flow through q_tot only.

        Returns:
            Both ``[S, 1]``, or ``[S, n]`` of a mixer that gives each agent a value of its own.
        """
        moments, steps, now, then = packing.of_moments, packing.of_steps, packing.now, packing.then
        inputs = self.agent.inputs(moments(batch.obs), moments(batch.last_actions()))
        state, avail = self._shown(moments(batch.state)), moments(batch.avail)
        actions = steps(batch.actions)
        # The target network first: what it needs on the way is free again before the other begins.
        with torch.no_grad():
            target_qs = self._action_qs(self.target_agent, inputs, packing.counts)[then]
        action_qs = self._action_qs(self.agent, inputs, packing.counts)  # [M, n, a]
        q_tot = self._mixed(self.mixer, action_qs[now], actions, state[now], avail[now])
        with torch.no_grad():
            after, may = state[then], avail[then]
            if self.config.double_q:
                greedy = self.mixer.greedy_actions(action_qs[then], may, after)
            else:
                greedy = self.target_mixer.greedy_actions(target_qs, may, after)
            values = self._mixed(self.target_mixer, target_qs, greedy, after, may)
            target = self._target(batch, packing, values)
            self._largest = torch.maximum(_largest(action_qs, avail), _largest(target_qs, may))
        return q_tot, target

    def _action_qs(self, agent: Agent, inputs: Tensor, counts: list[int]) -> Tensor:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._autocast):
            return agent.sequence(inputs, counts).to(inputs.dtype)

    def _shown(self, state: Tensor) -> Tensor:
        """The state as the mixer sees it."""
        if self.state_scale is None:
            return state
        return self.state_scale(state).clamp(-STATE_LIMIT, STATE_LIMIT)

    @staticmethod
    def _mixed(mixer: Mixer, qs: Tensor, actions: Tensor, state: Tensor, avail: Tensor) -> Tensor:
        """The mixer's value of ``actions`` ``[N, n]``, given all Q-values ``[N, n, a]``."""
        chosen = qs.gather(-1, actions[..., None]).squeeze(-1)
        if not mixer.uses_choice:
            return mixer(chosen, state)
        best = qs.masked_fill(~avail, -float("inf")).amax(-1)
        return mixer(chosen, state, Choice(best, actions))

    def _target(self, batch: Episodes, packing: Packing, values: Tensor) -> Tensor:
        """What q_tot should be, ``[S, 1]`` or ``[S, n]`` as ``values``, the moments' after."""
        reward = batch.reward / self.reward_scale
        gamma, share = self.gamma, self.config.td_lambda
        if share == 0:
            goes_on = ~packing.of_steps(batch.terminated)[:, None]
            return packing.of_steps(reward)[:, None] + gamma * values * goes_on
        padded = packing.spread(values, *batch.filled.shape)  # [E, T, 1 or n]
        parts = [
            lambda_returns(reward, batch.terminated, batch.filled, value, gamma, share)
            for value in padded.unbind(-1)
        ]
        return packing.of_steps(torch.stack(parts, -1))

    def _move_target(self) -> None:
        soft = self.config.target_update == "soft"
        if not soft and self.updates % self.config.target_interval:
            return
        share = self.config.target_tau if soft else 1.0
        online = [*self.agent.parameters(), *self.mixer.parameters()]
        target = [*self.target_agent.parameters(), *self.target_mixer.parameters()]
        with torch.no_grad():
            for there, here in zip(target, online, strict=True):
                there.lerp_(here, share)

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "agent": self.agent,
            "mixer": self.mixer,
            "target_agent": self.target_agent,
            "target_mixer": self.target_mixer,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Networks, targets, optimiser, states' scale and number of updates, as flat tensors.

        Only parameters of the networks: a credit function's constants belong to its graph.
        """
        state = {
            f"{part}.{name}": parameter.detach()
            for part, network in self._networks().items()
            for name, parameter in network.named_parameters()
        }
        for index, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{index}.{key}": value for key, value in moments.items()}
        if self.state_scale is not None:
            scale = self.state_scale.state_dict()
            state |= {f"state_scale.{key}": value for key, value in scale.items()}
        return {**state, "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            KeyError, RuntimeError: the state is of other networks.
        """
        with torch.no_grad():
            for part, network in self._networks().items():
                for name, parameter in network.named_parameters():
                    parameter.copy_(state[f"{part}.{name}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                moments.setdefault(int(index), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        if self.state_scale is not None:
            self.state_scale.load_state_dict({"moments": state["state_scale.moments"]})
        self.updates = int(state["updates"])
