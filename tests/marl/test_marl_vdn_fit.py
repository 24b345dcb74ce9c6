"""Learning is right: VDN on one-step climbing games is least squares, weighted by a function."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from marl_toys import CLIMBING, climbing, whole_sequence

from bench.check import FUNCTIONS
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.runtime import CreditFunction

CONFIG = TrainConfig.model_validate(
    {
        "steps": 256,
        "threads": 1,
        "device": "cpu",
        "dtype": "float64",
        "env": {"num_envs": 256},
        "agent": {"core": "feedforward", "hidden": 16},
        "exploration": {"start": 1, "finish": 1},
        "learner": {
            "batch_size": 256,
            "replay_capacity": 256,
            "updates_per_rollout": 1500,
            "lr": 1e-2,
        },
        "evaluation": {"every": 10_000, "episodes": 1},
    }
)


def test_vdn_converges_to_the_least_squares_additive_fit_under_its_own_sampling() -> None:
    """Uniform exploration of a one-step game: q_tot(a, b) must become the best f(a) + g(b).

    The weights of the fit are how often each joint action was really tried (it is what the loss
    sums over); the target is the pay-off itself, since every step is terminal.
    """
    trainer = Trainer(climbing(horizon=1), CONFIG, seed=0)
    trainer.run()

    played = trainer.replay.newest(256)
    rows, pay = [], []
    for i, j in played.actions[:, 0].tolist():
        rows.append([*np.eye(3)[i], *np.eye(3)[j]])
        pay.append(CLIMBING[i][j])
    assert played.reward[:, 0].tolist() == pay
    fit = np.linalg.lstsq(np.array(rows), np.array(pay), rcond=None)[0]

    with torch.no_grad():
        first = played.obs[:1, :1], played.last_actions()[:1, :1]
        q = whole_sequence(trainer.algorithm.agent, *first)[0, 0]
    for i, j in itertools.product(range(3), repeat=2):
        assert abs(float(q[0, i] + q[1, j]) - (fit[i] + fit[3 + j])) < 0.02
    # Uniform sampling makes the safe action the best by far: the additive fit cannot see (0, 0).
    assert q.argmax(-1).tolist() == [2, 2]


@pytest.mark.parametrize(("algorithm", "greedy"), [("vdn", [2, 2]), ("qllm", [0, 0])])
def test_credit_in_calm_weather_alone_finds_what_a_sum_over_all_weather_misses(
    algorithm: str, greedy: list[int], warm_sandbox: Sandbox
) -> None:
    """Uniform exploration of one step of climbing-weather.

    The mean of its two arrays has row sums -9.75, -15.5 and 14.25 and column sums -9.75, -12.5 and
    11.25, so that its additive fit prefers (2, 2). The calm array is additive and prefers (0, 0).
    """
    card = load_card("matrix/climbing-weather")
    graph = warm_sandbox.check(FUNCTIONS["fair_weather"][1], card).graph
    assert graph is not None
    config = TrainConfig.model_validate({**CONFIG.model_dump(), "algorithm": {"name": algorithm}})
    credit = CreditFunction(graph) if algorithm == "qllm" else None
    trainer = Trainer(card.model_copy(update={"horizon": 1}), config, seed=0, credit=credit)
    trainer.run()
    played = trainer.replay.newest(1)
    with torch.no_grad():
        first = played.obs[:, :1], played.last_actions()[:, :1]
        q = whole_sequence(trainer.algorithm.agent, *first)[0, 0]
    assert q.argmax(-1).tolist() == greedy
