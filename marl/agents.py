"""The agents' networks, recurrent or feed-forward, with weights shared by all agents or by some.

Where all share (the paper's setting), agents tell themselves apart by their id in the input, not by
weights. Deviation: the paper's recurrent layer is 128 wide; the default here is 64, which is ample
for matrix games, and a setting.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marl.errors import SettingsError
from marl.gru import gru_packed
from marl.settings.agent import AgentConfig

Player = Callable[[Tensor, Tensor], Tensor]
"""Plays on: takes what is seen now, ``[B, n, o]``, and the actions before, int64 ``[B, n]`` with -1
where there was none; gives Q-values ``[B, n, a]``. It remembers the episodes so far."""


class Agent(nn.Module, ABC):
    """Q-values of all agents, either a step at a time (play) or whole sequences (learning).

    Shapes: B batch, M moments of all sequences together, n agents, o observation features,
    a actions, h hidden width.

    Args:
        config: the network's settings.
        obs_dim, n_agents, n_actions: of the task.
        members: the agents that it is for, which then are the n of its shapes; by default all.
    """

    def __init__(
        self,
        config: AgentConfig,
        obs_dim: int,
        n_agents: int,
        n_actions: int,
        members: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        which = torch.tensor(range(n_agents) if members is None else members)
        self.config, self.n_agents, self.n_actions = config, len(which), n_actions
        self._id_dim = n_agents * config.agent_id
        self.input_dim = obs_dim + self._id_dim + config.last_action * n_actions
        self._ids: Tensor
        self.members: Tensor
        self.register_buffer("_ids", torch.eye(n_agents)[which], persistent=False)
        self.register_buffer("members", which, persistent=False)

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
            parts.append(self._ids.expand(*obs.shape[:-1], self._id_dim))
        return torch.cat(parts, -1) if len(parts) > 1 else obs

    def _prepared(self, encoder: nn.Linear, batch: int) -> Player:
        """The first layer for play: ids and last actions are looked up, not multiplied.

        Returns:
            A function of obs ``[B, n, o]`` and last actions ``[B, n]`` that gives ``[B * n, h]``.
        """
        config, weight = self.config, encoder.weight.t()
        obs_dim = self.input_dim - self._id_dim - config.last_action * self.n_actions
        seen, rest = weight[:obs_dim], weight[obs_dim:]
        bias = encoder.bias.expand(self.n_agents, -1)
        if config.agent_id:
            bias = bias + rest[-self._id_dim :][self.members]
        bias = bias.repeat(batch, 1)
        actions = torch.cat([torch.zeros_like(rest[:1]), rest[: self.n_actions]])

        def encode(obs: Tensor, last_actions: Tensor) -> Tensor:
            known = bias
            if config.last_action:
                known = known + actions[last_actions.flatten() + 1]
            return torch.addmm(known, obs.reshape(-1, obs_dim), seen)

        return encode

    @abstractmethod
    def player(self, batch: int) -> Player:
        """What plays ``batch`` episodes from their start with the weights as they are now.

        It must not outlive a change of the weights, and it tracks no gradients.
        """

    @abstractmethod
    def features(self, inputs: Tensor, counts: list[int]) -> Tensor:
        """What the last layer sees of whole sequences from their start, packed.

        Args:
            inputs: ``[M, n, input_dim]``, from `inputs`.
            counts: sequences that reach moment 0, 1, ... (`marl.packing.Packing`).

        Returns:
            ``[M, n, h]``.
        """

    @abstractmethod
    def scores(self, features: Tensor) -> Tensor:
        """The last layer: ``[..., n, h]`` -> ``[..., n, a]``."""

    def sequence(self, inputs: Tensor, counts: list[int]) -> Tensor:
        """Q-values (or logits) of whole sequences ``[M, n, a]``; arguments as for `features`."""
        return self.scores(self.features(inputs, counts))


class RecurrentAgent(Agent):
    """Linear, ReLU, GRU, Linear."""

    def __init__(
        self,
        config: AgentConfig,
        obs_dim: int,
        n_agents: int,
        n_actions: int,
        members: Sequence[int] | None = None,
    ) -> None:
        super().__init__(config, obs_dim, n_agents, n_actions, members)
        self.encoder = nn.Linear(self.input_dim, config.hidden)
        self.gru = nn.GRU(config.hidden, config.hidden)
        self.head = nn.Linear(config.hidden, n_actions)

    @torch.no_grad()
    def player(self, batch: int) -> Player:
        encode = self._prepared(self.encoder, batch)
        head_weight, head_bias = self.head.weight.t(), self.head.bias
        # The cell on the layer's own weights: the layer costs several times as much for one step.
        weights = self.gru.all_weights[0]
        hidden = self._ids.new_zeros(batch * self.n_agents, self.config.hidden)

        @torch.no_grad()
        def play(obs: Tensor, last_actions: Tensor) -> Tensor:
            nonlocal hidden
            hidden = torch.gru_cell(encode(obs, last_actions).relu_(), hidden, *weights)
            return torch.addmm(head_bias, hidden, head_weight).view(batch, self.n_agents, -1)

        return play

    def features(self, inputs: Tensor, counts: list[int]) -> Tensor:
        x = self.encoder(inputs.flatten(0, 1)).relu_()  # [M * n, h]
        hidden = gru_packed(self.gru, x, [count * self.n_agents for count in counts])
        return hidden.unflatten(0, inputs.shape[:2])

    def scores(self, features: Tensor) -> Tensor:
        return self.head(features)


class FeedForwardAgent(Agent):
    """Linear, ReLU, Linear, ReLU, Linear: no memory."""

    def __init__(
        self,
        config: AgentConfig,
        obs_dim: int,
        n_agents: int,
        n_actions: int,
        members: Sequence[int] | None = None,
    ) -> None:
        super().__init__(config, obs_dim, n_agents, n_actions, members)
        self.encoder = nn.Linear(self.input_dim, config.hidden)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, n_actions),
        )

    @torch.no_grad()
    def player(self, batch: int) -> Player:
        encode = self._prepared(self.encoder, batch)

        @torch.no_grad()
        def play(obs: Tensor, last_actions: Tensor) -> Tensor:
            return self.layers(encode(obs, last_actions)).view(batch, self.n_agents, -1)

        return play

    def features(self, inputs: Tensor, counts: list[int]) -> Tensor:
        return self.layers[:-1](self.encoder(inputs))

    def scores(self, features: Tensor) -> Tensor:
        return self.layers[-1](features)


class SeparateAgents(Agent):
    """Several networks of one shape, each shared by some of the agents.

    Args:
        config, obs_dim, n_agents, n_actions: as for `Agent`.
        groups: the agents of each network; every agent is in one.
    """

    def __init__(
        self,
        config: AgentConfig,
        obs_dim: int,
        n_agents: int,
        n_actions: int,
        groups: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(config, obs_dim, n_agents, n_actions)
        kind = _kind(config)
        self.networks = nn.ModuleList(
            kind(config, obs_dim, n_agents, n_actions, members) for members in groups
        )
        self._place: Tensor
        order = torch.tensor([agent for members in groups for agent in members])
        self.register_buffer("_place", order.argsort(), persistent=False)

    def _each(self) -> list[Agent]:
        return cast("list[Agent]", list(self.networks))

    def together(self, parts: list[Tensor]) -> Tensor:
        """``[..., k, x]`` of each group's k agents -> ``[..., n, x]``."""
        return torch.cat(parts, -2).index_select(-2, self._place)

    @torch.no_grad()
    def player(self, batch: int) -> Player:
        players = [(network.player(batch), network.members) for network in self._each()]

        @torch.no_grad()
        def play(obs: Tensor, last_actions: Tensor) -> Tensor:
            return self.together(
                [
                    player(obs.index_select(1, members), last_actions.index_select(1, members))
                    for player, members in players
                ]
            )

        return play

    def features(self, inputs: Tensor, counts: list[int]) -> Tensor:
        return self.together(
            [
                network.features(inputs.index_select(1, network.members), counts)
                for network in self._each()
            ]
        )

    def scores(self, features: Tensor) -> Tensor:
        return self.together(
            [network.scores(features.index_select(-2, network.members)) for network in self._each()]
        )


