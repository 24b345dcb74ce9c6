"""IPPO and MAPPO against slow loops: advantages, surrogate, critics, clipping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import (
    GAMMA,
    assert_deterministic_and_resumable,
    episodes,
    happened,
    made,
    other_padding,
    slow_entropy,
    softmax,
    step_scores,
    training,
)
from torch import Tensor

from marl.algorithms.actor_critic import entropy, generalised_advantages
from marl.batch import Batch
from marl.clock import Clock
from marl.episodes import Episodes
from marl.learner import Learner
from marl.settings.algorithms import IppoConfig, MappoConfig

KINDS = {"ippo": IppoConfig, "mappo": MappoConfig}


def slow_advantages(batch: Episodes, values: Tensor, gae_lambda: float) -> Tensor:
    """A_t = sum_k (gamma lambda)^k delta_{t+k}, for values ``[E, T + 1, k]``."""
    result = torch.zeros_like(values[:, :-1])
    for e, t in happened(batch):
        length = int(batch.lengths()[e])
        for k in range(length - t):
            at = t + k
            after = 0.0 if bool(batch.terminated[e, at]) else GAMMA * values[e, at + 1]
            delta = batch.reward[e, at] + after - values[e, at]
            result[e, t] += (GAMMA * gae_lambda) ** k * delta
    return result


def slow_value(algorithm: Any, batch: Episodes, e: int, t: int, i: int) -> float:
    """The critic asked about one agent at one moment."""
    seen = batch.state[e, t] if algorithm.sees_state else batch.obs[e, t, i]
    number = torch.eye(3, dtype=torch.float64)[i]
    return float(algorithm.critic(torch.cat([seen, number])).detach())


def with_old_policy(algorithm: Any, batch: Episodes, shift: float = 0.0) -> Episodes:
    """Episodes as after a rollout, with the log probability of what was done: that of the present
    policy, moved at random by as much as ``shift``."""
    drawn = torch.Generator().manual_seed(2)
    log_prob = torch.zeros_like(batch.actions, dtype=torch.float64)
    for e in range(batch.count):
        scores = step_scores(algorithm.agent, batch, e)
        for t in range(int(batch.lengths()[e])):
            for i in range(3):
                probs = softmax(scores[t, i], batch.avail[e, t, i])
                log_prob[e, t, i] = torch.tensor(probs[int(batch.actions[e, t, i])]).log()
    log_prob += shift * (2 * torch.rand(log_prob.shape, generator=drawn, dtype=torch.float64) - 1)
    prepared: Episodes = algorithm.prepare(batch.with_extras(log_prob=log_prob))
    return prepared


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_advantages_equal_the_sum_of_discounted_errors(gae_lambda: float) -> None:
    batch, drawn = episodes(), torch.Generator().manual_seed(0)
    values = torch.randn(12, 7, 2, generator=drawn, dtype=torch.float64)
    found = generalised_advantages(
        batch.rewards, batch.terminated, batch.filled, values, GAMMA, gae_lambda
    )
    torch.testing.assert_close(found, slow_advantages(batch, values, gae_lambda))


@pytest.mark.parametrize("name", KINDS)
def test_a_rollout_is_given_advantages_and_value_targets(name: str) -> None:
    algorithm, batch = made(KINDS[name]()), episodes()
    prepared = algorithm.prepare(batch)
    values = torch.tensor(
        [
            [[slow_value(algorithm, batch, e, t, i) for i in range(3)] for t in range(7)]
            for e in range(12)
        ],
        dtype=torch.float64,
    )
    advantage = slow_advantages(batch, values, 0.95)
    target = advantage + values[:, :-1]
    for e, t in happened(batch):
        torch.testing.assert_close(prepared.extras["advantage"][e, t], advantage[e, t])
        torch.testing.assert_close(prepared.extras["value_target"][e, t], target[e, t])


@pytest.mark.parametrize("name", KINDS)
def test_both_losses_equal_slow_loops(name: str) -> None:
    algorithm = made(KINDS[name]())
    batch = with_old_policy(algorithm, episodes(), shift=0.6)
    extras, steps = batch.extras, happened(batch)
    samples = [float(extras["advantage"][e, t, i]) for e, t in steps for i in range(3)]
    mean = sum(samples) / len(samples)
    deviation = (sum((x - mean) ** 2 for x in samples) / len(samples)) ** 0.5
    surrogate = h = errors = clipped = 0.0
    for e in range(batch.count):
        scores = step_scores(algorithm.agent, batch, e)
        for t in range(int(batch.lengths()[e])):
            for i in range(3):
                probs = softmax(scores[t, i], batch.avail[e, t, i])
                new = probs[int(batch.actions[e, t, i])]
                rho = new / float(extras["log_prob"][e, t, i].exp())
                a = (float(extras["advantage"][e, t, i]) - mean) / deviation
                surrogate += min(rho * a, min(max(rho, 0.8), 1.2) * a)
                clipped += not 0.8 <= rho <= 1.2
                h += slow_entropy(probs)
                value = slow_value(algorithm, batch, e, t, i)
                errors += (value - float(extras["value_target"][e, t, i])) ** 2
    count = len(samples)
    assert 0 < clipped < count
    actor = algorithm.loss("actor", Batch.of(batch))
    assert actor.value.item() == pytest.approx(-surrogate / count - 0.01 * h / count, rel=1e-6)
    assert actor.metrics["entropy"].item() == pytest.approx(h / count)
    assert actor.metrics["clipped"].item() == pytest.approx(clipped / count)
    assert algorithm.loss("critic", Batch.of(batch)).value.item() == pytest.approx(errors / count)


def test_the_recurrent_actor_restarts_where_episodes_start() -> None:
    algorithm, plain = made(IppoConfig()), episodes()
    batch = Batch.of(plain)
    found = batch.spread(algorithm.log_probs(batch).detach())
    for e in range(plain.count):
        scores = step_scores(algorithm.agent, plain, e)
        for t in range(int(plain.lengths()[e])):
            for i in range(3):
                probs = torch.tensor(softmax(scores[t, i], plain.avail[e, t, i])).double()
                torch.testing.assert_close(found[e, t, i].exp(), probs, atol=1e-7, rtol=1e-6)


def gradient(algorithm: Any, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(algorithm.agent.parameters())))


def test_the_first_epochs_gradient_is_that_of_advantage_actor_critic() -> None:
    algorithm = made(MappoConfig())
    batch = Batch.of(with_old_policy(algorithm, episodes()))
    log_probs = algorithm.log_probs(batch)
    taken = log_probs.gather(-1, batch.actions[..., None]).squeeze(-1)
    a = batch.extra("advantage")
    a = (a - a.mean()) / a.std(correction=0)
    expected = -(a * taken).mean() - 0.01 * entropy(log_probs).mean()
    found = gradient(algorithm, algorithm.loss("actor", batch).value)
    for left, right in zip(found, gradient(algorithm, expected), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("outside", [True, False])
def test_samples_that_left_the_clip_in_their_advantages_direction_have_no_gradient(
    outside: bool,
) -> None:
    algorithm = made(MappoConfig(entropy=0.0))
    batch = with_old_policy(algorithm, episodes())
    a = batch.extras["advantage"]
    up = a > a[batch.filled].mean()
    moved = torch.where(up == outside, -0.5, 0.5)  # of log pi_old, so that rho is e^0.5 or e^-0.5
    batch = batch.with_extras(log_prob=batch.extras["log_prob"] + moved)
    norms = [
        float(g.norm()) for g in gradient(algorithm, algorithm.loss("actor", Batch.of(batch)).value)
    ]
    assert (sum(norms) == 0) == outside


@pytest.mark.parametrize("name", KINDS)
def test_the_critic_sees_the_state_or_the_own_observation_and_nothing_else(name: str) -> None:
    algorithm, batch = made(KINDS[name]()), episodes()
    obs, state = batch.obs[:, 0], batch.state[:, 0]
    values = algorithm.values(obs, state)
    changed = obs.clone()
    changed[:, 1] += 1
    same_for_obs = algorithm.values(changed, state) == values
    same_for_state = algorithm.values(obs, state + 1) == values
    if name == "mappo":
        assert same_for_obs.all()
        assert not same_for_state.any()
    else:
        assert same_for_state.all()
        assert torch.equal(same_for_obs, torch.tensor([True, False, True]).expand(12, -1))


def test_padding_changes_nothing() -> None:
    algorithm = made(MappoConfig())
    batch = with_old_policy(algorithm, episodes(), 0.3)
    padded = algorithm.prepare(other_padding(batch))
    for group in ("critic", "actor"):
        values = [algorithm.loss(group, Batch.of(b)).value.item() for b in (batch, padded)]
        assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_a_single_step_does_not_divide_by_zero() -> None:
    algorithm = made(MappoConfig())
    only = with_old_policy(algorithm, episodes()).first(1).shortened(1)
    same = only.with_extras(advantage=torch.full_like(only.extras["advantage"], 3.0))
    assert algorithm.loss("actor", Batch.of(same)).value.isfinite()


def test_the_critic_steps_first_and_the_actors_loss_does_not_reach_it() -> None:
    algorithm = made(MappoConfig())
    assert list(Learner(algorithm, Clock()).optimisers) == ["critic", "actor"]
    batch = Batch.of(with_old_policy(algorithm, episodes()))
    critic = list(algorithm.critic.parameters())
    value = algorithm.loss("actor", batch).value
    assert all(g is None for g in torch.autograd.grad(value, critic, allow_unused=True))


@pytest.mark.parametrize("name", KINDS)
def test_every_rollout_is_learned_from_some_times_and_forgotten(name: str) -> None:
    trainer = training(name, algorithm={"epochs": 3})
    trainer.run()
    assert trainer.replay.capacity == trainer.replay.size == 4
    assert trainer.env_steps == 200
    assert trainer.learner.updates == 3 * 200 // (4 * 5)


@pytest.mark.parametrize("name", KINDS)
def test_trainings_are_deterministic_and_resume_exactly(name: str, tmp_path: Path) -> None:
    assert_deterministic_and_resumable(name, tmp_path)
