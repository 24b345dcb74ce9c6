"""A training's agents as something to take away: plain tensors, and one step as one module."""

from __future__ import annotations

from contextlib import closing
from typing import cast

import torch
from torch import Tensor, nn

from marl.agents import Agent, FeedForwardAgent, RecurrentAgent, SeparateAgents, make_agent
from marl.algorithms.base import TaskSizes
from marl.envs.registry import make_env
from marl.errors import CheckpointError
from marl.settings.agent import AgentConfig
from marl.trained import Trained

_ENCODER = "encoder.weight"


def load_agent(trained: Trained) -> Agent:
    """The network of all agents with its trained weights, for evaluation.

    No environment is opened unless it alone knows which agents are alike.

    Raises:
        CheckpointError: the weights do not fit the settings.
        SettingsError: the environment is asked, and cannot be made.
    """
    kept, card, config = trained.agents, trained.card, trained.config
    encoder = next((v for k, v in kept.items() if k.endswith(_ENCODER)), None)
    if encoder is None:
        raise CheckpointError("it holds no agents of a known form")
    own, types = config.agent, card.agent_types()
    added = own.agent_id * card.n_agents + own.last_action * card.n_actions
    if own.share == "by_type" and not types:
        with closing(make_env(card, 1, 0, config=config.env)) as env:
            types = TaskSizes.of(card, env.obs_dim, env.agent_types).types
    with torch.random.fork_rng(devices=[]):
        width = encoder.shape[1] - added
        agent = make_agent(own, width, card.n_agents, card.n_actions, types)
    try:
        agent.to(encoder.dtype).load_state_dict(kept)
    except RuntimeError:
        raise CheckpointError("its agents do not fit the settings") from None
    return agent.eval().requires_grad_(False)


def networks_of(agent: Agent) -> list[RecurrentAgent | FeedForwardAgent]:
    """The networks in an agent, one where all share their weights."""
    found = list(agent.networks) if isinstance(agent, SeparateAgents) else [agent]
    return cast("list[RecurrentAgent | FeedForwardAgent]", found)


def network_of_each(agent: Agent) -> list[int]:
    """For each agent, the number of its network among `networks_of`."""
    members = [network.members.tolist() for network in networks_of(agent)]
    return [next(k for k, own in enumerate(members) if i in own) for i in range(agent.n_agents)]


def portable_tensors(agent: Agent) -> dict[str, Tensor]:
    """All weights by ``K.name``, with K the network's number, however they are shared."""
    return {
        f"{k}.{name}": tensor
        for k, network in enumerate(networks_of(agent))
        for name, tensor in network.state_dict().items()
    }


class AgentStep(nn.Module):
    """One step of all agents.

    Shapes: B batch, n agents, o observation features, a actions, h hidden width.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        encoder = networks_of(agent)[0].encoder
        config: AgentConfig = agent.config
        ids = agent.n_agents * config.agent_id
        self.obs_dim = agent.input_dim - ids - config.last_action * agent.n_actions
        self.dtype = encoder.weight.dtype

    def forward(
        self, obs: Tensor, hidden: Tensor, last_actions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores of all actions, and the memory for the next step.

        Args:
            obs: ``[B, n, o]``.
            hidden: ``[B, n, h]``, zeros at the first step; agents without a memory return it.
            last_actions: int64 ``[B, n]``, -1 where there was none; only with
                ``agent.last_action``.

        Returns:
            ``[B, n, a]`` and ``[B, n, h]``.
        """
        if last_actions is None:
            last_actions = obs.new_zeros(obs.shape[:2], dtype=torch.int64)  # which nobody reads
        inputs = self.agent.inputs(obs, last_actions)
        parts = []
        for network in networks_of(self.agent):
            own = inputs.index_select(1, network.members)
            if isinstance(network, RecurrentAgent):
                before = hidden.index_select(1, network.members)
                seen = network.encoder(own).relu().flatten(0, 1)
                after = torch.gru_cell(seen, before.flatten(0, 1), *network.gru.all_weights[0])
                parts.append(after.view_as(before))
            else:
                parts.append(network.layers[:-1](network.encoder(own)))
        if isinstance(self.agent, SeparateAgents):
            features = self.agent.together(parts)
        else:
            features = parts[0]
        recurrent = self.agent.config.core == "gru"
        return self.agent.scores(features), features if recurrent else hidden.clone()

    def examples(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        """Random arguments of `forward`, as many as this agent takes."""
        draw, agent = torch.Generator().manual_seed(seed), self.agent
        n = agent.n_agents
        obs = torch.randn(batch, n, self.obs_dim, generator=draw, dtype=self.dtype)
        hidden = torch.randn(batch, n, agent.config.hidden, generator=draw, dtype=self.dtype).tanh()
        if not agent.config.last_action:
            return obs, hidden
        return obs, hidden, torch.randint(-1, agent.n_actions, (batch, n), generator=draw)