def _kind(config: AgentConfig) -> type[RecurrentAgent] | type[FeedForwardAgent]:
    return RecurrentAgent if config.core == "gru" else FeedForwardAgent


def weight_groups(config: AgentConfig, n_agents: int, types: Sequence[str]) -> list[list[int]]:
    """The agents that share a network, one list for each network.

    Args:
        types: each agent's; empty where nobody says.

    Raises:
        SettingsError: types are asked for, and there are none.
    """
    if config.share == "all":
        return [list(range(n_agents))]
    if config.share == "by_type" and not types:
        raise SettingsError(
            "agent.share=by_type: nothing says which agents are alike: give the task's card types "
            "(a name for each agent), or set agent.share to all or none"
        )
    members: dict[str | int, list[int]] = {}
    for agent in range(n_agents):
        members.setdefault(agent if config.share == "none" else types[agent], []).append(agent)
    return list(members.values())


def make_agent(
    config: AgentConfig, obs_dim: int, n_agents: int, n_actions: int, types: Sequence[str] = ()
) -> Agent:
    """The agent network that the configuration asks for, initialised from torch's generator.

    Args:
        types: each agent's; ``agent.share=by_type`` reads them.

    Raises:
        SettingsError: ``agent.share`` does not fit the task.
    """
    groups = weight_groups(config, n_agents, types)
    if len(groups) == 1:
        return _kind(config)(config, obs_dim, n_agents, n_actions)
    return SeparateAgents(config, obs_dim, n_agents, n_actions, groups)
