"""Level-based foraging against lbforaging: same episode, same actions, every step compared; and
episodes begin alike in distribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from marl_lbf_cards import Entity, foraging_env, place
from scipy.stats import chi2_contingency
from torch import Tensor

from marl.envs.base import Step

foraging = pytest.importorskip(
    "lbforaging.foraging", reason="the reference for level-based foraging is not installed"
)

LOAD = 5
MOVES = {1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}
HORIZON = 50

Places = list[tuple[int, int]]
Policy = Callable[[Any, int, np.random.Generator], int]


def reference(options: dict[str, Any]) -> Any:
    """The reference with the settings of its registered ids."""
    return foraging.ForagingEnv(
        players=options["players"],
        min_player_level=1,
        max_player_level=2,
        min_food_level=1,
        max_food_level=None,
        field_size=(options["size"], options["size"]),
        max_num_food=options["foods"],
        sight=options["sight"],
        max_episode_steps=HORIZON,
        force_coop=options["coop"],
    )


def foods(ref: Any) -> list[tuple[int, int]]:
    """Cells that hold food, row by row."""
    return [(int(r), int(c)) for r, c in zip(*np.nonzero(ref.field), strict=True)]


class Episode:
    """One episode of the reference, with the state that ours should show."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        self.env = reference(options)
        self.obs, _ = self.env.reset(seed=seed)
        self.places = foods(self.env)
        self.levels = [int(self.env.field[p]) for p in self.places]
        self.missing = options["foods"] - len(self.places)
        self.last = [-1] * options["players"]
        self.rewards, self.over = [0.0] * options["players"], False

    def step(self, actions: list[int]) -> None:
        self.obs, rewards, self.over, truncated, _ = self.env.step(actions)
        assert not truncated
        self.rewards, self.over, self.last = rewards, bool(self.over), actions

    @property
    def reward(self) -> float:
        return sum(self.rewards)

    def state(self) -> list[int]:
        players = [x for p in self.players() for x in p]
        left = [
            x
            for p in self.places
            for x in ((*p, int(self.env.field[p])) if self.env.field[p] else (-1, -1, 0))
        ]
        return players + left + [-1, -1, 0] * self.missing + self.last

    def players(self) -> list[Entity]:
        return [(int(p.position[0]), int(p.position[1]), int(p.level)) for p in self.env.players]

    def foods(self) -> list[Entity]:
        """As they lay at the start."""
        return [(*p, level) for p, level in zip(self.places, self.levels, strict=True)]


def random_play(ref: Any, player: int, rng: np.random.Generator) -> int:
    return int(rng.integers(6))


def seeking_play(ref: Any, player: int, rng: np.random.Generator) -> int:
    """Walk to the first food and load it, mostly; so everybody meets at the same food."""
    if rng.random() < 0.15:
        return random_play(ref, player, rng)
    row, col = ref.players[player].position
    if ref.adjacent_food(row, col) > 0:
        return LOAD
    left = foods(ref)
    if not left:
        return 0
    down, right = left[0][0] - row, left[0][1] - col
    if abs(down) > abs(right) or (abs(down) == abs(right) and rng.random() < 0.5):
        return 2 if down > 0 else 1
    return 4 if right > 0 else 3


def observed(episodes: list[Episode]) -> tuple[Tensor, Tensor]:
    obs = torch.tensor(np.array([e.obs for e in episodes]), dtype=torch.float64)
    return obs, torch.tensor([e.state() for e in episodes], dtype=torch.float64)


def compare(options: dict[str, Any], policy: Policy, count: int, seed: int) -> Counter[str]:
    """Play ``count`` episodes in both, comparing everything; how often what happened."""
    rng = np.random.default_rng(seed)
    episodes = [Episode(options, int(s)) for s in rng.integers(2**31, size=count)]
    env = foraging_env(**options, num_envs=count)
    place(env, [e.players() for e in episodes], [e.foods() for e in episodes])
    now = env.reset(torch.zeros(count, dtype=torch.bool))
    obs, state = observed(episodes)
    assert torch.equal(now.obs, obs)
    assert torch.equal(now.state, state)
    happened: Counter[str] = Counter()
    for t in range(HORIZON):
        actions = torch.zeros(count, options["players"], dtype=torch.int64)
        playing = [i for i, e in enumerate(episodes) if not e.over]
        for i in playing:
            e = episodes[i]
            before = [p.position for p in e.env.players]
            chosen = [policy(e.env, k, rng) for k in range(options["players"])]
            actions[i] = torch.tensor(chosen)
            e.step(chosen)
            happened.update(events(e, before, t))
        step = env.step(actions)
        check(step, episodes, playing)
        own = torch.zeros(count, options["players"], dtype=torch.float64)
        for i in playing:
            own[i] = torch.tensor(episodes[i].rewards, dtype=torch.float64)
        assert torch.equal(env.individual_rewards(), own)
    assert env.done.all()
    return happened


def events(episode: Episode, before: Places, t: int) -> list[str]:
    after = [p.position for p in episode.env.players]
    stood = [a == b for a, b in zip(before, after, strict=True)]
    failed = any(
        s and a in MOVES and not episode_blocked(episode, p, a)
        for s, a, p in zip(stood, episode.last, before, strict=True)
    )
    swapped = any(
        after[i] == before[j] and after[j] == before[i] and before[i] != before[j]
        for i in range(len(after))
        for j in range(i)
    )
    names = {
        "load": episode.reward > 0,
        "vain load": episode.reward == 0 and LOAD in episode.last,
        "collision": failed,
        "swap": swapped,
        "overlap": len(set(after)) < len(after),
        "cleared": episode.over and t < HORIZON - 1,
    }
    return [name for name, so in names.items() if so]


