"""RIIT against slow loops, against an analytic gradient, and in the order of its two batches."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import (
    all_joint_actions,
    assert_deterministic_and_resumable,
    episodes,
    give_logits,
    hot,
    made,
    other_padding,
    slow_entropy,
    slow_lambda,
    softmax,
    step_scores,
    training,
)
from marl_toys import PlainSum
from torch import Tensor, nn

from marl.algorithms.base import Draw, TaskSizes
from marl.batch import Batch
from marl.clock import Clock
from marl.credit_watch import CreditWatch
from marl.episodes import Episodes
from marl.errors import TrainingError
from marl.learner import Learner
from marl.replay import Replay
from marl.settings.algorithms import RiitConfig

GAME = TaskSizes(n_agents=2, n_actions=3, state_dim=1, obs_dim=1)
MIXERS: dict[str, Any] = {
    "qmix": (RiitConfig(), None),
    "sum": (RiitConfig(mixing="sum"), None),
    "credit": (RiitConfig(tfcaf=True), PlainSum()),
}


def slow_q_tot(critic: Any, batch: Episodes, e: int, t: int, joint: list[Tensor]) -> float:
    """q_tot of one moment and everybody's one-hot action or probabilities."""
    number = torch.eye(3, dtype=torch.float64)
    q = [critic.utility(torch.cat([batch.obs[e, t, i], joint[i], number[i]])) for i in range(3)]
    return float(critic.mixer(torch.cat(q)[None], batch.state[e, t][None]))


def policies(algorithm: Any, batch: Episodes, e: int, t: int) -> list[Tensor]:
    """Everybody's probabilities at one moment."""
    scores = step_scores(algorithm.agent, batch, e)[t]
    return [
        torch.tensor(softmax(scores[i], batch.avail[e, t, i]), dtype=torch.float64)
        for i in range(3)
    ]


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("newest", [False, True])
def test_the_critics_loss_equals_slow_loops(mixer: str, newest: bool) -> None:
    """Old episodes with lambda 0, the newest with 0.6, both at the actions that were taken next."""
    algorithm, batch = made(*MIXERS[mixer]), episodes()
    errors, means = [], []
    with torch.no_grad():
        for e in range(batch.count):
            length = int(batch.lengths()[e])
            joint = [[hot(u, 4) for u in batch.actions[e, t].tolist()] for t in range(length)]
            joint.append(policies(algorithm, batch, e, length))
            target = algorithm.target_critic
            after = [slow_q_tot(target, batch, e, t, joint[t]) for t in range(1, length + 1)]
            ended = bool(batch.terminated[e, length - 1])
            rewards = batch.reward[e, :length].tolist()
            for t, y in enumerate(slow_lambda(rewards, after, ended, 0.6 if newest else 0.0)):
                errors.append(slow_q_tot(algorithm.critic, batch, e, t, joint[t]) - y)
                means.append(y)
    found = algorithm.loss("critic", Batch.of(batch, newest=newest))
    assert found.value.item() == pytest.approx(0.5 * sum(x * x for x in errors) / len(errors))
    assert found.metrics["target_mean"].item() == pytest.approx(sum(means) / len(means))


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_actors_loss_equals_slow_loops(mixer: str) -> None:
    algorithm, batch = made(*MIXERS[mixer]), episodes()
    values, entropies = [], []
    with torch.no_grad():
        for e in range(batch.count):
            for t in range(int(batch.lengths()[e])):
                pi = policies(algorithm, batch, e, t)
                values.append(slow_q_tot(algorithm.critic, batch, e, t, pi))
                entropies += [slow_entropy(p.tolist()) for p in pi]
    found = algorithm.loss("actor", Batch.of(batch))
    # H / H without gradient is 1.
    expected = -sum(values) / len(values) - 0.03
    assert found.value.item() == pytest.approx(expected, rel=1e-6)
    h = sum(entropies) / len(entropies)
    assert found.metrics["entropy"].item() == pytest.approx(h, rel=1e-6)


