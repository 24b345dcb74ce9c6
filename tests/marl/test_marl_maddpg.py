"""MADDPG and FACMAC against slow loops, and their straight-through samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import (
    SIZES,
    assert_deterministic_and_resumable,
    episodes,
    give_logits,
    happened,
    hot,
    made,
    other_padding,
    slow_lambda,
    softmax,
    step_scores,
    training,
)
from marl_toys import PlainSum, build_for
from torch import Tensor, nn

from marl.algorithms.registry import make_algorithm
from marl.batch import Batch
from marl.episodes import Episodes
from marl.settings.algorithms import FacmacConfig, MaddpgConfig

KINDS = {"maddpg": MaddpgConfig, "facmac": FacmacConfig}
BOTH = pytest.mark.parametrize("name", KINDS)


def slow_q(critic: Any, batch: Episodes, e: int, t: int, joint: list[Tensor]) -> list[float]:
    """MADDPG's value for each agent, FACMAC's q_tot alone, of one-hot actions."""
    number = torch.eye(3, dtype=torch.float64)
    if not hasattr(critic, "mixer"):
        return [float(critic(torch.cat([batch.state[e, t], *joint, number[i]]))) for i in range(3)]
    q = [critic.utility(torch.cat([batch.obs[e, t, i], joint[i], number[i]])) for i in range(3)]
    return [float(critic.mixer(torch.cat(q)[None], batch.state[e, t][None]))]


def greedy(scores: Tensor, avail: Tensor) -> list[Tensor]:
    """Each agent's best available action, one-hot, of ``[n, a]``."""
    return [
        hot(max((a for a in range(4) if avail[i, a]), key=lambda a: float(scores[i, a])), 4)
        for i in range(3)
    ]


@BOTH
@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
def test_the_critics_loss_equals_slow_loops(name: str, td_lambda: float) -> None:
    algorithm, batch = made(KINDS[name](), learner={"td_lambda": td_lambda}), episodes()
    errors = []
    with torch.no_grad():
        for e in range(batch.count):
            scores = step_scores(algorithm.target_agent, batch, e)
            length = int(batch.lengths()[e])
            ended, after, taken = bool(batch.terminated[e, length - 1]), [], []
            for t in range(length):
                best = greedy(scores[t + 1], batch.avail[e, t + 1])
                after.append(slow_q(algorithm.target_critic, batch, e, t + 1, best))
                joint = [hot(u, 4) for u in batch.actions[e, t].tolist()]
                taken.append(slow_q(algorithm.critic, batch, e, t, joint))
            rewards = batch.reward[e, :length].tolist()
            for i in range(len(taken[0])):
                targets = slow_lambda(rewards, [x[i] for x in after], ended, td_lambda)
                errors += [q[i] - y for q, y in zip(taken, targets, strict=True)]
    assert len(errors) == len(happened(batch)) * (3 if name == "maddpg" else 1)
    found = algorithm.loss("critic", Batch.of(batch)).value.item()
    assert found == pytest.approx(sum(x * x for x in errors) / len(errors))


@BOTH
def test_the_actors_loss_equals_slow_loops_on_the_same_noise(name: str) -> None:
    algorithm, plain = made(KINDS[name](logit_penalty=0.1)), episodes()
    batch = Batch.of(plain)
    before = algorithm.generator.get_state()
    noise = batch.spread(algorithm.gumbel(torch.empty(len(batch.actions), 3, 4).double()))
    algorithm.generator.set_state(before)
    values, squares = [], []
    with torch.no_grad():
        for e in range(plain.count):
            scores = step_scores(algorithm.agent, plain, e)
            for t in range(int(plain.lengths()[e])):
                drawn = greedy(scores[t] + noise[e, t], plain.avail[e, t])
                values += slow_q(algorithm.critic, plain, e, t, drawn)
                squares += [
                    float(scores[t, i, a]) ** 2
                    for i in range(3)
                    for a in range(4)
                    if plain.avail[e, t, i, a]
                ]
    expected = -sum(values) / len(values) + 0.1 * sum(squares) / len(squares)
    found = algorithm.loss("actor", batch).value.item()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_straight_through_samples_are_one_hot_with_the_softmaxs_gradient(
    dtype: torch.dtype,
) -> None:
    algorithm = made(MaddpgConfig())
    torch.manual_seed(3)
    logits = (3 * torch.randn(500, 3, 4)).to(dtype).requires_grad_()
    avail = torch.rand(500, 3, 4) < 0.6
    avail[..., 0] = True
    weights = torch.randn(500, 3, 4).to(dtype)
    before = algorithm.generator.get_state()
    sample = algorithm.straight_through(logits, avail)
    assert ((sample == 0) | (sample == 1)).all()
    assert (sample.sum(-1) == 1).all()
    assert (sample[~avail] == 0).all()
    (found,) = torch.autograd.grad((weights * sample).sum(), logits)
    algorithm.generator.set_state(before)
    noisy = (logits + algorithm.gumbel(logits)).masked_fill(~avail, -float("inf"))
    (expected,) = torch.autograd.grad((weights * noisy.softmax(-1)).sum(), logits)
    torch.testing.assert_close(found, expected)
    assert (found[~avail] == 0).all()


