"""Agent networks: stepping and whole sequences agree; inputs are what the settings say."""

from __future__ import annotations

import pytest
import torch
from marl_toys import whole_sequence

from marl.agents import Agent, make_agent
from marl.settings.agent import AgentConfig

B, T, N, OBS, A = 5, 7, 3, 4, 6


def agent(**settings: object) -> Agent:
    torch.manual_seed(0)
    return make_agent(AgentConfig.model_validate({"hidden": 16, **settings}), OBS, N, A)


def moments() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    last = torch.randint(A, (B, T, N))
    last[:, 0] = -1
    return torch.randn(B, T, N, OBS), last


@pytest.mark.parametrize("core", ["gru", "feedforward"])
@pytest.mark.parametrize("last_action", [False, True])
def test_stepping_gives_the_same_values_as_the_fused_sequence(core: str, last_action: bool) -> None:
    net = agent(core=core, last_action=last_action)
    obs, last = moments()
    play = net.player(B)
    steps = torch.stack([play(obs[:, t], last[:, t]) for t in range(T)], 1)
    assert steps.shape == (B, T, N, A)
    torch.testing.assert_close(steps, whole_sequence(net, obs, last).detach())


def test_the_recurrent_agent_remembers_and_the_other_does_not() -> None:
    obs, last = moments()
    other = obs.clone()
    other[:, 0] += 1
    for core, remembers in (("gru", True), ("feedforward", False)):
        net = agent(core=core)
        later, changed = whole_sequence(net, obs, last), whole_sequence(net, other, last)
        assert torch.equal(later[:, -1], changed[:, -1]) is not remembers


def test_inputs_are_observation_then_last_action_then_id() -> None:
    net = agent(agent_id=True, last_action=True)
    obs, last = moments()
    inputs = net.inputs(obs, last)
    assert inputs.shape == (B, T, N, net.input_dim)
    assert torch.equal(inputs[..., :OBS], obs)
    assert (inputs[:, 0, :, OBS : OBS + A] == 0).all()
    assert torch.equal(inputs[:, 1:, :, OBS : OBS + A].argmax(-1), last[:, 1:])
    assert torch.equal(inputs[0, 0, :, OBS + A :], torch.eye(N))


def test_without_ids_agents_that_see_the_same_value_the_same() -> None:
    obs = torch.randn(2, 1, 1, OBS).expand(2, 3, N, OBS)
    last = torch.full((2, 3, N), -1)
    same = whole_sequence(agent(agent_id=False), obs, last)
    assert torch.equal(same[:, :, 0], same[:, :, 1])
    told_apart = whole_sequence(agent(agent_id=True), obs, last)
    assert not torch.equal(told_apart[:, :, 0], told_apart[:, :, 1])
