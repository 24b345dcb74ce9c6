"""Who shares a network: values, gradients, groups, checkpoints, and what is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import Stop
from marl_toys import PlainSum, assert_same_state, build_for, climbing, small_config
from pydantic import ValidationError
from torch import Tensor

from marl.agents import Agent, SeparateAgents, make_agent
from marl.algorithms.base import TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.errors import SettingsError
from marl.settings.agent import AgentConfig
from marl.settings.algorithms import VdnConfig
from marl.settings.registry import OWN
from marl.trainer import Trainer
from prompts.cards import EnvSpec, TaskCard, load_card

N, OBS, A = 3, 4, 5
COUNTS = [6, 6, 4, 1]
"""Sequences that reach each moment."""
MOMENTS = sum(COUNTS)


def agent(share: str, types: tuple[str, ...] = (), **settings: Any) -> Agent:
    torch.manual_seed(0)
    config = AgentConfig.model_validate({"hidden": 16, "share": share, **settings})
    return make_agent(config, OBS, N, A, types).double()


def separate(share: str, types: tuple[str, ...] = (), **settings: Any) -> SeparateAgents:
    made = agent(share, types, **settings)
    assert isinstance(made, SeparateAgents)
    return made


def seen() -> tuple[Tensor, Tensor]:
    """Observations and last actions of all moments."""
    torch.manual_seed(1)
    return torch.randn(MOMENTS, N, OBS).double(), torch.randint(-1, A, (MOMENTS, N))


def values(net: Agent) -> Tensor:
    """``[M, n, a]``"""
    return net.sequence(net.inputs(*seen()), COUNTS)


@pytest.mark.parametrize("core", ["gru", "feedforward"])
@pytest.mark.parametrize("last_action", [False, True])
@pytest.mark.parametrize(("share", "types"), [("none", ()), ("by_type", ("b", "a", "b"))])
def test_networks_with_the_same_weights_value_as_a_shared_one(
    core: str, last_action: bool, share: str, types: tuple[str, ...]
) -> None:
    shared = agent("all", core=core, last_action=last_action)
    net = separate(share, types, core=core, last_action=last_action)
    for network in net.networks:
        network.load_state_dict(shared.state_dict())
    torch.testing.assert_close(values(net), values(shared))
    obs, last = seen()
    play, play_shared = net.player(MOMENTS), shared.player(MOMENTS)
    for _ in range(3):
        torch.testing.assert_close(play(obs, last), play_shared(obs, last))


@pytest.mark.parametrize("core", ["gru", "feedforward"])
def test_playing_gives_the_same_values_as_whole_sequences(core: str) -> None:
    net = separate("by_type", ("b", "a", "b"), core=core, last_action=True)
    obs, last = (x.unflatten(0, (4, -1)) for x in (y[:16] for y in seen()))
    play = net.player(4)
    steps = torch.stack([play(obs[t], last[t]) for t in range(4)])
    inputs = net.inputs(obs.flatten(0, 1), last.flatten(0, 1))
    torch.testing.assert_close(steps.flatten(0, 1), net.sequence(inputs, [4] * 4).detach())


@pytest.mark.parametrize("core", ["gru", "feedforward"])
@pytest.mark.parametrize(
    ("share", "types", "network_of"),
    [("none", (), [0, 1, 2]), ("by_type", ("b", "a", "b"), [0, 1, 0])],
)
def test_an_agents_loss_reaches_its_own_network_alone(
    core: str, share: str, types: tuple[str, ...], network_of: list[int]
) -> None:
    net = separate(share, types, core=core)
    for i in range(N):
        net.zero_grad()
        values(net)[:, i].square().sum().backward()
        touched = [
            any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
            for network in net.networks
        ]
        assert touched == [k == network_of[i] for k in range(len(net.networks))]


def test_agents_of_one_type_are_valued_alike_and_those_of_another_otherwise() -> None:
    net = separate("by_type", ("b", "a", "b"), agent_id=False)
    obs = torch.randn(MOMENTS, 1, OBS).double().expand(-1, N, -1)
    q = net.sequence(obs, COUNTS)
    assert torch.equal(q[:, 0], q[:, 2])
    assert not torch.allclose(q[:, 0], q[:, 1])


def test_all_is_one_network_as_ever_and_so_is_by_type_where_all_are_alike() -> None:
    shared, alike = agent("all"), agent("by_type", ("x",) * N)
    assert list(shared.state_dict()) == list(alike.state_dict())
    assert not isinstance(shared, SeparateAgents)
    assert torch.equal(values(shared), values(alike))
    # The first of separate networks is the one that all would share.
    first = separate("none").networks[0].state_dict()
    assert all(torch.equal(first[k], v) for k, v in shared.state_dict().items())


def test_by_type_needs_types() -> None:
    with pytest.raises(SettingsError, match=r"agent\.share=by_type: .* card types .* all or none"):
        agent("by_type")
    build = build_for(VdnConfig(), TaskSizes(2, 3, 2, obs_dim=3), agent={"share": "by_type"})
    with pytest.raises(SettingsError, match=r"agent\.share=by_type"):
        make_algorithm(build)


def test_cards_say_which_agents_are_alike() -> None:
    assert load_card("matrix/climbing").agent_types() == ("row", "column")
    assert len(set(load_card("matrix/climbing-3p").agent_types())) == 3
    for alike in ("matrix/penalty-25", "mpe/tag", "lbf/10x10-3p-3f-2s"):  # exchangeable
        assert len(set(load_card(alike).agent_types())) == 1
    unsaid = climbing().model_copy(update={"types": ()})
    assert unsaid.agent_types() == ()
    assert unsaid.schema_hash() == climbing().schema_hash()  # certificates stay what they are


@pytest.mark.parametrize(
    ("task", "types", "said"),
    [
        ("matrix/climbing", ["row"], "1 types for 2 agents: name each agent's type"),
        ("matrix/penalty-25", ["a", "b"], r"group \(0, 1\) has agents of different types"),
    ],
)
def test_types_that_do_not_fit_the_card_are_refused(task: str, types: list[str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TaskCard.model_validate({**load_card(task).model_dump(), "types": types})


def test_pettingzoo_agents_are_of_the_type_that_their_names_say() -> None:
    pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
    from marl_pettingzoo_batches import make

    with closing(make("Toy")) as toys:
        assert toys.agent_types == ("wolf", "fox", "owl")
    pytest.importorskip("mpe2", reason="its agents are the example")
    task = load_card("mpe/spread-3")
    task = task.model_copy(update={"env": EnvSpec(kind="pettingzoo")})
    with closing(make("spread", task=task)) as spread:
        assert spread.agent_types == ("agent",) * 3


def training(name: str, share: str, **more: Any) -> Trainer:
    config = small_config(algorithm={"name": name}, agent={"share": share})
    credit = PlainSum() if name == "qllm" else None
    return Trainer(climbing(5), config, 3, credit=credit, **more)


@pytest.mark.parametrize("name", OWN)
def test_every_algorithm_learns_with_separate_networks(name: str) -> None:
    shared, apart = training(name, "all"), training(name, "none")
    own = sum(p.numel() for p in shared.algorithm.actor.parameters())
    assert sum(p.numel() for p in apart.algorithm.actor.parameters()) == 2 * own
    agents = 2 if name in ("owqmix", "cwqmix") else 1  # their Q* has agents of its own
    assert apart.learnable_parameters == shared.learnable_parameters + agents * own
    before = [p.detach().clone() for p in apart.algorithm.actor.parameters()]
    assert apart.run().status == "finished"
    after = list(apart.algorithm.actor.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("share", ["none", "by_type"])
@pytest.mark.parametrize("name", ["qmix", "owqmix", "ippo", "maddpg"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    name: str, share: str, tmp_path: Path
) -> None:
    whole = training(name, share)
    whole.run()
    stopped = training(name, share, run_dir=tmp_path, control=Stop(6))
    assert stopped.run().status == "stopped"
    resumed = Trainer.resume(climbing(5), stopped.config, 3, run_dir=tmp_path)
    resumed.run()
    assert_same_state(whole, resumed)
