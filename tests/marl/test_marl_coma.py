"""COMA against slow loops and against the analytic counterfactual gradient of one-step games."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import (
    all_joint_actions,
    assert_deterministic_and_resumable,
    episodes,
    give_logits,
    happened,
    hot,
    made,
    other_padding,
    slow_entropy,
    slow_lambda,
    softmax,
    step_scores,
    training,
)
from torch import Tensor, nn

from marl.algorithms.base import TaskSizes
from marl.batch import Batch
from marl.clock import Clock
from marl.episodes import Episodes
from marl.learner import Learner
from marl.settings.algorithms import ComaConfig

GAME = TaskSizes(n_agents=2, n_actions=3, state_dim=1, obs_dim=1)
CLIMBING = torch.tensor([[11.0, -30.0, 0.0], [-30.0, 7.0, 0.0], [0.0, 6.0, 5.0]]).double()


def slow_q(
    critic: nn.Module, batch: Episodes, e: int, t: int, i: int, actions: list[int]
) -> list[float]:
    """The critic's values of all actions of agent i, given the joint action of which its own part
    is not looked at."""
    theirs = [hot(actions[j], 4) for j in range(3) if j != i]
    seen = [batch.state[e, t], batch.obs[e, t, i], *theirs, hot(i, 3)]
    values: list[float] = critic(torch.cat(seen)).tolist()
    return values


def slow_targets(
    algorithm: Any, batch: Episodes, td_lambda: float
) -> dict[tuple[int, int, int], float]:
    """By (episode, time, agent)."""
    result = {}
    for e in range(batch.count):
        scores = step_scores(algorithm.agent, batch, e)
        length = int(batch.lengths()[e])
        ended = bool(batch.terminated[e, length - 1])
        for i in range(3):
            after = []
            for t in range(1, length):
                u = batch.actions[e, t].tolist()
                after.append(slow_q(algorithm.target_critic, batch, e, t, i, u)[u[i]])
            end = [softmax(scores[length, j], batch.avail[e, length, j]) for j in range(3)]
            likely = [max(range(4), key=p.__getitem__) for p in end]
            q = slow_q(algorithm.target_critic, batch, e, length, i, likely)
            after.append(sum(p * v for p, v in zip(end[i], q, strict=True)))
            rewards = batch.reward[e, :length].tolist()
            for t, target in enumerate(slow_lambda(rewards, after, ended, td_lambda)):
                result[e, t, i] = target
    return result


@pytest.mark.parametrize("td_lambda", [0.0, 0.8, 1.0])
def test_the_critics_loss_equals_slow_loops(td_lambda: float) -> None:
    algorithm, batch = made(ComaConfig(td_lambda=td_lambda)), episodes()
    targets, errors = slow_targets(algorithm, batch, td_lambda), []
    for (e, t, i), target in targets.items():
        u = batch.actions[e, t].tolist()
        errors.append(slow_q(algorithm.critic, batch, e, t, i, u)[u[i]] - target)
    found = algorithm.loss("critic", Batch.of(batch))
    assert found.value.item() == pytest.approx(sum(x * x for x in errors) / len(errors))
    mean = sum(targets.values()) / len(targets)
    assert found.metrics["target_mean"].item() == pytest.approx(mean)


def test_the_actors_loss_equals_slow_loops() -> None:
    algorithm, batch = made(ComaConfig(entropy=0.1)), episodes()
    total, count = 0.0, 0
    for e in range(batch.count):
        scores = step_scores(algorithm.agent, batch, e)
        for t in range(int(batch.lengths()[e])):
            u = batch.actions[e, t].tolist()
            for i in range(3):
                probs = softmax(scores[t, i], batch.avail[e, t, i])
                q = slow_q(algorithm.critic, batch, e, t, i, u)
                advantage = q[u[i]] - sum(p * v for p, v in zip(probs, q, strict=True))
                log_prob = torch.tensor(probs[u[i]]).double().log().item()
                total -= advantage * log_prob + 0.1 * slow_entropy(probs)
                count += 1
    assert count == 3 * len(happened(batch))
    found = algorithm.loss("actor", Batch.of(batch)).value.item()
    assert found == pytest.approx(total / count, rel=1e-6)


def test_an_agents_own_action_never_enters_its_critics_input() -> None:
    algorithm, batch = made(ComaConfig()), episodes()
    state, obs, u = batch.state[:, 0], batch.obs[:, 0], batch.actions[:, 0]
    before = algorithm.critic_inputs(state, obs, u)
    for i in range(3):
        other = u.clone()
        other[:, i] = (u[:, i] + 1) % 4
        same = (algorithm.critic_inputs(state, obs, other) == before).all(-1)
        assert torch.equal(same, (torch.arange(3) == i).expand(12, 3))


def test_the_policys_mean_of_an_agents_advantages_is_zero() -> None:
    algorithm, batch = made(ComaConfig()), Batch.of(episodes())
    log_probs = algorithm.log_probs(batch).detach()
    for i in range(3):
        mean = torch.zeros(len(batch.actions), dtype=torch.float64)
        for a in range(4):
            done = batch.episodes.actions.clone()
            done[..., i] = a
            named = {**batch.episodes.named(), "actions": done}
            advantage = algorithm.advantages(Batch.of(Episodes.from_named(named)), log_probs)
            mean += log_probs[:, i, a].exp() * advantage[:, i]
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-12, rtol=0)


class PerfectCritic(nn.Module):
    """The pay-offs of a two-agent game in the critic's place.

    Its input is (state, observation, the other's action, number) with one column for each of the
    first two.
    """

    def __init__(self, payoff: Tensor) -> None:
        super().__init__()
        self.payoff = payoff

    def forward(self, inputs: Tensor) -> Tensor:
        a = len(self.payoff)
        other = inputs[..., 2 : 2 + a]  # [N, 2, a]
        rows = torch.einsum("au,nu->na", self.payoff, other[:, 0])
        columns = torch.einsum("ua,nu->na", self.payoff, other[:, 1])
        return torch.stack([rows, columns], 1)


def game(payoff: Tensor) -> tuple[Any, Batch, Tensor]:
    """COMA with a perfect critic, all joint actions once, and logits ``[9, 2, 3]``, all alike."""
    algorithm = made(ComaConfig(entropy=0.0), sizes=GAME)
    algorithm.critic = PerfectCritic(payoff)
    logits = torch.tensor([[0.2, -0.5, 1.0], [0.7, 0.1, -1.0]]).double()
    return algorithm, Batch.of(all_joint_actions(3)), logits.expand(9, -1, -1)


def test_with_a_perfect_critic_the_update_is_the_counterfactual_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm, batch, logits = game(CLIMBING)
    leaf = give_logits(algorithm, logits, monkeypatch)
    algorithm.loss("actor", batch).value.backward()
    assert leaf.grad is not None
    found = -leaf.grad * leaf.numel() / 3  # of each sample and agent, the mean undone
    probs = logits[0].softmax(-1)
    weights = []
    for row, (u, v) in enumerate(batch.actions.tolist()):
        advantages = (
            CLIMBING[u, v] - sum(probs[0, a] * CLIMBING[a, v] for a in range(3)),
            CLIMBING[u, v] - sum(probs[1, a] * CLIMBING[u, a] for a in range(3)),
        )
        for i, taken in enumerate((u, v)):
            expected = advantages[i] * (hot(taken, 3) - probs[i])
            torch.testing.assert_close(found[row, i], expected)
        weights.append(probs[0, u] * probs[1, v])
    # In expectation over the policy it is the gradient of the expected pay-off.
    mine = logits[0].clone().requires_grad_()
    pi = mine.softmax(-1)
    (pi[0] @ CLIMBING @ pi[1]).backward()
    expectation = (torch.stack(weights)[:, None, None] * found).sum(0)
    torch.testing.assert_close(expectation, mine.grad)


def test_an_agent_that_makes_no_difference_has_no_advantage() -> None:
    algorithm, batch, logits = game(torch.tensor([1.0, 2.0, 4.0]).double()[:, None].expand(3, 3))
    advantage = algorithm.advantages(batch, logits.log_softmax(-1))
    torch.testing.assert_close(advantage[:, 1], torch.zeros(9).double(), atol=1e-12, rtol=0)
    assert (advantage[:, 0].abs() > 0.1).all()


def test_padding_changes_nothing() -> None:
    algorithm, batch = made(ComaConfig()), episodes()
    for group in ("critic", "actor"):
        values = [
            algorithm.loss(group, Batch.of(b)).value.item() for b in (batch, other_padding(batch))
        ]
        assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_the_critic_steps_before_the_actor_and_the_actors_loss_does_not_reach_it() -> None:
    algorithm = made(ComaConfig())
    assert list(Learner(algorithm, Clock()).optimisers) == ["critic", "actor"]
    value = algorithm.loss("actor", Batch.of(episodes())).value
    critic = list(algorithm.critic.parameters())
    assert all(g is None for g in torch.autograd.grad(value, critic, allow_unused=True))


def test_every_rollout_is_learned_from_once_and_forgotten() -> None:
    trainer = training("coma")
    trainer.run()
    assert trainer.replay.capacity == trainer.replay.size == 4
    assert trainer.learner.updates == trainer.env_steps // (4 * 5) == 10


def test_trainings_are_deterministic_and_resume_exactly(tmp_path: Path) -> None:
    assert_deterministic_and_resumable("coma", tmp_path)