def test_straight_through_samples_follow_the_softmax() -> None:
    algorithm, rows = made(MaddpgConfig()), 40_000
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0]).double()
    avail = torch.tensor([True, True, False, True])
    sample = algorithm.straight_through(logits.expand(rows, -1), avail.expand(rows, -1))
    for count, p in zip(sample.sum(0).tolist(), softmax(logits, avail), strict=True):
        assert abs(count - rows * p) <= 4 * math.sqrt(rows * p * (1 - p))


@BOTH
def test_terminal_steps_count_and_padding_does_not(name: str) -> None:
    algorithm, batch = made(KINDS[name]()), episodes()
    value = algorithm.loss("critic", Batch.of(batch)).value.item()
    padded = algorithm.loss("critic", Batch.of(other_padding(batch))).value.item()
    assert padded == pytest.approx(value, rel=1e-12)
    paid = batch.reward + 5 * batch.terminated
    other = Episodes.from_named({**batch.named(), "reward": paid})
    assert algorithm.loss("critic", Batch.of(other)).value.item() != pytest.approx(value)


@BOTH
def test_logits_of_unavailable_actions_have_no_part_in_the_actors_loss(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, batch = made(KINDS[name](logit_penalty=1.0)), Batch.of(episodes())
    logits = algorithm.logits(batch).detach()
    before, losses = algorithm.generator.get_state(), []
    for unavailable in (0.0, 1e10):
        algorithm.generator.set_state(before)
        changed = torch.where(batch.avail, logits, unavailable)
        leaf = give_logits(algorithm, changed, monkeypatch)
        loss = algorithm.loss("actor", batch).value
        loss.backward()
        assert leaf.grad is not None
        assert (leaf.grad[~batch.avail] == 0).all()
        losses.append(loss.item())
    assert losses[0] == losses[1]


def test_an_agent_climbs_its_own_critic_with_its_own_action_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """d loss / d logits_i is that of -Q_i / n alone, in which the others' samples are constants."""
    algorithm, batch = made(MaddpgConfig(logit_penalty=0.0)), Batch.of(episodes())
    logits, before = algorithm.logits(batch).detach(), algorithm.generator.get_state()
    leaf = give_logits(algorithm, logits, monkeypatch)
    algorithm.loss("actor", batch).value.backward()
    now, steps = batch.current, len(batch.actions)
    for i in range(3):
        algorithm.generator.set_state(before)
        mine = logits.clone().requires_grad_()
        drawn = algorithm.straight_through(mine[now], batch.avail[now])
        joint = [drawn[:, j] if j == i else drawn[:, j].detach() for j in range(3)]
        number = hot(i, 3).expand(steps, 3)
        q = algorithm.critic(torch.cat([batch.state[now], *joint, number], -1))
        (-q.sum() / (3 * steps)).backward()
        assert leaf.grad is not None
        assert mine.grad is not None
        torch.testing.assert_close(leaf.grad[:, i], mine.grad[:, i])


@BOTH
def test_both_target_networks_move(name: str) -> None:
    algorithm = made(KINDS[name](), learner={"target_tau": 0.25})
    pairs = [
        (online, target)
        for a, b in (
            (algorithm.agent, algorithm.target_agent),
            (algorithm.critic, algorithm.target_critic),
        )
        for online, target in zip(a.parameters(), b.parameters(), strict=True)
    ]
    expected = [(0.25 * a + 0.75 * b).detach() for a, b in pairs]
    algorithm.after_update(1)
    for (_, target), value in zip(pairs, expected, strict=True):
        torch.testing.assert_close(target.detach(), value)


def test_a_credit_function_takes_the_mixers_place() -> None:
    algorithm = made(FacmacConfig(tfcaf=True), PlainSum())
    batch = Batch.of(episodes())
    taken = algorithm.q_tot(
        algorithm.critic,
        batch,
        batch.current,
        torch.nn.functional.one_hot(batch.actions, 4).double(),
    )
    moments = algorithm.credit_moments(batch)
    q = moments.action_qs[batch.current].gather(-1, batch.actions[..., None]).squeeze(-1)
    torch.testing.assert_close(taken.detach(), q.sum(-1, keepdim=True))
    loss = algorithm.loss("critic", batch)
    assert loss.largest_q is not None
    assert loss.largest_q >= q.abs().max()
    own = sum(p.numel() for p in algorithm.critic.utility.parameters())
    assert sum(p.numel() for p in algorithm.groups()["critic"]) == own


class Scaled(nn.Module):
    """A credit function that looks at the raw state."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        return agent_qs.sum(-1, keepdim=True) * state[:, :1]


def test_a_credit_function_gets_the_state_as_it_is_and_a_network_the_standardised_one() -> None:
    for config, credit, kept in (
        (FacmacConfig(tfcaf=True), Scaled(), False),
        (FacmacConfig(), None, True),
        (MaddpgConfig(), None, True),
    ):
        algorithm = make_algorithm(build_for(config, SIZES, credit))
        assert (algorithm.state_scale is not None) == kept


@BOTH
def test_trainings_are_deterministic_and_resume_exactly(name: str, tmp_path: Path) -> None:
    assert_deterministic_and_resumable(name, tmp_path)


@BOTH
def test_a_checkpoint_holds_the_generator_of_the_noise(name: str) -> None:
    trainer = training(name)
    before = trainer.state_dict()["learner.generator"].clone()
    trainer.run()
    after = trainer.state_dict()["learner.generator"]
    assert not torch.equal(before, after)


def test_facmac_trains_with_a_credit_function(tmp_path: Path) -> None:
    assert_deterministic_and_resumable("facmac", tmp_path, PlainSum(), tfcaf=True)
