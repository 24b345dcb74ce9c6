"""QTRAN against its losses in loops, and on the game that additive and monotone values fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_loops import (
    ACTIONS,
    AGENTS,
    assert_resumes_and_repeats,
    assert_same_loss,
    assert_sum_equals_vdn_mixer,
    chosen,
    ends,
    features_in_loops,
    fitted,
    greedy_in_loops,
    greedy_of,
    lambda_target,
    made_with,
    ragged,
    whole_table,
)
from marl_toys import PlainSum, assert_same_state, climbing, small_config
from torch import Tensor

from marl.algorithms.qtran import Qtran
from marl.batch import Batch
from marl.episodes import Episodes
from marl.settings.algorithms import QmixConfig, QtranConfig, VdnConfig
from marl.trainer import Trainer

PAYOFF = [[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]]


def layers(network: Any, x: Tensor) -> Tensor:
    """Linear layers of one row with ReLU between them."""
    weights = [layer for layer in network if hasattr(layer, "weight")]
    for at, layer in enumerate(weights):
        x = layer.weight @ (x.clamp(min=0) if at else x) + layer.bias
    return x


def joint_value(joint: Any, state: Tensor, features: Tensor, actions: list[int]) -> Tensor:
    """Q(s, u) of one moment."""
    total = torch.zeros(())
    for i in AGENTS:
        taken = torch.tensor([float(a == actions[i]) for a in ACTIONS], dtype=torch.float64)
        total = total + layers(joint.encoder, torch.cat([features[i], taken]))
    return layers(joint.value, torch.cat([state, total]))[0]


def loss_in_loops(made: Any, episodes: Episodes, td_lambda: float) -> Tensor:
    td, opt, nopt = [], [], []
    for e in range(episodes.count):
        features = features_in_loops(made.agent, episodes, e)
        target = features_in_loops(made.target_agent, episodes, e)
        length, ended = ends(episodes, e)
        state = episodes.state[e]
        values = [made.agent.head(h) for h in features]
        greedy = [greedy_in_loops(values[t], episodes.avail[e, t]) for t in range(length + 1)]
        after = [
            joint_value(made.target_joint, state[t], target[t], greedy[t]).detach()
            for t in range(1, length + 1)
        ]
        targets = lambda_target(list(episodes.reward[e, :length]), ended, after, td_lambda)
        for t, y in enumerate(targets):
            actions = episodes.actions[e, t].tolist()
            q = joint_value(made.joint, state[t], features[t], actions)
            best = joint_value(made.joint, state[t], features[t], greedy[t])
            v = layers(made.value, state[t])[0]
            td.append((q - y) ** 2)
            opt.append((chosen(values[t], greedy[t]).sum() - best.detach() + v) ** 2)
            gap = chosen(values[t], actions).sum() - q.detach() + v
            nopt.append(gap**2 if gap < 0 else 0 * gap)
    means = [torch.stack(terms).mean() for terms in (td, opt, nopt)]
    return means[0] + 0.7 * means[1] + 0.3 * means[2]


@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
def test_the_loss_equals_a_slow_independent_implementation(td_lambda: float) -> None:
    config = QtranConfig(joint_dim=6, opt=0.7, nopt=0.3)
    made, episodes = made_with(config, td_lambda=td_lambda), ragged()
    assert_same_loss(made, episodes, loss_in_loops(made, episodes, td_lambda))


def test_the_joint_value_is_regressed_on_rewards_alone() -> None:
    """The bounds on the sum must not pull Q(s, u): it is detached there, and V is not."""
    made, episodes = made_with(QtranConfig(joint_dim=6)), ragged()

    def gradients() -> list[Tensor]:
        loss = made.loss("q", Batch.of(episodes)).value
        return list(torch.autograd.grad(loss, [*made.joint.parameters()]))

    before = gradients()
    with torch.no_grad():
        made.value[-1].bias += 9.0
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


def test_it_plays_the_best_joint_action_where_vdn_and_qmix_do_not() -> None:
    made = fitted(QtranConfig(), PAYOFF, 1000)
    assert greedy_of(made) == [0, 0]
    batch = Batch.of(whole_table(PAYOFF))
    inputs = made.agent.inputs(batch.obs, batch.last_actions)
    with torch.no_grad():
        features = made.agent.features(inputs, batch.counts)
        found = made.joint(made.shown(batch.state), features, batch.actions)
    torch.testing.assert_close(found[:, 0], batch.reward, atol=0.05, rtol=0)
    for other in (VdnConfig(), QmixConfig()):
        assert greedy_of(fitted(other, PAYOFF, 300)) != [0, 0]


def test_a_credit_function_takes_the_sums_place() -> None:
    config = QtranConfig(tfcaf=True)
    assert_sum_equals_vdn_mixer(Qtran, config, PlainSum())
    runs = []
    for tfcaf in (False, True):
        settings = small_config(algorithm={"name": "qtran", "tfcaf": tfcaf})
        runs.append(Trainer(climbing(5), settings, 3, credit=PlainSum() if tfcaf else None))
        runs[-1].run()
    assert_same_state(*runs)


@pytest.mark.parametrize("credit", [None, PlainSum()], ids=["own", "credit"])
def test_training_repeats_and_resumes_exactly(credit: Any, tmp_path: Path) -> None:
    algorithm = {"name": "qtran", "tfcaf": credit is not None}
    assert_resumes_and_repeats(algorithm, tmp_path, credit)