def episode_blocked(episode: Episode, place: tuple[int, int], action: int) -> bool:
    """Whether the border or a food (also one that was just collected) was in the way."""
    row, col = place[0] + MOVES[action][0], place[1] + MOVES[action][1]
    rows, cols = episode.env.field_size
    return not (0 <= row < rows and 0 <= col < cols) or (row, col) in episode.places


def check(step: Step, episodes: list[Episode], playing: list[int]) -> None:
    obs, state = observed(episodes)
    assert torch.equal(step.obs, obs)
    assert torch.equal(step.state, state)
    assert step.avail.all()
    assert not step.truncated.any()
    rewards, ends = torch.zeros(len(episodes), dtype=torch.float64), torch.zeros(len(episodes))
    for i in playing:
        rewards[i], ends[i] = episodes[i].reward, episodes[i].over
    assert torch.equal(step.terminated, ends.bool())
    # The reference adds up the players' shares, one rounding each.
    torch.testing.assert_close(step.reward, rewards, rtol=0, atol=4e-16)


SETTINGS = {
    "8x8-2p-2f-coop-2s": (8, 2, 2, 2, True),
    "10x10-3p-3f-2s": (10, 3, 3, 2, False),
    "15x15-4p-3f-2s": (15, 4, 3, 2, False),
    "7x7-4p-2f-coop-1s": (7, 4, 2, 1, True),
    "6x6-5p-3f-full": (6, 5, 3, 6, False),
    "20x20-8p-6f-4s": (20, 8, 6, 4, False),
    "9x9-1p-1f-3s": (9, 1, 1, 3, False),
}
NAMES = ("size", "players", "foods", "sight", "coop")


@pytest.mark.parametrize("policy", [random_play, seeking_play])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_step_agrees_with_the_reference(name: str, policy: Policy) -> None:
    options = dict(zip(NAMES, SETTINGS[name], strict=True))
    happened = compare(options, policy, count=24, seed=1)
    assert happened["vain load"] > 0 or policy is seeking_play
    if policy is seeking_play:
        assert happened["cleared"] > 0
        assert happened["load"] >= 2 * happened["cleared"] or options["foods"] == 1


def test_the_rare_situations_were_among_what_was_compared() -> None:
    crowded = {"size": 5, "players": 5, "foods": 2, "sight": 2, "coop": False}
    happened = compare(crowded, random_play, count=40, seed=2)
    for name in ("load", "vain load", "collision", "swap", "overlap"):
        assert happened[name] > 10, happened


def facts(state: list[int], players: int, count: int) -> dict[str, object]:
    """What is looked at of the beginning of an episode, in categories."""
    entities = [tuple(state[i : i + 3]) for i in range(0, 3 * (players + count), 3)]
    here, food = entities[:players], [f for f in entities[players:] if f[0] >= 0]
    gaps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for i, a in enumerate(food) for b in food[:i]]
    levels = tuple(p[2] for p in here)
    return {
        "first player": here[0][:2],
        "last player": here[-1][:2],
        "players apart": abs(here[0][0] - here[-1][0]) + abs(here[0][1] - here[-1][1]),
        "first food": food[0][:2],
        "last food": food[-1][:2],
        "smallest gap between foods": min(gaps, default=None),
        "largest gap between foods": max(gaps, default=None),
        "first player to first food": (food[0][0] - here[0][0], food[0][1] - here[0][1]),
        "number of foods": len(food),
        "player levels": levels,
        "food level with players' levels": (sum(sorted(levels)[:3]), food[0][2]),
        "food levels": (food[0][2], food[-1][2]),
    }


def p_value(ours: Counter[object], theirs: Counter[object]) -> float:
    """Of the two being draws from one distribution, by a chi-squared test.

    Categories too rare for it (fewer than 10 expected in the smaller sample) count as one.
    """
    both, smaller = ours + theirs, min(ours.total(), theirs.total())
    common = [k for k in both if both[k] * smaller >= 10 * both.total()]
    rows = [[c[k] for k in common] for c in (ours, theirs)]
    rare = [c.total() - sum(row) for c, row in zip((ours, theirs), rows, strict=True)]
    table = np.array([[*row, r] for row, r in zip(rows, rare, strict=True)])
    table = table[:, table.sum(0) > 0]
    return 1.0 if table.shape[1] == 1 else float(chi2_contingency(table).pvalue)


@pytest.mark.parametrize(
    "options",
    [(8, 2, 2, 2, True), (10, 3, 3, 2, False), (6, 4, 3, 2, False), (5, 5, 2, 2, True)],
)
def test_episodes_begin_as_those_of_the_reference(options: tuple[Any, ...]) -> None:
    named = dict(zip(NAMES, options, strict=True))
    n, m = named["players"], named["foods"]
    states = foraging_env(**named, num_envs=12_000, seed=3).reset().state.int().tolist()
    ours = [facts(state, n, m) for state in states]
    ref, theirs = reference(named), []
    for seed in range(1_200):
        for player in ref.players:
            player.position = None  # as in its first episode
        ref.reset(seed=seed)
        state = [x for p in ref.players for x in (*p.position, p.level)]
        state += [x for r, c in foods(ref) for x in (r, c, ref.field[r, c])]
        state += [-1, -1, 0] * (m - len(foods(ref)))
        theirs.append(facts([int(x) for x in state], n, m))
    for what in ours[0]:
        p = p_value(Counter(f[what] for f in ours), Counter(f[what] for f in theirs))
        assert p > 1e-3, f"{what}: p = {p}"
