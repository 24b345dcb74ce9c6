"""Environments of PettingZoo in worker processes: parity, seeds, resuming, and what is refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marl_toys import assert_same_state, small_config
from torch import Tensor

from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.train import TrainConfig
from marl.streams import derive_seed
from marl.trainer import Trainer
from prompts.cards import EnvSpec, load_card

pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
from marl_pettingzoo_batches import card, make, no_worker_stays, roll
from marl_pettingzoo_toys import AGENTS, COUNTS, FILE, SIZES, Toy, WithState

_no_worker_stays = pytest.fixture(autouse=True)(no_worker_stays)


def chosen(avail: Tensor, generator: torch.Generator) -> Tensor:
    """A random available action of each agent."""
    luck = torch.rand(avail.shape, generator=generator)
    return luck.masked_fill(~avail, -1).argmax(-1)


def expected_row(
    toy: Toy, observations: dict[str, Any], infos: dict[str, Any], alive: list[str]
) -> tuple[Any, Any, Any]:
    """obs, state and avail of one instance, agent by agent."""
    obs, state, avail = np.zeros((3, 3)), [], np.zeros((3, 4), dtype=bool)
    for i, agent in enumerate(AGENTS):
        if agent not in alive:
            avail[i, 0] = True
            state += [0.0] * SIZES[i]
            continue
        obs[i, : SIZES[i]] = observations[agent]
        state += list(observations[agent])
        mask = infos[agent].get("action_mask")
        for a in range(COUNTS[i]):
            avail[i, a] = mask is None or bool(mask[a])
    return obs, (toy.state() if isinstance(toy, WithState) else state), avail


@pytest.mark.parametrize(("kind", "state_dim"), [(Toy, 8), (WithState, 3)])
def test_every_step_is_that_of_the_environment_itself(kind: type[Toy], state_dim: int) -> None:
    rows, generator = 5, torch.Generator().manual_seed(0)
    toys = [kind() for _ in range(rows)]
    with closing(make(kind.__name__, rows, task=card(state_dim), time_limit="truncation")) as env:
        for episode in (1, 2, 3):
            now = env.reset()
            alive: list[list[str]] = []
            for i, toy in enumerate(toys):
                seed = derive_seed(derive_seed(7, "pettingzoo"), i, episode) >> 32
                observations, infos = toy.reset(seed=seed)
                alive.append(list(AGENTS))
                for got, want in zip(
                    now, expected_row(toy, observations, infos, list(AGENTS)), strict=True
                ):
                    assert got[i].tolist() == np.asarray(want).tolist()
            while not env.done.all():
                actions, done = chosen(now.avail, generator), env.done.clone()
                step, own = env.step(actions), env.individual_rewards()
                for i, toy in enumerate(toys):
                    if done[i]:
                        assert step.reward[i] == 0
                        assert not own[i].any()
                        continue
                    played = {a: int(actions[i, AGENTS.index(a)]) for a in toy.agents}
                    before = list(toy.agents)
                    observations, rewards, _, truncated, infos = toy.step(played)
                    assert step.reward[i] == sum(rewards.values())
                    assert own[i].tolist() == [rewards.get(agent, 0.0) for agent in AGENTS]
                    over = not toy.agents
                    cut = over and any(truncated.values())
                    assert (step.terminated[i], step.truncated[i]) == (over and not cut, cut)
                    shown = expected_row(toy, observations, infos, toy.agents or before)
                    for got, want in zip(step[3:], shown, strict=True):
                        assert got[i].tolist() == np.asarray(want).tolist()
                now = type(now)(*step[3:])
        assert all(not toy.agents for toy in toys)


def test_a_task_of_its_package_is_played_as_there() -> None:
    simple_spread_v3 = pytest.importorskip("mpe2.simple_spread_v3", reason="it is the reference")
    task = load_card("mpe/spread-3").model_copy(update={"env": EnvSpec(kind="pettingzoo")})
    reference = simple_spread_v3.parallel_env(N=3, max_cycles=25, local_ratio=0.5)
    seed = derive_seed(derive_seed(7, "pettingzoo"), 0, 1) >> 32
    observations, _ = reference.reset(seed=seed)
    generator = torch.Generator().manual_seed(0)
    with closing(make("spread", rows=2, task=task, time_limit="truncation")) as env:
        now = env.reset()
        for t in range(25):
            assert now.obs[0].tolist() == [o.tolist() for o in observations.values()]
            assert now.state[0].tolist() == reference.state().tolist()
            actions = torch.randint(5, (2, 3), generator=generator)
            observations, rewards, *_ = reference.step(
                dict(zip(observations, actions[0].tolist(), strict=True))
            )
            step = env.step(actions)
            assert float(step.reward[0]) == pytest.approx(sum(rewards.values()), abs=1e-12)
            assert bool(step.truncated.all()) == (t == 24)
            now = type(now)(*step[3:])


def test_what_happens_in_an_instance_depends_on_neither_batch_nor_workers() -> None:
    with closing(make("Toy", 3, 1)) as few, closing(make("Toy", 7, 3)) as many:
        pairs = zip(roll(few, 3), roll(many, 3, 3), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_instances_and_episodes_differ() -> None:
    with closing(make("Toy", 8)) as env:
        first, second = env.reset().obs, env.reset().obs
        assert len(first.flatten(1).unique(dim=0)) == 8
        assert not torch.equal(first, second)


def test_the_horizon_of_the_card_ends_what_goes_on() -> None:
    with closing(make("Toy", 8, task=card(horizon=3))) as env:
        env.reset()
        for _ in range(3):
            step = env.step(torch.zeros(8, 3, dtype=torch.int64))
        assert env.done.all()
        assert step.terminated.any()
        assert not step.truncated.any()  # time_limit is termination


def test_the_team_may_be_paid_the_mean() -> None:
    with (
        closing(make("Toy")) as whole,
        closing(make("Toy", 5, 1, task=card(reward="mean"))) as mean,
    ):
        for env in (whole, mean):
            env.reset()
        actions = torch.ones(5, 3, dtype=torch.int64)
        assert (whole.step(actions).reward / 3 - mean.step(actions).reward).abs().max() < 1e-12
        assert torch.equal(whole.individual_rewards(), mean.individual_rewards())


def test_reset_of_some_instances_leaves_the_others_alone() -> None:
    with closing(make("Toy")) as env:
        env.reset()
        step = env.step(torch.ones(5, 3, dtype=torch.int64))
        mask = torch.tensor([True, False, True, False, False])
        now = env.reset(mask)
        assert torch.equal(now.obs[~mask], step.obs[~mask])
        assert (now.obs[mask] != step.obs[mask]).flatten(1).any(1).all()


def test_it_goes_on_exactly_between_episodes() -> None:
    with closing(make("Toy")) as env, closing(make("Toy", workers=1)) as other:
        roll(env, 2)
        state = env.state_dict()
        expected = roll(env, 2)
        other.load_state_dict(state)
        assert all(torch.equal(a, b) for a, b in zip(expected, roll(other, 2), strict=True))
        env.reset()
        with pytest.raises(ValueError, match="between episodes only"):
            env.state_dict()


def settings() -> TrainConfig:
    env = {"kind": "pettingzoo", "num_envs": 3, "workers": 2, "factory": f"{FILE}:Toy"}
    return small_config(env=env, steps=120, evaluation={"every": 1000, "episodes": 2})


def train(**more: Any) -> Trainer:
    return Trainer(card(), settings(), 0, **more)


def test_a_training_stopped_and_resumed_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train()
    whole.run()
    asked = iter(["continue", "continue", "stop"])
    train(run_dir=tmp_path, control=lambda: next(asked)).run()
    resumed = Trainer.resume(card(), settings(), 0, run_dir=tmp_path)
    assert 0 < resumed.env_steps < 120
    resumed.run()
    assert_same_state(whole, resumed)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("broken", "OSError: no licence"),
        ("turn_based", "aec_to_parallel"),
        ("FILE", "'FILE'"),
        ("Nothing", "has no function 'Nothing'"),
        ("no_such_file.py:make", "there is no file 'no_such_file.py'"),
        ("no_such_module:make", "No module named 'no_such_module'"),
        ("builtins:dict", "is no PettingZoo parallel environment: it has no 'possible_agents'"),
        ("Continuous", "action space of wolf: Box(0.0, 1.0, (2,), float32), and only Discrete is"),
    ],
)
def test_a_factory_that_cannot_be_used_is_refused(factory: str, said: str) -> None:
    with pytest.raises(SettingsError, match=r"env\.factory=") as caught:
        make(factory, 1, 1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_agents": 2}, r"of 3 agents \(wolf, fox, owl\), and the card says n_agents: 2"),
        ({"n_actions": 5}, "of 4 actions, and the card says n_actions: 5"),
        ({"state": card(4).state}, r"no state\(\) and observations of 8 numbers in all, and the"),
    ],
)
def test_a_card_of_another_environment_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make("Toy", 1, 1, task=card().model_copy(update=changes))


def test_a_card_with_a_wrong_option_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"unknown pettingzoo option 'rewards'.*reward"):
        make("Toy", task=card(rewards="sum"))
    with pytest.raises(SettingsError, match=r"env\.options\.reward is 'maen': did you mean mean"):
        make("Toy", task=card(reward="maen"))


def test_without_a_factory_it_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"set env\.factory to what makes it"):
        make_env(card(), 1, 0)


def test_a_card_cannot_name_the_factory() -> None:
    with pytest.raises(SettingsError, match="unknown pettingzoo option 'factory'"):
        make_env(card(factory=f"{FILE}:Toy"), 1, 0)
