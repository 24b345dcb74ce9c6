"""Level-based foraging by its rules, its card and what every batched environment promises.

The reference is compared step by step in test_marl_lbf_parity.py.
"""

from __future__ import annotations

import pytest
import torch
from marl_lbf_cards import Entity, foraging_card, foraging_env, place
from torch import Tensor

from marl.envs.base import Step
from marl.envs.lbf.env import Foraging
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
from prompts.cards import EnvSpec, TaskCard, load_card

STAY, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
CARDS = ("lbf/8x8-2p-2f-coop-2s", "lbf/10x10-3p-3f-2s", "lbf/15x15-4p-3f-2s")


def play(
    actions: list[int],
    players: list[Entity],
    foods: list[Entity],
    *,
    size: int = 6,
    sight: int = 2,
) -> Step:
    """One step from a given position."""
    env = foraging_env(size, len(players), max(len(foods), 1), sight, False, num_envs=1)
    place(env, [players], [foods])
    return env.step(torch.tensor([actions]))


def cells(step: Step, players: int) -> list[tuple[float, ...]]:
    rows = step.state[0, : 3 * players].view(players, 3)[:, :2]
    return [tuple(row) for row in rows.tolist()]


def seeking(state: Tensor, n: int, m: int, luck: Tensor) -> Tensor:
    """Everybody walks to the first food that is left and loads it; a tenth is random."""
    entities = state[:, : 3 * (n + m)].view(len(state), n + m, 3)
    foods = entities[:, n:]
    first = (foods[..., 2] > 0).int().argmax(1)[:, None, None].expand(-1, 1, 3)
    way = (foods.gather(1, first) - entities[:, :n])[..., :2]
    down, right = way[..., 0], way[..., 1]
    vertical = torch.where(down > 0, SOUTH, NORTH)
    sideways = torch.where(right > 0, EAST, WEST)
    walk = torch.where(down.abs() > right.abs(), vertical, sideways)
    greedy = torch.where(way.abs().sum(-1) == 1, LOAD, walk)
    return torch.where(luck < 0.1, (luck * 60).long(), greedy)


def roll(env: Foraging, seed: int, greedy: bool) -> tuple[Tensor, Tensor]:
    """States ``[T + 1, B, s]`` and rewards ``[T, B]`` of one episode of each instance."""
    luck = torch.rand(
        env.horizon, env.num_envs, env.n_agents, generator=torch.Generator().manual_seed(seed)
    )
    states, rewards = [env.reset().state], []
    for t in range(env.horizon):
        at_random = (luck[t] * 6).long()
        actions = seeking(states[-1], env.n_agents, env.options.foods, luck[t])
        step = env.step(actions if greedy else at_random)
        states.append(step.state)
        rewards.append(step.reward)
    assert env.done.all()
    return torch.stack(states), torch.stack(rewards)


def made(card: TaskCard, num_envs: int, seed: int) -> Foraging:
    env = make_env(card, num_envs, seed)
    assert isinstance(env, Foraging)
    return env


@pytest.mark.parametrize("name", CARDS)
def test_every_state_lies_in_the_ranges_of_the_card(name: str) -> None:
    card = load_card(name)
    env = made(card, 256, 5)
    random, greedy = (roll(env, 1, flag) for flag in (False, True))
    seen = torch.cat([random[0], greedy[0]]).flatten(0, 1)
    for part, at in card.offsets():
        values = seen[:, at : at + part.size]
        ordinary = (values >= part.low) & (values <= part.high) & (values == values.round())
        special = torch.isin(values, torch.tensor(part.sentinels)) if part.sentinels else ~ordinary
        assert (ordinary | special).all(), part.name
        for end in (part.low, part.high, *part.sentinels):
            assert (values == end).any(), f"{part.name} never reaches {end}"
    rewards = torch.stack([random[1], greedy[1]])
    assert rewards.min() >= card.reward.low
    assert rewards.max() <= card.reward.high


