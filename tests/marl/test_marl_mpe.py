"""The particle environments keep every environment's promises, and their cards'."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from marl.envs.base import BatchedEnv
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
from prompts.cards import EnvSpec, TaskCard, load_card

TASKS = ["mpe/spread-3", "mpe/spread-6", "mpe/tag", "mpe/adversary"]


def joint(env: BatchedEnv, kind: str, luck: torch.Generator, now: Tensor) -> Tensor:
    """Actions of all agents: random, one constant for each, or towards the place (0, 0)."""
    if kind == "random":
        return torch.randint(5, (env.num_envs, env.n_agents), generator=luck)
    if kind == "constant":
        return torch.randint(5, (1, env.n_agents), generator=luck).expand(env.num_envs, -1)
    x, y = now[..., 2], now[..., 3]
    return torch.where(x.abs() > y.abs(), torch.where(x > 0, 1, 2), torch.where(y > 0, 3, 4))


def roll(env: BatchedEnv, rows: int, seed: int = 0, kind: str = "random") -> list[Tensor]:
    """What the first ``rows`` instances show over two episodes in which they do the same."""
    luck = torch.Generator().manual_seed(seed)
    actions = torch.randint(5, (2, 25, 64, env.n_agents), generator=luck)
    seen = []
    for episode in actions:
        now = env.reset()
        seen += [x[:rows] for x in now]
        for choice in episode[:, : env.num_envs]:
            seen += [x[:rows] for x in env.step(choice)]
    return seen


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["random", "constant", "gather"])
def test_every_state_and_reward_lies_in_the_ranges_of_the_card(task: str, kind: str) -> None:
    card = load_card(task)
    env = make_env(card, 200, 1)
    low, high = torch.tensor(card.column_intervals()).T
    luck = torch.Generator().manual_seed(2)
    for _ in range(4):
        now = env.reset()
        constant = joint(env, "constant", luck, now.obs)
        for _ in range(card.horizon):
            actions = constant if kind == "constant" else joint(env, kind, luck, now.obs)
            reward, _, _, *after = env.step(actions)
            now = type(now)(*after)
            assert ((now.state >= low) & (now.state <= high)).all()
            assert reward.min() >= card.reward.low
            assert reward.max() <= card.reward.high
        assert env.done.all()


@pytest.mark.parametrize("task", TASKS)
def test_the_state_is_what_the_agents_see_one_after_the_other(task: str) -> None:
    env = make_env(load_card(task), 3, 0)
    env.reset()
    step = env.step(torch.ones(3, env.n_agents, dtype=torch.int64))
    assert torch.equal(step.state, step.obs.flatten(1))
    assert step.avail.all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("few", [1, 3])
def test_what_happens_in_an_instance_does_not_depend_on_the_batch(task: str, few: int) -> None:
    card = load_card(task)
    small, large = (roll(make_env(card, count, 9), few) for count in (few, 40))
    assert all(torch.equal(a, b) for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_what_was_shown_is_not_changed_by_the_next_step(task: str) -> None:
    env = make_env(load_card(task), 4, 0)
    shown = [env.reset()]
    copies = [[x.clone() for x in shown[0]]]
    for t in range(3):
        step = env.step(torch.full((4, env.n_agents), t + 1))
        shown.append(type(shown[0])(*step[3:]))
        copies.append([x.clone() for x in shown[-1]])
    for now, copy in zip(shown, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(now, copy, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_a_frozen_instance_stays_as_it_is_while_the_others_go_on(task: str) -> None:
    env = make_env(load_card(task), 6, 3)
    env.reset()
    push = torch.full((6, env.n_agents), 2)
    for _ in range(25):
        last = env.step(push)
    mask = torch.tensor([True, False] * 3)
    begun = env.reset(mask)
    assert torch.equal(begun.state[~mask], last.state[~mask])
    assert not torch.equal(begun.state[mask], last.state[mask])
    after = env.step(push)
    assert torch.equal(after.state[~mask], last.state[~mask])
    assert (after.reward[~mask] == 0).all()
    assert not after.terminated.any()


@pytest.mark.parametrize("task", TASKS)
def test_an_environment_continues_exactly_where_its_state_was_taken(task: str) -> None:
    env = make_env(load_card(task), 5, 4)
    roll(env, 5, seed=1)
    push = torch.full((5, env.n_agents), 4)
    env.reset()
    env.step(push)
    state = env.state_dict()
    other = make_env(load_card(task), 5, 77)
    other.load_state_dict(state)
    for _ in range(3):
        ours, theirs = env.step(push), other.step(push)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_the_horizon_ends_an_episode_and_nothing_else_does(task: str) -> None:
    for limit in ("termination", "truncation"):
        env = make_env(
            load_card(task), 4, 0, config=EnvConfig.model_validate({"time_limit": limit})
        )
        env.reset()
        for t in range(25):
            step = env.step(torch.zeros(4, env.n_agents, dtype=torch.int64))
            assert step.terminated.all() == (t == 24 and limit == "termination")
            assert step.truncated.all() == (t == 24 and limit == "truncation")


@pytest.mark.parametrize("task", TASKS)
def test_a_step_stays_on_its_device_and_never_waits_for_it(task: str) -> None:
    """Tensors of the device ``meta`` have no values to ask for, and mix with no other device's."""
    env = make_env(load_card(task), 3, 0, device="meta")
    env.reset(torch.ones(3, dtype=torch.bool, device="meta"))
    step = env.step(torch.zeros(3, env.n_agents, dtype=torch.int64, device="meta"))
    assert step.state.is_meta
    assert step.state.shape == (3, env.state_dim)


def test_bodies_at_the_same_place_do_no_harm() -> None:
    env = make_env(load_card("mpe/spread-3"), 2, 0)
    env.reset()
    same = torch.zeros(2, 3, 2)
    env.place(same, same, same)  # type: ignore[attr-defined]
    step = env.step(torch.zeros(2, 3, dtype=torch.int64))
    assert step.state.isfinite().all()
    assert step.reward.tolist() == [-3.0, -3.0]  # three pairs touch, and every landmark is reached


def test_any_number_of_agents_can_spread() -> None:
    card = load_card("mpe/spread-3")
    card = card.model_copy(
        update={
            "n_agents": 2,
            "state": (card.state[0].model_copy(update={"shape": (24,), "agent": None}),),
            "env": EnvSpec(kind="mpe", options={"scenario": "spread", "n": 2}),
            "exchangeable": (),
        }
    )
    env = make_env(card, 5, 0)
    assert env.reset().obs.shape == (5, 2, 12)


def changed(task: str, **options: object) -> TaskCard:
    card = load_card(task)
    return card.model_copy(update={"env": EnvSpec(kind="mpe", options=options)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenario": "spraed"}, "did you mean spread"),
        ({}, "needs a scenario, one of adversary, spread, tag"),
        ({"scenario": "spread", "local_ration": 0.5}, "did you mean local_ratio"),
        ({"scenario": "spread", "n": 1}, "must be the card's n_agents, 3, and at least 2, not 1"),
        ({"scenario": "spread", "n": "many"}, "and at least 2, not 'many'"),
        ({"scenario": "spread", "n": 10**6}, "must be the card's n_agents, 3"),
        ({"scenario": "spread", "local_ratio": 2}, "must be from 0 to 1, not 2"),
        ({"scenario": "spread", "n": 4}, "must be the card's n_agents, 3"),
        ({"scenario": "adversary"}, "has 2 agents, but the card declares 3"),
        ({"scenario": "tag"}, "has 48 state columns, but the card declares 54"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_env(changed("mpe/spread-3", **options), 1, 0)
