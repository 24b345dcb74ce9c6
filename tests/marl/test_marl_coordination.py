"""Every algorithm learns to coordinate in a small game."""

from __future__ import annotations

from typing import Any

import pytest
from marl_toys import PlainSum

from marl.settings.algorithms import WITH_CREDIT
from marl.settings.registry import ALGORITHMS, spelled_out, uses_credit
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import TaskCard, load_card

LABELS = [
    *ALGORITHMS,
    *(f"{name}{WITH_CREDIT}" for name in ALGORITHMS if ALGORITHMS[name].credit == "optional"),
]
HORIZON, BEST = 5, 50.0


def penalty(*, mirrored: bool) -> TaskCard:
    """The penalty game without penalty, cut to few steps.

    Mirrored, agent 1's actions are counted backwards: the same game, but its two optima are (0, 0)
    and (2, 2), and agents that share weights need not tell each other apart.
    """
    card = load_card("matrix/penalty-0").model_copy(update={"horizon": HORIZON})
    if not mirrored:
        return card
    payoff: Any = card.env.options["payoff"]
    options = {"payoff": [row[::-1] for row in payoff]}
    return card.model_copy(update={"env": card.env.model_copy(update={"options": options})})


def train(
    label: str, card: TaskCard, steps: int, updates: int, share: str = "all"
) -> tuple[float, float]:
    """Greedy returns before and after a training, with the sum as the credit function."""
    config = TrainConfig.model_validate(
        {
            "steps": steps,
            "device": "cpu",
            "algorithm": spelled_out(label),
            "agent": {"hidden": 32, "share": share},
            "learner": {"updates_per_rollout": updates},
            "exploration": {"anneal_steps": steps // 2},
            "evaluation": {"every": steps, "episodes": 1},
        }
    )
    credit = PlainSum() if uses_credit(label) else None
    result = Trainer(card, config, 1, credit=credit).run()
    return result.evaluations[0].returns[0], result.evaluations[-1].returns[0]


@pytest.mark.parametrize("label", LABELS)
def test_agents_find_an_optimum_of_the_mirrored_penalty_game(label: str) -> None:
    before, after = train(label, penalty(mirrored=True), 1_600, 2)
    assert before < BEST
    assert after == BEST


@pytest.mark.slow
@pytest.mark.parametrize("label", ["qmix", "maddpg", "ippo", "mappo"])
def test_agents_that_share_weights_take_different_sides_of_the_penalty_game(label: str) -> None:
    before, after = train(label, penalty(mirrored=False), 6_000, 4)
    assert before < BEST
    assert after == BEST


@pytest.mark.slow
@pytest.mark.parametrize("label", ["facmac", "coma"])
def test_agents_with_networks_of_their_own_do_where_sharing_ones_do_not(label: str) -> None:
    assert train(label, penalty(mirrored=False), 6_000, 4)[1] < BEST
    assert train(label, penalty(mirrored=False), 6_000, 4, share="none")[1] == BEST
