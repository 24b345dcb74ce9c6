"""MASER against its losses in loops, by hand on a chain of cells, and against QMIX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_loops import (
    AGENTS,
    GAMMA,
    assert_resumes_and_repeats,
    assert_same_loss,
    assert_sum_equals_vdn_mixer,
    chosen,
    ends,
    greedy_in_loops,
    lambda_target,
    made_with,
    ragged,
    values_in_loops,
)
from marl_toys import PlainSum, build_for, climbing, small_config
from torch import Tensor

from marl.algorithms.base import TaskSizes
from marl.algorithms.maser import Maser
from marl.batch import Batch
from marl.episodes import Episodes
from marl.settings.algorithms import MaserConfig
from marl.trainer import Trainer


def phi(made: Any, obs: Tensor) -> Tensor:
    """The goals' network of one observation, both layers with ReLU."""
    first, second = made.goal[0], made.goal[2]
    hidden = (first.weight @ obs + first.bias).clamp(min=0)
    return (second.weight @ hidden + second.bias).clamp(min=0)


def loss_in_loops(made: Any, episodes: Episodes, td_lambda: float) -> Tensor:
    settings, n = made.settings, len(AGENTS)
    team, own, alike = [], [], []
    for e in range(episodes.count):
        online = values_in_loops(made.agent, episodes, e)
        target = [q.detach() for q in values_in_loops(made.target_agent, episodes, e)]
        length, ended = ends(episodes, e)
        state, obs = episodes.state[e], episodes.obs[e]
        moments = length if ended else length + 1  # a terminal moment is worth nothing
        greedy = [greedy_in_loops(online[t], episodes.avail[e, t]) for t in range(length + 1)]
        best = [chosen(target[t], greedy[t])[0] for t in range(length + 1)]
        tot = [made.target_mixer(best[t][None], state[t][None])[0, 0] for t in range(length + 1)]
        goal = []
        for i in AGENTS:
            worth = [
                settings.alpha * best[t][i] + (1 - settings.alpha) * tot[t] / n
                for t in range(moments)
            ]
            goal.append(max(range(moments), key=lambda t, worth=worth: float(worth[t])))
        rewards, far = [], []
        for t in range(length):
            gaps = [phi(made, obs[t, i]) - phi(made, obs[goal[i], i]) for i in AGENTS]
            far.append([g.norm() if g.any() else g.sum() for g in gaps])
            intrinsic = -sum(d.detach() for d in far[t]) / n
            rewards.append(episodes.reward[e, t] + settings.lam * intrinsic)
        targets = lambda_target(rewards, ended, tot[1:], td_lambda)
        for t, y in enumerate(targets):
            actions = episodes.actions[e, t].tolist()
            values = chosen(online[t], actions)
            team.append((made.mixer(values, state[t][None])[0, 0] - y) ** 2)
            last = ended and t == length - 1
            after = best[t] if last else best[t + 1]
            share = after.exp() / after.exp().sum()
            step_own, step_alike = torch.zeros(()), torch.zeros(())
            for i in AGENTS:
                y_i = share[i] * rewards[t] - settings.lam * far[t][i].detach()
                y_i = y_i + (0 if last else GAMMA * after[i])
                step_own = step_own + (values[0, i] - y_i) ** 2
                a, b = target[t][i], target[goal[i]][i]
                cosine = (a @ b) / (a.norm() * b.norm())
                step_alike = step_alike + (far[t][i] - (1 - cosine)) ** 2
            own.append(step_own)
            alike.append(step_alike)
    first, second, third = (torch.stack(terms).mean() for terms in (team, own, alike))
    return first + settings.mix * (second + third)


@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
@pytest.mark.parametrize("reference", [False, True])
def test_the_loss_equals_a_slow_independent_implementation(
    reference: bool, td_lambda: float
) -> None:
    config = MaserConfig(alpha=0.3, lam=0.5, mix=0.2, goal_dim=6, reference=reference)
    made, episodes = made_with(config, td_lambda=td_lambda), ragged()
    assert_same_loss(made, episodes, loss_in_loops(made, episodes, td_lambda))


CELLS = [[0, 0], [1, 1], [2, 0], [3, 1], [2, 2], [3, 1]]
"""Of two agents on a chain of cells 0 to 4 that pays in cell 4, which neither gets to."""


