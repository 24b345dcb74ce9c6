"""The one shape of every environment: a batch of episodes stepped together.

There is no automatic reset. An instance whose episode has ended is *frozen*: stepping the batch
leaves it as it is, with reward 0, and it keeps showing its last observation and state, until
`BatchedEnv.reset` starts its next episode. So the observation after the last step is never lost (it
is what a truncated episode bootstraps from), and a rollout of whole episodes needs no special case.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from marl.streams import Streams, derive_seed


class Observation(NamedTuple):
    """What is seen at one moment. B instances, n agents, o features, s state columns, a actions."""

    obs: Tensor
    """``[B, n, o]``"""
    state: Tensor
    """``[B, s]``"""
    avail: Tensor
    """bool ``[B, n, a]``; at least one action of each agent is available."""


class Step(NamedTuple):
    """The outcome of one step and what is seen after it."""

    reward: Tensor
    """``[B]``, the team's; 0 where the instance was frozen."""
    terminated: Tensor
    """bool ``[B]``: this step ended the episode, and nothing is worth anything after it."""
    truncated: Tensor
    """bool ``[B]``: this step was the last by the time limit alone; values go on after it."""
    obs: Tensor
    state: Tensor
    avail: Tensor


class BatchedEnv(ABC):
    """A batch of independent episodes of one task.

    Instance i draws from its own random stream, so that what happens in it depends on the seed, on
    i and on its actions, never on how many other instances there are.

    Args:
        num_envs: B, number of instances.
        n_agents, n_actions, obs_dim, state_dim: sizes n, a, o, s.
        horizon: steps after which an episode ends.
        time_limit: whether the horizon terminates or truncates.
        seed: of the instances' random streams.
        device, dtype: of observations, states and rewards (float32 or float64).
    """

    individual: ClassVar[bool] = False
    """Whether `individual_rewards` tells what each agent is paid."""
    agent_types: tuple[str, ...] = ()
    """Each agent's type, where the environment tells; a card's own types come first."""

    def __init__(
        self,
        *,
        num_envs: int,
        n_agents: int,
        n_actions: int,
        obs_dim: int,
        state_dim: int,
        horizon: int,
        time_limit: Literal["termination", "truncation"],
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.num_envs, self.n_agents, self.n_actions = num_envs, n_agents, n_actions
        self.obs_dim, self.state_dim, self.horizon = obs_dim, state_dim, horizon
        self.time_limit, self.device, self.dtype = time_limit, device, dtype
        self._none = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self.reseed(seed)

    def reseed(self, seed: int, first: int = 0) -> None:
        """End all episodes; from now on it is as if newly made with this seed.

        Args:
            seed: of the instances' random streams.
            first: instance 0 is that of this number in a larger batch with the same seed.
        """
        purpose = derive_seed(seed, "environment")
        self.streams = Streams(purpose, self.num_envs, self.device, first=first)
        self._time = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._done = torch.ones_like(self._none)
        self._stepped = self._none

    @property
    def done(self) -> Tensor:
        """bool ``[B]``: the instance's episode has ended (or none has begun) and it is frozen."""
        return self._done

    @property
    def lost(self) -> Tensor:
        """bool ``[B]``: what plays the instance died in its last episode, which does not count."""
        return self._none

    def reset(self, mask: Tensor | None = None) -> Observation:
        """Begin a new episode in the instances of ``mask`` (bool ``[B]``), by default in all.

        Returns:
            What all instances show now, those outside the mask included.
        """
        mask = torch.ones_like(self._done) if mask is None else mask
        self._time = self._time.masked_fill(mask, 0)
        self._done = self._done & ~mask
        self._restart(mask)
        return self._observe()

    def step(self, actions: Tensor) -> Step:
        """Play one joint action in every instance that is not frozen.

        Args:
            actions: int64 ``[B, n]``; each must be available.
        """
        if actions.shape != (self.num_envs, self.n_agents):
            raise ValueError(
                f"actions have shape {list(actions.shape)}, not {[self.num_envs, self.n_agents]}"
            )
        active = self._stepped = ~self._done
        reward, terminated = self._advance(actions, active)
        self._time = self._time + active
        late = self._time >= self.horizon
        if self.time_limit == "termination":
            terminated, truncated = (terminated | late) & active, self._none
        else:
            terminated = terminated & active
            truncated = late & active & ~terminated
        self._done = self._done | terminated | truncated
        return Step(reward * active, terminated, truncated, *self._observe())

    def individual_rewards(self) -> Tensor:
        """What each agent was paid in the last step, ``[B, n]``; 0 where the instance was frozen.

        To be asked right after `step`, of environments that are ``individual``. The agents' rewards
        add up to the team's, unless the environment says otherwise.
        """
        return self._individual_rewards() * self._stepped[:, None]

    def _individual_rewards(self) -> Tensor:
        """``[B, n]``; what is returned for a frozen instance is discarded, but must be finite."""
        raise TypeError(f"{type(self).__name__} pays the team alone")

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that continuing exactly needs, as a flat mapping of tensors."""
        return {
            "time": self._time.clone(),
            "done": self._done.clone(),
            **{f"streams.{k}": v for k, v in self.streams.state_dict().items()},
            **{f"world.{k}": v.clone() for k, v in self._world().items()},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken, on this environment's device."""
        state = {name: value.to(self.device, copy=True) for name, value in state.items()}
        if state["time"].shape != self._time.shape:
            raise ValueError(f"state of {len(state['time'])} instances given to {self.num_envs}")
        self._time, self._done = state["time"], state["done"]
        inner = {"streams": {}, "world": {}}  # type: dict[str, dict[str, Tensor]]
        for name, value in state.items():
            part, _, rest = name.partition(".")
            if rest:
                inner[part][rest] = value
        self.streams.load_state_dict(inner["streams"])
        self._load_world(inner["world"])

    def metrics(self) -> dict[str, Tensor]:
        """The card's metrics by name, float64 ``[B]``: of each instance's last or current episode.

        Those that the environment tells; most tell nothing besides the reward.
        """
        return {}

    def remarks(self) -> dict[str, str]:
        """What is known by now of how card and environment fit and a user should be told.

        By a few words that tell the remarks apart.
        """
        return {}

    def news(self) -> list[str]:
        """What went wrong and was mended since this was last asked, each in one line."""
        return []

    def close(self) -> None:  # noqa: B027 - most environments hold nothing
        """Release what the environment holds beyond memory; it is of no further use."""

    @abstractmethod
    def _restart(self, mask: Tensor) -> None:
        """Put the instances of ``mask`` at the start of an episode, leaving the others alone."""

    @abstractmethod
    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Move the ``active`` instances on; returns reward ``[B]`` and terminated bool ``[B]``.

        What is returned for an inactive instance is discarded, but must be finite.
        """

    @abstractmethod
    def _observe(self) -> Observation:
        """What all instances show now; new tensors, which the next step does not change."""

    @abstractmethod
    def _world(self) -> dict[str, Tensor]:
        """The task's own state, as named tensors."""

    @abstractmethod
    def _load_world(self, world: dict[str, Tensor]) -> None:
        """The inverse of `_world`."""