@pytest.mark.parametrize("name", CARDS)
def test_collecting_everything_is_worth_one_and_ends_the_episode(name: str) -> None:
    env = made(load_card(name), 64, 2)
    states, rewards = roll(env, 3, greedy=True)
    n, m = env.n_agents, env.options.foods
    cleared = (states[-1, :, 3 * n : 3 * (n + m)].view(64, m, 3)[..., 2] == 0).all(1)
    assert cleared.sum() > 8
    torch.testing.assert_close(rewards.sum(0)[cleared], torch.ones(int(cleared.sum())))
    assert (rewards.sum(0)[~cleared] < 0.99).all()
    state = env.state_dict()
    assert (state["time"][cleared] < env.horizon).any()


def test_players_walk_in_the_four_directions() -> None:
    here: list[Entity] = [(1, 1, 1), (1, 4, 1), (4, 1, 2), (4, 4, 2)]
    step = play([NORTH, SOUTH, WEST, EAST], here, [])
    assert cells(step, 4) == [(0, 1), (2, 4), (4, 0), (4, 5)]
    assert step.state[0, -4:].tolist() == [NORTH, SOUTH, WEST, EAST]


def test_nobody_leaves_the_grid_or_walks_onto_food() -> None:
    here: list[Entity] = [(0, 0, 1), (5, 5, 1), (2, 3, 1)]
    step = play([WEST, SOUTH, NORTH], here, [(1, 3, 3)])
    assert cells(step, 3) == [(0, 0), (5, 5), (2, 3)]


def test_of_several_who_want_a_cell_nobody_gets_it() -> None:
    step = play([EAST, WEST, SOUTH], [(2, 1, 1), (2, 3, 1), (1, 2, 1)], [(4, 4, 1)])
    assert cells(step, 3) == [(2, 1), (2, 3), (1, 2)]


def test_whoever_stays_keeps_its_cell() -> None:
    for idle in (STAY, LOAD):
        step = play([EAST, idle], [(2, 2, 1), (2, 3, 1)], [(2, 4, 2)])
        assert cells(step, 2) == [(2, 2), (2, 3)]


def test_players_may_change_places_and_follow_each_other() -> None:
    step = play([EAST, WEST], [(2, 2, 1), (2, 3, 1)], [(4, 4, 1)])
    assert cells(step, 2) == [(2, 3), (2, 2)]
    step = play([EAST, EAST, EAST], [(2, 1, 1), (2, 2, 1), (2, 3, 1)], [(4, 2, 1)])
    assert cells(step, 3) == [(2, 2), (2, 3), (2, 4)]


def test_a_player_may_enter_the_cell_of_one_who_could_not_leave() -> None:
    step = play([EAST, EAST, WEST], [(2, 1, 1), (2, 2, 1), (2, 4, 1)], [(4, 2, 1)])
    assert cells(step, 3) == [(2, 2), (2, 2), (2, 4)]


def test_food_needs_the_levels_of_those_who_load_it_together() -> None:
    here: list[Entity] = [(1, 2, 1), (2, 1, 2), (3, 2, 2)]
    food: list[Entity] = [(2, 2, 5), (4, 4, 3)]
    alone = play([LOAD, LOAD, STAY], here, food)
    assert alone.reward.item() == 0
    assert alone.state[0, 9:15].tolist() == [2, 2, 5, 4, 4, 3]
    together = play([LOAD, LOAD, LOAD], here, food)
    assert together.reward.item() == 5 / 8
    assert together.state[0, 9:15].tolist() == [-1, -1, 0, 4, 4, 3]
    assert not together.terminated.item()


def test_diagonal_neighbours_do_not_load() -> None:
    step = play([LOAD], [(1, 1, 2)], [(2, 2, 1)])
    assert step.reward.item() == 0