def chain() -> Episodes:
    """The walk along `CELLS`, truncated, and before it a shorter one that ends at once."""
    cells = torch.tensor([[[0, 0]] + [[4, 4]] * 5, CELLS], dtype=torch.float64)
    filled = torch.tensor([[True] + [False] * 4, [True] * 5])
    terminated = torch.zeros_like(filled)
    terminated[0, 0] = True
    return Episodes(
        obs=cells[..., None],
        state=cells,
        avail=torch.ones(2, 6, 2, 2, dtype=torch.bool),
        actions=torch.ones(2, 5, 2, dtype=torch.int64),
        reward=terminated.double(),
        terminated=terminated,
        filled=filled,
    )


def on_chain(alpha: float) -> Maser:
    """MASER on a chain whose phi is the cell's number."""
    sizes = TaskSizes(n_agents=2, n_actions=2, state_dim=2, obs_dim=1)
    made = Maser(build_for(MaserConfig(alpha=alpha, goal_dim=1), sizes, dtype="float64"))
    with torch.no_grad():
        made.goal[0].weight.fill_(1)
        made.goal[0].bias.zero_()
        made.goal[2].weight.copy_(torch.tensor([[1.0], [0.0]]))
        made.goal[2].bias.zero_()
    return made


@pytest.mark.parametrize(
    ("alpha", "moments"),
    [
        (1.0, [3, 4]),  # each agent's own best cell, the first time it was there
        # gamma^(4 - cell), summed: 0: 1.31, 1: 1.46, 2: 1.47, 3: 1.63, 4: 1.62, 5: 1.63
        (0.0, [3, 3]),
        # 0.6 of one's own, 0.4 of half the sum; agent 1: 3: 0.763, 4: 0.810
        (0.6, [3, 4]),
    ],
)
def test_the_subgoal_is_the_moment_that_was_worth_most(alpha: float, moments: list[int]) -> None:
    made, batch = on_chain(alpha), Batch.of(chain())
    worth = 0.9 ** (4 - batch.obs[..., 0])  # [M, n]
    goals = made.subgoals(batch, worth, worth.sum(-1, keepdim=True))
    row = batch.packing.moments[goals] % 6  # the time of a moment
    which = batch.packing.steps // 5
    assert row[which == 1].tolist() == [moments] * 5
    assert row[which == 0].tolist() == [[0, 0]]  # the terminal cell is no subgoal


def test_intrinsic_rewards_are_0_at_the_goal_and_negative_elsewhere() -> None:
    made, batch = on_chain(1.0), Batch.of(chain())
    worth = 0.9 ** (4 - batch.obs[..., 0])
    goals = made.subgoals(batch, worth, worth.sum(-1, keepdim=True))
    intrinsic = -made.distance(batch, goals)
    goes_on = batch.packing.steps // 5 == 1
    # Subgoals: cell 3 for agent 0, cell 2 for agent 1.
    expected = [[-3, -2], [-2, -1], [-1, -2], [0, -1], [-1, 0]]
    assert intrinsic[goes_on].tolist() == expected


def trained(algorithm: dict[str, Any]) -> Trainer:
    trainer = Trainer(climbing(5), small_config(algorithm=algorithm), 3)
    trainer.run()
    return trainer


def test_without_subgoals_it_is_qmix_bit_for_bit() -> None:
    qmix, maser = trained({"name": "qmix"}), trained({"name": "maser", "lam": 0, "mix": 0})
    left, right = qmix.state_dict(), maser.state_dict()
    assert {name for name in right if name not in left} == {
        f"{part}.goal.{name}"
        for part in ("learner", "best")
        for name in ("0.weight", "0.bias", "2.weight", "2.bias")
    }
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [e.returns for e in qmix.evaluations] == [e.returns for e in maser.evaluations]


@pytest.mark.parametrize("reference", [False, True])
def test_the_goals_network_is_trained_unless_as_in_the_published_code(reference: bool) -> None:
    algorithm = {"name": "maser", "reference": reference}
    settings = small_config(algorithm=algorithm)
    fresh: Any = Trainer(climbing(5), settings, 3).algorithm
    after: Any = trained(algorithm).algorithm
    pairs = zip(fresh.goal.parameters(), after.goal.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) == reference


def test_a_credit_function_takes_the_mixers_place() -> None:
    assert_sum_equals_vdn_mixer(Maser, MaserConfig(tfcaf=True), PlainSum())


@pytest.mark.parametrize("credit", [None, PlainSum()], ids=["own", "credit"])
@pytest.mark.parametrize("reference", [False, True])
def test_training_repeats_and_resumes_exactly(reference: bool, credit: Any, tmp_path: Path) -> None:
    algorithm = {"name": "maser", "reference": reference, "tfcaf": credit is not None}
    assert_resumes_and_repeats(algorithm, tmp_path, credit)
