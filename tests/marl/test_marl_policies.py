"""Sampled actions follow the probabilities and are always available."""

from __future__ import annotations

import math

import torch
from marl_actors import SIZES, softmax
from marl_toys import CountdownEnv, build_for
from torch import Tensor

from marl.algorithms.actor_critic import ActorCritic, entropy
from marl.algorithms.registry import make_algorithm
from marl.batch import Batch
from marl.policies import Sampled, log_softmax
from marl.rollout import collect
from marl.settings.algorithms import IppoConfig
from marl.streams import Streams

LOGITS = torch.tensor([[0.3, -1.0, 2.0, 0.0], [5.0, 1.0, 1.0, -2.0], [0.0, 0.0, 0.0, 0.0]])
AVAIL = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]).bool()


def sample(logits: Tensor, avail: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Actions and log_prob ``[B, n]`` of logits and avail ``[n, a]`` and draws ``[B, n]``."""
    rows = len(uniform)
    policy = Sampled(lambda obs, last: logits.expand(rows, -1, -1), uniform[:, None, :, None])
    nothing = torch.empty(rows, 0)
    actions, kept = policy(0, nothing, nothing, avail.expand(rows, -1, -1), nothing)
    return actions, kept["log_prob"]


def test_frequencies_are_the_probabilities_and_unavailable_actions_never_come() -> None:
    rows = 40_000
    actions, _ = sample(LOGITS, AVAIL, Streams(5, rows).uniform(3))
    for i in range(3):
        for a, p in enumerate(softmax(LOGITS[i], AVAIL[i])):
            count = int((actions[:, i] == a).sum())
            assert abs(count - rows * p) <= 4 * math.sqrt(rows * p * (1 - p))


def test_an_action_is_the_first_whose_cumulative_probability_exceeds_the_draw() -> None:
    grid = torch.linspace(0, 1 - 2**-24, 101, dtype=torch.float64)
    actions, log_prob = sample(LOGITS.double(), AVAIL, grid[:, None].expand(-1, 3))
    for i in range(3):
        probs = softmax(LOGITS.double()[i], AVAIL[i])
        for u, action, kept in zip(grid.tolist(), actions[:, i], log_prob[:, i], strict=True):
            reached = [a for a in range(4) if sum(probs[: a + 1]) > u]
            assert int(action) == reached[0]
            assert math.isclose(float(kept), math.log(probs[int(action)]), abs_tol=1e-12)


def test_the_largest_draw_never_gives_an_action_of_probability_zero() -> None:
    """Sums of float32 probabilities round to less than 1 here and there."""
    torch.manual_seed(0)
    logits = torch.cat([4 * torch.randn(2_000, 7), torch.full((2_000, 1), -1e4)], 1)
    avail = torch.rand(logits.shape) < 0.7
    avail[:, 0] = avail[:, -1] = True
    assert (log_softmax(logits, avail).exp().cumsum(-1)[:, -1] < 1 - 2**-24).any()
    actions, log_prob = sample(logits, avail, torch.full((1, len(logits)), 1 - 2**-24))
    assert avail.gather(-1, actions[0][:, None]).all()
    assert (actions < 7).all()
    assert log_prob.isfinite().all()


def test_log_softmax_is_over_the_available_actions_with_finite_gradients() -> None:
    logits = LOGITS.double().requires_grad_()
    found = log_softmax(logits, AVAIL)
    for i in range(3):
        probs = softmax(logits[i], AVAIL[i])
        torch.testing.assert_close(found[i].exp(), torch.tensor(probs, dtype=torch.float64))
    assert found.isfinite().all()
    h = entropy(found)
    assert h[2] == 0
    (h.sum() + found[AVAIL].sum()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[~AVAIL] == 0).all()
    assert (logits.grad[2] == 0).all()


def test_what_is_kept_is_the_policys_own_log_probability() -> None:
    algorithm = make_algorithm(build_for(IppoConfig(), SIZES))
    assert isinstance(algorithm, ActorCritic)
    env = CountdownEnv(16, 3)
    rollout = collect(env, algorithm.policy(16, Streams(0, 16), 1.0))
    batch = Batch.of(rollout)
    assert batch.avail[batch.current].gather(-1, batch.actions[..., None]).all()
    expected = algorithm.log_probs(batch).gather(-1, batch.actions[..., None]).squeeze(-1)
    torch.testing.assert_close(batch.extra("log_prob"), expected.detach(), atol=1e-5, rtol=1e-5)


def test_an_episodes_actions_do_not_depend_on_how_many_are_played() -> None:
    algorithm = make_algorithm(build_for(IppoConfig(), SIZES))
    few, many = (
        collect(CountdownEnv(count, 3), algorithm.policy(count, Streams(0, count), 0.0))
        for count in (3, 9)
    )
    assert torch.equal(few.actions, many.actions[:3])
