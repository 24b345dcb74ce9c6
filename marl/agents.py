"""The agents' networks: one set of weights shared by all agents, recurrent or feed-forward.

Agents tell themselves apart by their id in the input (the paper's setting), not by weights.
Deviation: the paper's recurrent layer is 128 wide; the default here is 64, which is ample for
matrix games, and a setting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from marl.settings import Settings


class AgentConfig(Settings):
    """The network that turns what an agent sees into its Q-values."""

    core: Literal["gru", "feedforward"] = Field(
        default="gru",
        description="gru: remembers the episode so far; feedforward: sees the present moment only",
    )
    hidden: int = Field(default=64, ge=1, le=4096, description="width of the hidden layers")
    agent_id: bool = Field(default=True, description="append the agent's one-hot id to its input")
    last_action: bool = Field(
        default=False, description="append the agent's one-hot last action to its input"
    )


class Agent(nn.Module, ABC):
    """Q-values of all agents, either a step at a time (rollout) or whole sequences (learning).

    Shapes: B batch, T time, n agents, o observation features, a actions, h hidden width.
    """

    def __init__(self, config: AgentConfig, obs_dim: int, n_agents: int, n_actions: int) -> None:
        super().__init__()
        self.config, self.n_agents, self.n_actions = config, n_agents, n_actions
        self.input_dim = obs_dim + config.agent_id * n_agents + config.last_action * n_actions
        self._ids: Tensor
        self.register_buffer("_ids", torch.eye(n_agents), persistent=False)

    def inputs(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """Network inputs.

        Args:
            obs: ``[..., n, o]``.
            last_actions: int64 ``[..., n]``, -1 where there was none.

        Returns:
            ``[..., n, input_dim]``.
        """
        parts = [obs]
        if self.config.last_action:
            parts.append(F.one_hot(last_actions + 1, self.n_actions + 1)[..., 1:].to(obs.dtype))
        if self.config.agent_id:
            parts.append(self._ids.expand(*obs.shape[:-1], self.n_agents))
        return torch.cat(parts, -1) if len(parts) > 1 else obs

    def initial_hidden(self, batch: int) -> Tensor:
        """Memory at an episode's start, zeros ``[batch * n, h]``."""
        return self._ids.new_zeros(batch * self.n_agents, self.config.hidden)

    @abstractmethod
    def step(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One moment: obs ``[B, n, o]``, last_actions ``[B, n]``, hidden ``[B * n, h]``.

        Returns:
            Q-values ``[B, n, a]`` and the next hidden.
        """

    @abstractmethod
    def sequence(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """Whole sequences from their start: ``[B, T, n, o]``, ``[B, T, n]`` -> ``[B, T, n, a]``."""


class RecurrentAgent(Agent):
    """Linear, ReLU, GRU, Linear; the sequence is one fused call of the GRU."""

    def __init__(self, config: AgentConfig, obs_dim: int, n_agents: int, n_actions: int) -> None:
        super().__init__(config, obs_dim, n_agents, n_actions)
        self.encoder = nn.Linear(self.input_dim, config.hidden)
        self.gru = nn.GRU(config.hidden, config.hidden)
        self.head = nn.Linear(config.hidden, n_actions)

    def step(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.encoder(self.inputs(obs, last_actions))).flatten(0, 1)
        # The cell on the layer's own weights: the layer costs several times as much for one step.
        hidden = torch.gru_cell(x, hidden, *self.gru.all_weights[0])
        return self.head(hidden).unflatten(0, obs.shape[:2]), hidden

    def sequence(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        batch, steps = obs.shape[:2]
        x = self.inputs(obs, last_actions).transpose(0, 1)  # [T, B, n, i]
        x = F.relu(self.encoder(x)).flatten(1, 2)  # [T, B * n, h]
        out, _ = self.gru(x)
        q = self.head(out).view(steps, batch, self.n_agents, self.n_actions)
        return q.transpose(0, 1)


class FeedForwardAgent(Agent):
    """Linear, ReLU, Linear, ReLU, Linear; its hidden state is carried along unchanged."""

    def __init__(self, config: AgentConfig, obs_dim: int, n_agents: int, n_actions: int) -> None:
        super().__init__(config, obs_dim, n_agents, n_actions)
        self.layers = nn.Sequential(
            nn.Linear(self.input_dim, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, n_actions),
        )

    def step(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(self.inputs(obs, last_actions)), hidden

    def sequence(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        return self.layers(self.inputs(obs, last_actions))


def make_agent(config: AgentConfig, obs_dim: int, n_agents: int, n_actions: int) -> Agent:
    """The agent network that the configuration asks for, initialised from torch's generator."""
    kind = RecurrentAgent if config.core == "gru" else FeedForwardAgent
    return kind(config, obs_dim, n_agents, n_actions)