def test_two_foods_are_collected_in_one_step() -> None:
    step = play([LOAD, LOAD], [(1, 2, 2), (4, 3, 1)], [(1, 1, 2), (4, 4, 1)])
    assert step.reward.item() == 1
    assert step.terminated.item()


def test_an_observation_lists_what_is_in_sight_first() -> None:
    here: list[Entity] = [(3, 3, 1), (7, 7, 2), (3, 4, 2)]
    food: list[Entity] = [(1, 1, 3), (6, 6, 2), (5, 2, 1)]
    obs = play([STAY] * 3, here, food, size=9).obs[0].view(3, 6, 3).tolist()
    nothing = [-1, -1, 0]
    assert obs[0] == [[0, 0, 3], [4, 1, 1], nothing, [2, 2, 1], [2, 3, 2], nothing]
    assert obs[1] == [[1, 1, 2], nothing, nothing, [2, 2, 2], nothing, nothing]
    assert obs[2] == [[4, 0, 1], nothing, nothing, [2, 2, 2], [2, 1, 1], nothing]


def test_at_the_upper_left_players_are_seen_further_than_food() -> None:
    obs = play([STAY] * 2, [(0, 0, 1), (4, 0, 2)], [(1, 3, 1)]).obs[0].tolist()
    assert obs[0] == [-1, -1, 0, 0, 0, 1, 4, 0, 2]
    assert obs[1][3:] == [2, 0, 2, -1, -1, 0]


def test_all_actions_are_always_available() -> None:
    assert play([NORTH], [(0, 0, 1)], [(2, 2, 1)]).avail.all()


def test_a_cleared_instance_stays_as_it_is_and_earns_nothing() -> None:
    env = foraging_env(6, 2, 1, 2, True, num_envs=2)
    here: list[Entity] = [(2, 1, 1), (2, 3, 2)]
    place(env, [here, here], [[(2, 2, 3)]] * 2)
    end = env.step(torch.tensor([[LOAD, LOAD], [LOAD, STAY]]))
    assert end.terminated.tolist() == [True, False]
    assert end.reward.tolist() == [1, 0]
    later = env.step(torch.tensor([[WEST, EAST], [WEST, EAST]]))
    assert torch.equal(later.state[0], end.state[0])
    assert torch.equal(later.obs[0], end.obs[0])
    assert later.reward.tolist() == [0, 0]
    assert cells(later, 2) == [(2, 1), (2, 3)]
    assert later.state[1, :6].tolist() == [2, 0, 1, 2, 4, 2]


def test_the_time_limit_can_truncate() -> None:
    card = foraging_card(8, 2, 2, 2, True, horizon=3)
    env = make_env(card, 4, 0, config=EnvConfig(time_limit="truncation"))
    env.reset()
    steps = [env.step(torch.zeros(4, 2, dtype=torch.int64)) for _ in range(3)]
    assert [bool(s.truncated.all()) for s in steps] == [False, False, True]
    assert not any(s.terminated.any() for s in steps)


def test_what_happens_in_an_instance_does_not_depend_on_the_batch() -> None:
    card = load_card("lbf/10x10-3p-3f-2s")
    few, many = made(card, 3, 7), made(card, 40, 7)
    actions = torch.randint(6, (3, 20, 40, 3), generator=torch.Generator().manual_seed(0))
    for episode in actions:
        assert torch.equal(few.reset().state, many.reset().state[:3])
        for joint in episode:
            for a, b in zip(few.step(joint[:3]), many.step(joint), strict=True):
                assert torch.equal(a, b[:3])


def test_reset_of_some_instances_leaves_the_others_alone() -> None:
    env = made(load_card(CARDS[0]), 6, 3)
    env.reset()
    step = env.step(torch.full((6, 2), SOUTH))
    mask = torch.tensor([True, False, True, False, False, False])
    now = env.reset(mask)
    assert torch.equal(now.state[~mask], step.state[~mask])
    assert torch.equal(now.obs[~mask], step.obs[~mask])
    assert (now.state[mask, -2:] == -1).all()
    assert not torch.equal(now.state[mask], step.state[mask])