class Product(nn.Module):
    """q_tot = q_1 q_2: not monotone where a value is negative."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        return agent_qs.prod(-1, keepdim=True)


class Table(nn.Module):
    """q_i = sum_a table[i, a] u_i[a], from (observation, action, number) with one column first."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, inputs: Tensor) -> Tensor:
        a = self.table.shape[1]
        return (inputs[..., 1 : 1 + a] * self.table).sum(-1, keepdim=True)


@pytest.mark.parametrize("product", [False, True])
def test_with_an_exact_critic_the_actors_gradient_is_analytic(
    product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one-step game that pays q_1(u_1) + q_2(u_2), or their product with values of both signs:
    the actors climb the expected pay-off, whether or not q_tot is monotone."""
    algorithm = made(RiitConfig(tfcaf=True), Product() if product else PlainSum(), GAME)
    table = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 1.0, 0.0]]).double()
    algorithm.critic.utility = Table(table)
    logits = torch.tensor([[0.2, -0.5, 1.0], [0.7, 0.1, -1.0]]).double()
    batch = Batch.of(all_joint_actions(3))
    leaf = give_logits(algorithm, logits.expand(9, -1, -1), monkeypatch)
    algorithm.loss("actor", batch).value.backward()
    pi = [softmax(row, torch.ones(3)) for row in logits]
    q = [sum(p * float(x) for p, x in zip(pi[i], table[i], strict=True)) for i in range(2)]
    h = [slow_entropy(p) for p in pi]
    mean_h = sum(h) / 2
    assert leaf.grad is not None
    for i in range(2):
        slope = q[1 - i] if product else 1.0
        for a in range(3):
            climbs = slope * pi[i][a] * (float(table[i, a]) - q[i])
            spreads = -pi[i][a] * (math.log(pi[i][a]) + h[i])
            expected = -(climbs + 0.03 / mean_h * spreads / 2) / 9
            found = leaf.grad[:, i, a]
            torch.testing.assert_close(found, torch.full((9,), expected).double())
    # The same from the pay-offs of all joint actions.
    mine = logits.clone().requires_grad_()
    own = mine.softmax(-1)
    paid = table[0][:, None] * table[1] if product else table[0][:, None] + table[1]
    (own[0] @ paid @ own[1]).backward()
    assert mine.grad is not None
    spread_grad = torch.tensor(
        [[-pi[i][a] * (math.log(pi[i][a]) + h[i]) for a in range(3)] for i in range(2)]
    ).double()
    whole = -leaf.grad.sum(0) - 0.03 / mean_h * spread_grad / 2
    torch.testing.assert_close(whole, mine.grad, atol=1e-7, rtol=1e-6)


def test_certain_actors_do_not_divide_by_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, batch = made(RiitConfig()), Batch.of(episodes())
    certain = torch.zeros(len(batch.obs), 3, 4).double()
    certain[..., 0] = 1e4
    leaf = give_logits(algorithm, certain, monkeypatch)
    loss = algorithm.loss("actor", batch)
    loss.value.backward()
    assert loss.metrics["entropy"].item() == 0
    assert loss.value.isfinite()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_the_sum_is_the_credit_function_with_weights_one_and_bias_zero() -> None:
    summed = training("riit", algorithm={"mixing": "sum"})
    credited = training("riit+tfcaf", PlainSum(), algorithm={"name": "riit", "tfcaf": True})
    for trainer in (summed, credited):
        trainer.run()
    assert summed.learner.updates > 0
    a, b = summed.learner.state_dict(), credited.learner.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert [e.returns for e in summed.evaluations] == [e.returns for e in credited.evaluations]


def filled_replay(count: int = 12) -> Replay:
    """A replay of episodes."""
    replay = Replay(
        count, 6, n_agents=3, n_actions=4, obs_dim=2, state_dim=2, seed=0, dtype=torch.float64
    )
    replay.add(episodes(count))
    return replay


def draws(algorithm: Any) -> list[Draw]:
    """What an algorithm learns from after a rollout."""
    return list(algorithm.batches(episodes(), filled_replay()))


def old_and_new() -> list[Draw]:
    """One round of the two batches."""
    return draws(made(RiitConfig(newest=5), learner={"batch_size": 8, "updates_per_rollout": 1}))


def test_old_episodes_teach_the_critic_and_then_the_newest_teach_both() -> None:
    algorithm = made(RiitConfig(newest=5), learner={"batch_size": 8, "updates_per_rollout": 2})
    drawn = draws(algorithm)
    assert [d.groups for d in drawn] == [("critic",), None] * 2
    assert [d.newest for d in drawn] == [False, True] * 2
    assert [d.episodes.count for d in drawn] == [8, 5] * 2
    newest = episodes().named()["reward"][-5:]
    assert torch.equal(drawn[1].episodes.reward, newest[:, : drawn[1].episodes.reward.shape[1]])
    assert list(Learner(algorithm, Clock()).optimisers) == ["critic", "actor"]
    few = made(RiitConfig(), learner={"batch_size": 13})
    assert draws(few) == []


def test_the_order_of_the_two_batches_matters() -> None:
    old, new = old_and_new()
    ends = []
    for order in ((old, new), (new, old)):
        learner = Learner(made(RiitConfig()), Clock())
        for draw in order:
            learner.update(draw)
        ends.append(torch.cat([p.detach().flatten() for p in learner.parameters]))
    assert not torch.allclose(ends[0], ends[1])


def test_the_actors_backward_leaves_nothing_in_the_critics_next_step() -> None:
    old, new = old_and_new()
    learners = [Learner(made(RiitConfig()), Clock()) for _ in range(2)]
    for learner in learners:
        learner.update(new)
    critic = learners[0].algorithm.groups()["critic"]
    assert all(p.grad is not None for p in critic)  # of the actor's loss
    for p in learners[1].parameters:
        p.grad = None
    for learner in learners:
        learner.update(old)
    for left, right in zip(learners[0].parameters, learners[1].parameters, strict=True):
        assert torch.equal(left, right)


def test_the_critics_step_leaves_the_actor_as_it_is_and_the_actors_the_critic() -> None:
    old, new = old_and_new()
    for draw, group in ((old, "critic"), (new, "actor")):
        learner = Learner(made(RiitConfig()), Clock())
        before = copy.deepcopy(learner.algorithm.groups())
        learner.update(Draw(draw.episodes, (group,), draw.newest))
        for name, parameters in learner.algorithm.groups().items():
            same = all(map(torch.equal, parameters, before[name]))
            assert same == (name != group)


def test_padding_changes_nothing() -> None:
    algorithm, batch = made(RiitConfig()), episodes()
    for group in ("critic", "actor"):
        values = [
            algorithm.loss(group, Batch.of(b, newest=True)).value.item()
            for b in (batch, other_padding(batch))
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-12)


class Falling(nn.Module):
    """q_tot falls where the first agent's value rises."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        return agent_qs[:, 1:] - agent_qs[:, :1]


@pytest.mark.parametrize("label", ["riit", "facmac"])
def test_a_credit_function_is_held_against_its_word(label: str) -> None:
    for monotone in (True, False):
        credit = Falling()
        watch = CreditWatch(credit, monotone=monotone)
        trainer = training(label, credit, algorithm={"tfcaf": True}, credit_watch=watch)
        if monotone:
            with pytest.raises(TrainingError, match="it was to be monotone"):
                trainer.run()
        else:
            assert trainer.run().status == "finished"
            assert trainer.learner.largest_q > 0


@pytest.mark.parametrize("mixer", MIXERS)
def test_trainings_are_deterministic_and_resume_exactly(mixer: str, tmp_path: Path) -> None:
    config, credit = MIXERS[mixer]
    own = {"newest": 5, **config.model_dump(include={"mixing", "tfcaf"})}
    assert_deterministic_and_resumable("riit", tmp_path, credit, **own)
