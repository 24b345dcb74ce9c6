"""Environments: the matrix game by the book, and what every batched environment promises."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from marl_toys import CLIMBING, CountdownEnv, climbing

from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import EnvConfig, MatrixEnvConfig
from prompts.cards import EnvSpec, TaskCard, load_card


def changed(card: TaskCard, **options: object) -> TaskCard:
    return card.model_copy(update={"env": EnvSpec(kind="matrix", options=options)})


def test_every_joint_action_pays_what_the_card_says() -> None:
    joint = torch.tensor(list(product(range(3), repeat=2)))
    env = make_env(climbing(), num_envs=9, seed=0, dtype=torch.float64)
    env.reset()
    assert env.step(joint).reward.tolist() == [CLIMBING[i][j] for i, j in joint.tolist()]


def test_a_game_of_three_players_takes_any_array() -> None:
    payoff = torch.arange(8.0).view(2, 2, 2)
    card = climbing().model_copy(update={"n_agents": 3, "n_actions": 2})
    slices = (card.state[0].model_copy(update={"shape": (3,)}),)
    card = changed(card.model_copy(update={"state": slices}), payoff=payoff.tolist())
    env = make_env(card, num_envs=8, seed=0)
    env.reset()
    joint = torch.tensor(list(product(range(2), repeat=3)))
    assert env.step(joint).reward.tolist() == list(range(8))


def test_state_is_the_last_joint_action_and_minus_one_at_the_start() -> None:
    env = make_env(climbing(), num_envs=2, seed=0)
    assert env.reset().state.tolist() == [[-1, -1], [-1, -1]]
    assert env.step(torch.tensor([[0, 2], [1, 1]])).state.tolist() == [[0, 2], [1, 1]]


def test_an_agent_sees_its_own_last_action_or_everybodys() -> None:
    actions = torch.tensor([[0, 2]])
    own = make_env(climbing(), 1, 0)
    assert own.reset().obs.tolist() == [[[0, 0, 0], [0, 0, 0]]]
    assert own.step(actions).obs.tolist() == [[[1, 0, 0], [0, 0, 1]]]
    joint = make_env(climbing(), 1, 0, config=MatrixEnvConfig(observe="joint"))
    assert joint.reset().obs.shape == (1, 2, 6)
    assert joint.step(actions).obs.tolist() == [[[1, 0, 0, 0, 0, 1]] * 2]


@pytest.mark.parametrize("limit", ["termination", "truncation"])
def test_the_episode_limit_ends_an_episode_as_the_switch_says(limit: str) -> None:
    env = make_env(climbing(3), 2, 0, config=EnvConfig.model_validate({"time_limit": limit}))
    env.reset()
    for t in range(3):
        step = env.step(torch.zeros(2, 2, dtype=torch.int64))
        assert step.terminated.all() == (t == 2 and limit == "termination")
        assert step.truncated.all() == (t == 2 and limit == "truncation")
    assert env.done.all()


@pytest.mark.parametrize(
    "task",
    ["matrix/climbing", "matrix/climbing-3p", "matrix/climbing-weather", "matrix/penalty-50"],
)
def test_every_state_lies_in_the_ranges_of_the_card(task: str) -> None:
    card = load_card(task)
    env = make_env(card, 64, 0)
    states = [env.reset().state]
    actions = torch.randint(3, (25, 64, card.n_agents), generator=torch.Generator().manual_seed(0))
    rewards = []
    for t in range(25):
        step = env.step(actions[t])
        states.append(step.state)
        rewards.append(step.reward)
    low, high = torch.tensor(card.column_intervals()).T
    seen = torch.cat(states)
    assert ((seen >= low) & (seen <= high)).all()
    if card.start_state is not None:
        assert states[0].tolist() == [list(card.start_state)] * 64
    assert torch.stack(rewards).min() >= card.reward.low
    assert torch.stack(rewards).max() <= card.reward.high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"payoff": [[1, 2], [3, 4]]}, r"shape \[3, 3\]"),
        ({"payoff": [[1, 2, 3], [4, 5]]}, r"shape \[3, 3\]"),
        ({"payoff": [[1, 2, "x"]] * 3}, r"shape \[3, 3\]"),
        ({"payoff": [[1, 2, float("nan")]] * 3}, "finite"),
        ({"payoff": [[1, 2, 1e300]] * 3}, "finite"),
        ({"payoff": [[1, 2, 10**400]] * 3}, "finite"),
        ({}, r"shape \[3, 3\]"),
        ({"payoff": CLIMBING, "payoffs": [CLIMBING] * 2}, r"shape \[3, 3\]"),
        ({"payoffs": []}, r"shape \[3, 3\]"),
        ({"payoffs": CLIMBING}, r"shape \[3, 3\]"),
        ({"payoffs": [CLIMBING] * 2}, "3 columns, but the card declares 2"),
        ({"payof": CLIMBING}, "did you mean payoff"),
    ],
)
def test_a_card_with_a_bad_payoff_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_env(changed(climbing(), **options), 1, 0)


CALM = [[12, 9.5, 8], [9.5, 7, 5.5], [8, 5.5, 4]]
STORM = [[11, -60, 0], [-60, 7, 0], [0, 6, 5]]


def test_of_several_arrays_the_one_pays_that_the_state_names_and_the_agents_do_not_see() -> None:
    env = make_env(load_card("matrix/climbing-weather"), 256, 0, dtype=torch.float64)
    state, generator, storms = env.reset().state, torch.Generator().manual_seed(0), []
    for _ in range(25):
        actions = torch.randint(3, (256, 2), generator=generator)
        storms.append(state[:, 2])
        step = env.step(actions)
        for (i, j), storm, reward in zip(
            actions.tolist(), storms[-1].tolist(), step.reward.tolist(), strict=True
        ):
            assert reward == (STORM if storm else CALM)[i][j]
        assert step.state[:, :2].equal(actions.double())
        assert step.obs.shape == (256, 2, 3)
        state = step.state
    share = torch.stack(storms).mean(1)  # of each step, over 256 episodes
    assert ((share > 0.35) & (share < 0.65)).all()


def test_an_unknown_kind_lists_the_near_names() -> None:
    card = climbing().model_copy(update={"env": EnvSpec(kind="matrx")})
    with pytest.raises(SettingsError, match=r"'matrx': did you mean matrix\?"):
        make_env(card, 1, 0)


def test_actions_of_the_wrong_shape_are_refused() -> None:
    env = make_env(climbing(), 4, 0)
    env.reset()
    with pytest.raises(ValueError, match=r"\[4, 3\], not \[4, 2\]"):
        env.step(torch.zeros(4, 3, dtype=torch.int64))


def roll(env: CountdownEnv, rounds: int, rows: int) -> list[torch.Tensor]:
    """What the first ``rows`` instances show over some episodes in which only they matter."""
    seen = []
    actions = torch.randint(4, (rounds, 5, 20, 3), generator=torch.Generator().manual_seed(1))
    for k in range(rounds):
        now = env.reset()
        seen += [x[:rows] for x in now]
        for t in range(5):
            step = env.step(actions[k, t, : env.num_envs])
            seen += [x[:rows] for x in step]
    return seen


def test_what_happens_in_an_instance_does_not_depend_on_the_batch() -> None:
    few, many = roll(CountdownEnv(3, 9), 4, 3), roll(CountdownEnv(20, 9), 4, 3)
    assert all(torch.equal(a, b) for a, b in zip(few, many, strict=True))


def test_instances_differ_from_each_other() -> None:
    lengths = CountdownEnv(50, 9).reset().state[:, 0]
    assert len(lengths.unique()) > 4


def test_a_frozen_instance_keeps_its_last_moment_and_earns_nothing() -> None:
    env = CountdownEnv(30, 2, time_limit="termination")
    env.reset()
    before = env.step(torch.ones(30, 3, dtype=torch.int64))
    while not env.done.all():
        frozen = env.done.clone()
        after = env.step(torch.ones(30, 3, dtype=torch.int64))
        assert not after.terminated[frozen].any()
        assert not after.truncated[frozen].any()
        assert (after.reward[frozen] == 0).all()
        for old, new in zip(before[3:], after[3:], strict=True):
            assert torch.equal(old[frozen], new[frozen])
        before = after


def test_reset_of_some_instances_leaves_the_others_alone() -> None:
    env = CountdownEnv(6, 3)
    env.reset()
    step = env.step(torch.full((6, 3), 2))
    mask = torch.tensor([True, False, True, False, False, False])
    now = env.reset(mask)
    assert torch.equal(now.state[~mask], step.state[~mask])
    assert (now.state[mask, 1] == 0).all()
    assert not env.done[mask].any()


def test_an_environment_continues_exactly_where_its_state_was_taken() -> None:
    env = CountdownEnv(5, 4)
    roll(env, 1, 5)
    state = env.state_dict()
    expected = roll(env, 2, 5)
    other = CountdownEnv(5, 4)
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(expected, roll(other, 2, 5), strict=True))


def test_state_of_another_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="5 instances given to 4"):
        CountdownEnv(4, 0).load_state_dict(CountdownEnv(5, 0).state_dict())
