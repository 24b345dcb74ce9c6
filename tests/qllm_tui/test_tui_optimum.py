"""The best return that a run can reach, as its screen tells it."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch
import yaml

from marl.envs.registry import make_env
from prompts.cards import load_card
from qllm.tui.reading.optimum import best_return

WEATHER = "matrix/climbing-weather"
CARD = Path(__file__).parents[2] / "prompts" / "tasks" / f"{WEATHER}.yaml"


@pytest.mark.parametrize(
    ("task", "config", "best"),
    [
        ("matrix/climbing", {}, 275.0),
        ("matrix/penalty-25", {}, 250.0),
        ("matrix/climbing-3p", {}, 825.0),
        (WEATHER, {}, 287.5),  # (0, 0) pays 12 or 11
        ("lbf/8x8-2p-2f-coop-2s", {}, None),
        ("no/such", {}, None),
        ("matrix/climbing", {"env": {"factory": "mine.py:make"}}, None),
        ("mine", {"task": "/nowhere/mine.yaml"}, None),
    ],
)
def test_the_optimum_is_told_where_it_is_known(
    task: str, config: dict[str, object], best: float | None
) -> None:
    found = best_return(task, config)
    assert (found.total if found else None) == best


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_of_a_drawn_game_is_that_of_the_best_plan(seed: int, tmp_path: Path) -> None:
    """Two steps: every joint plan against every draw of the arrays."""
    rng = random.Random(seed)
    arrays = [[[rng.randint(-9, 9) for _ in range(3)] for _ in range(3)] for _ in range(3)]
    card = yaml.safe_load(CARD.read_text())
    card |= {"horizon": 2, "reward": {"low": -9, "high": 9, "meaning": "the pay-off", "scale": 1}}
    card["state"][1]["high"] = 2
    card["env"]["options"]["payoffs"] = arrays
    path = tmp_path / "drawn.yaml"
    path.write_text(yaml.safe_dump(card))
    # What an agent sees follows from what it did, so a plan is its actions in order.
    plans = list(itertools.product(range(3), repeat=2))
    draws = list(itertools.product(arrays, repeat=2))
    best = max(
        sum(array[i][j] for draw in draws for array, i, j in zip(draw, one, two, strict=True))
        for one in plans
        for two in plans
    )
    found = best_return("drawn", {"task": str(path)})
    assert found is not None
    assert found.by_chance
    assert found.total == pytest.approx(best / len(draws))


def test_the_optimum_of_a_drawn_game_is_what_its_best_joint_action_earns() -> None:
    found = best_return(WEATHER, {})
    card = load_card(WEATHER)
    env = make_env(card, 4096, 0)
    earned = []
    for action in itertools.product(range(3), repeat=2):
        env.reset()
        played = torch.tensor(action).expand(4096, 2)
        earned.append(sum(float(env.step(played).reward.mean()) for _ in range(card.horizon)))
    assert found is not None
    assert max(earned) == pytest.approx(found.total, abs=0.2)  # five standard errors
