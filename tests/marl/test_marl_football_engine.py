"""Football with the real engine: `make test-football`."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from marl_football import PASS_AND_SHOOT, drawn, make, played, workers
from torch import Tensor

from marl.envs.football.env import FootballEnv
from marl.envs.football.install import football_python
from prompts.cards import TaskCard, load_card

pytestmark = [pytest.mark.football, pytest.mark.timeout(600)]

CARDS = ["football/pass-and-shoot", "football/3-vs-1", "football/counterattack-easy"]


def shared_seeds(env: FootballEnv) -> list[int]:
    """The seeds of the episodes that have just been begun."""
    return [int(seed) for seed in env._shared["seeds"]]


@pytest.mark.parametrize("task", CARDS)
def test_episodes_are_those_of_gfootballs_own_environment(task: str, tmp_path: Path) -> None:
    card, rows = load_card(task), 4
    with closing(make(rows, card=card, workers=1)) as env:
        actions = drawn(env)
        ours = played(env, actions)
        seeds, goals = shared_seeds(env), env.metrics()["goal_rate"]
    np.save(tmp_path / "actions.npy", actions.transpose(0, 1).numpy())
    subprocess.run(
        [
            football_python(),
            str(Path(__file__).with_name("football_reference.py")),
            card.env.options["scenario"],
            str(card.n_agents),
            json.dumps(seeds),
            str(tmp_path / "actions.npy"),
            str(tmp_path / "theirs.npz"),
        ],
        check=True,
        cwd=tmp_path,
    )
    theirs = np.load(tmp_path / "theirs.npz")
    for row in range(rows):
        length = int(theirs["length"][row])
        assert int((~ours["end"][:, row]).sum()) >= length - 1
        seen = torch.from_numpy(theirs["obs"][row, : length + 1])
        assert torch.equal(ours["state"][: length + 1, row], seen.flatten(1))
        paid = torch.from_numpy(theirs["reward"][row, :length].sum(1))
        assert torch.allclose(ours["reward"][:length, row].double(), paid, atol=1e-6)
        assert goals[row] == (theirs["goal"][row] > 0)


def test_twenty_episodes_replay_identically_from_their_seeds() -> None:
    with closing(make(4, workers=2)) as env:
        first = [played(env, drawn(env, turn)) for turn in range(5)]
        env.reseed(0)
        again = [played(env, drawn(env, turn)) for turn in range(5)]
    with closing(make(4, workers=1, restart_every=8)) as env:
        elsewhere = [played(env, drawn(env, turn)) for turn in range(5)]
    for one, *others in zip(first, again, elsewhere, strict=True):
        for other in others:
            assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(first[0]["state"][:20], first[1]["state"][:20])


@pytest.mark.parametrize("task", CARDS)
def test_two_thousand_states_lie_within_the_card(task: str) -> None:
    card = load_card(task)
    low, high = torch.tensor(card.column_intervals(), dtype=torch.float64).unbind(1)
    seen = 0
    with closing(make(8, card=card)) as env:
        for turn in range(100):
            states = played(env, lasting(env, turn))["state"].flatten(0, 1).double()
            assert (states >= low - 1e-6).all()
            assert (states <= high + 1e-6).all(), card.column_name(
                int((states - high).amax(0).argmax())
            )
            seen += len(states)
            if seen >= 2000 and turn >= 4:
                break


def lasting(env: FootballEnv, seed: int) -> Tensor:
    """Random actions of which each is repeated for five steps, so that the players get around."""
    few = drawn(env, seed)[: env.horizon // 5]
    return few.repeat_interleave(5, 0)


def goals(env: FootballEnv, card: TaskCard, episodes: int, *, scripted: bool) -> float:
    """Share of episodes with a goal: random play, or passing to the middle and shooting."""
    found: list[float] = []
    for turn in range(episodes // env.num_envs):
        luck, now = drawn(env, turn), env.reset()
        for joint in luck:
            chosen = joint if not scripted else pass_and_shoot(now.state, card)
            now = env.step(chosen)  # type: ignore[assignment]
            if env.done.all():
                break
        found += env.metrics()["goal_rate"].tolist()
    return sum(found) / len(found)


def pass_and_shoot(state: Tensor, card: TaskCard) -> Tensor:
    """Whoever has the ball runs at the goal and shoots from near; else, everybody runs at it."""
    short_pass, shot, right, bottom_right, top_right = (
        card.action_names.index(name)
        for name in ("short_pass", "shot", "right", "bottom_right", "top_right")
    )
    n = card.n_agents
    players = state[:, : 2 * n].unflatten(1, (n, 2))
    ball = state[:, 88:90]
    ours, distance = state[:, 95] > 0, (players - ball[:, None]).norm(dim=2)
    y = players[..., 1]
    run = torch.full_like(y, right, dtype=torch.int64)
    run = run.masked_fill(y > 0.08, top_right).masked_fill(y < -0.08, bottom_right)
    near = (ball[:, :1] > 0.75) & (ball[:, 1:].abs() < 0.25)
    wide = (ball[:, 1:].abs() > 0.2) & (ball[:, :1] < 0.75)
    holds = ours[:, None] & (distance < 0.04)
    play = torch.where(near, shot, torch.where(wide, short_pass, run))
    return torch.where(holds, play, run)


def test_who_passes_and_shoots_scores_more_often_than_chance() -> None:
    with closing(make(8)) as env:
        chance = goals(env, PASS_AND_SHOOT, 32, scripted=False)
        skill = goals(env, PASS_AND_SHOOT, 32, scripted=True)
    assert chance < 0.1
    assert skill > chance + 0.1


def test_an_engine_that_is_killed_is_replaced_and_plays_on() -> None:
    with closing(make(4, workers=2)) as env:
        env.reset()
        workers()[1].kill()
        env.step(torch.zeros(4, 3, dtype=torch.int64))
        assert env.lost.tolist() == [False, False, True, True]
        assert "signal SIGKILL" in env.news()[0]
        played(env, drawn(env))
        assert not env.lost.any()