def test_an_environment_continues_exactly_where_its_state_was_taken() -> None:
    env, other = made(load_card(CARDS[0]), 16, 4), made(load_card(CARDS[0]), 16, 4)
    env.reset()
    for t in range(9):
        env.step(torch.full((16, 2), t % 6))
    other.load_state_dict(env.state_dict())
    for t in range(4):
        steps = [e.step(torch.full((16, 2), t + 1)) for e in (env, other)]
        assert all(torch.equal(a, b) for a, b in zip(*steps, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(env.reset(), other.reset(), strict=True))


def test_what_was_shown_does_not_change_with_the_next_step() -> None:
    env = made(load_card(CARDS[0]), 8, 4)
    shown = env.reset()
    kept = [x.clone() for x in shown]
    env.step(torch.full((8, 2), EAST))
    assert all(torch.equal(a, b) for a, b in zip(shown, kept, strict=True))


@pytest.mark.parametrize(("size", "players", "foods"), [(3, 2, 2), (3, 9, 1), (5, 4, 4), (4, 3, 2)])
def test_food_that_finds_no_cell_is_left_out(size: int, players: int, foods: int) -> None:
    env = foraging_env(size, players, foods, 1, False, num_envs=200)
    states = env.reset().state
    listed = states[:, 3 * players : 3 * (players + foods)].view(200, foods, 3)
    placed = listed[..., 2] > 0
    assert (~placed.all(1)).any()
    assert ((listed[..., 0] >= 1) == placed).all()
    assert (listed[~placed] == torch.tensor([-1.0, -1, 0], dtype=torch.float64)).all()
    here = states[:, : 3 * players].view(200, players, 3)[..., :2]
    assert all(len(row.unique(dim=0)) == players for row in here)
    step = env.step(torch.full((200, players), LOAD))
    assert torch.equal(step.terminated & (step.reward == 0), ~placed.any(1))
    assert step.obs.isfinite().all()


def test_the_largest_grid_is_playable() -> None:
    env = foraging_env(50, 2, 3, 7, False, num_envs=4)
    states, _ = roll(env, 0, greedy=True)
    assert states[..., :2].max() > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2}, r"env\.options\.size is 2, but should be greater than or equal to 3"),
        ({"size": 51}, r"env\.options\.size is 51, but should be less than or equal to 50"),
        ({"size": 8.5}, r"env\.options\.size is 8\.5, but should be a valid integer"),
        ({"players": 3}, "3 players need n_agents: 3"),
        ({"size": 3, "players": 10}, "10 players have no room on 3 x 3 cells"),
        ({"foods": 3}, "2 players and 3 foods has 17 columns"),
        ({"foods": 0}, r"env\.options\.foods is 0"),
        ({"sight": "far"}, r"env\.options\.sight is 'far'"),
        ({"sight": 0}, r"env\.options\.sight is 0"),
        ({"coop": 1}, r"env\.options\.coop is 1, but should be a valid boolean"),
        ({"sigth": 2}, "unknown option 'sigth': did you mean sight"),
    ],
)
def test_a_card_with_bad_options_is_refused(options: dict[str, object], message: str) -> None:
    card = load_card(CARDS[0])
    bad = card.model_copy(
        update={"env": EnvSpec(kind="lbf", options={**card.env.options, **options})}
    )
    with pytest.raises(SettingsError, match=message):
        make_env(bad, 1, 0)


def test_a_card_without_an_option_is_refused() -> None:
    card = load_card(CARDS[0])
    options = {k: v for k, v in card.env.options.items() if k != "coop"}
    bad = card.model_copy(update={"env": EnvSpec(kind="lbf", options=options)})
    with pytest.raises(SettingsError, match=r"env\.options needs 'coop'"):
        make_env(bad, 1, 0)
