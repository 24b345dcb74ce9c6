"""Rollouts record what happened, step by step, whatever the episodes' lengths."""

from __future__ import annotations

import torch
from marl_toys import CountdownEnv, explored, whole_sequence
from torch import Tensor

from marl.agents import Agent, make_agent
from marl.policies import EpsilonGreedy
from marl.settings.agent import AgentConfig
from marl.streams import Streams


def agent() -> Agent:
    torch.manual_seed(0)
    return make_agent(AgentConfig(hidden=8, last_action=True), obs_dim=2, n_agents=3, n_actions=4)


def nobody(obs: Tensor, last_actions: Tensor) -> Tensor:
    """A player that is never asked."""
    raise AssertionError


def choose_actions(q: Tensor, avail: Tensor, epsilon: float, luck: Tensor) -> Tensor:
    """The choice at one moment."""
    return EpsilonGreedy(nobody, epsilon, luck[:, None], q.shape[-1]).choose(0, q, avail)


def test_where_everything_is_available_the_choice_is_the_same_with_fewer_operations() -> None:
    q, luck = torch.randn(500, 2, 5), Streams(3, 500).uniform(4, 2, 2)
    everything = torch.ones(500, 2, 5, dtype=torch.bool)
    quick, slow = (EpsilonGreedy(nobody, 0.5, luck, 5).choose for _ in range(2))
    for t in range(4):
        # The one recognises its tensor, the other is shown a new one every time.
        assert torch.equal(quick(t, q, everything), slow(t + 0, q, everything.clone()))
    some = everything.clone()
    some[:, :, 1] = False
    assert (quick(3, q, some) != 1).all()


def test_random_actions_are_uniform_over_the_available_ones() -> None:
    avail = torch.tensor([[[True, False, True, True], [False, False, False, True]]])
    avail = avail.expand(30_000, 2, 4)
    luck = Streams(0, 30_000).uniform(2, 2)
    actions = choose_actions(torch.randn(30_000, 2, 4), avail, 1.0, luck)
    share = torch.nn.functional.one_hot(actions, 4).float().mean(0)
    torch.testing.assert_close(share[0], torch.tensor([1 / 3, 0, 1 / 3, 1 / 3]), atol=0.01, rtol=0)
    assert share[1].tolist() == [0, 0, 0, 1]


def test_epsilon_is_the_share_of_random_actions() -> None:
    q = torch.tensor([0.0, 0, 1, 0]).expand(30_000, 1, 4)
    luck = Streams(1, 30_000).uniform(1, 2)
    avail = torch.ones(30_000, 1, 4, dtype=torch.bool)
    greedy = (choose_actions(q, avail, 0.4, luck) == 2).float().mean()
    assert abs(greedy - (0.6 + 0.4 / 4)) < 0.01
    assert (choose_actions(q, avail, 0.0, luck) == 2).all()


def test_greedy_actions_are_the_best_available_even_if_all_values_are_low() -> None:
    q = torch.full((1, 1, 3), -1e30)
    q[..., 0] = 5.0
    avail = torch.tensor([[[False, True, True]]])
    assert choose_actions(q, avail, 0.0, torch.zeros(1, 1, 2)).item() == 1


def test_a_rollout_equals_stepping_by_hand() -> None:
    """A second environment replays the recorded actions and must show the recorded episodes."""
    net, env = agent(), CountdownEnv(40, 5)
    episodes = explored(env, net, 0.5, Streams(2, 40))
    again = CountdownEnv(40, 5)
    now, alive = again.reset(), torch.ones(40, dtype=torch.bool)
    for t in range(env.horizon):
        assert torch.equal(episodes.state[:, t], now.state)
        assert torch.equal(episodes.obs[:, t], now.obs)
        assert torch.equal(episodes.avail[:, t], now.avail)
        assert torch.equal(episodes.filled[:, t], alive)
        step = again.step(episodes.actions[:, t])
        assert torch.equal(episodes.reward[:, t], step.reward)
        assert torch.equal(episodes.terminated[:, t], step.terminated)
        alive = alive & ~step.terminated & ~step.truncated
        now = type(now)(*step[3:])
    assert torch.equal(episodes.state[:, env.horizon], now.state)
    # Both ways of ending occur, or this test would show nothing.
    assert episodes.terminated.any(1).float().mean() not in (0, 1)


def test_only_available_actions_are_taken() -> None:
    episodes = explored(CountdownEnv(40, 6), agent(), 0.7, Streams(2, 40))
    may = episodes.avail[:, :-1].gather(-1, episodes.actions[..., None])
    assert may.squeeze(-1)[episodes.filled].all()


def test_a_greedy_rollout_follows_the_agents_values_over_the_sequence() -> None:
    net, env = agent(), CountdownEnv(20, 7)
    episodes = explored(env, net, 0.0, None)
    q = whole_sequence(net, episodes.obs, episodes.last_actions())
    best = q.masked_fill(~episodes.avail, -float("inf")).argmax(-1)[:, :-1]
    assert torch.equal(best[episodes.filled], episodes.actions[episodes.filled])


def test_rows_that_nobody_reached_repeat_the_end() -> None:
    env = CountdownEnv(1, 0, horizon=50, time_limit="termination")
    short = None
    while short is None or int(short.lengths()[0]) > 20:
        short = explored(env, agent(), 0.3, Streams(1, 1))
    end = int(short.lengths()[0])
    assert short.filled[0].tolist() == [True] * end + [False] * (50 - end)
    assert (short.state[0, end:] == short.state[0, end]).all()
    assert (short.reward[0, end:] == 0).all()
    assert short.terminated.sum() == 1


def test_returns_are_undiscounted_team_sums_and_lengths_count_steps() -> None:
    episodes = explored(CountdownEnv(10, 8), agent(), 0.5, Streams(3, 10))
    for e in range(10):
        length = int(episodes.lengths()[e])
        assert episodes.returns()[e] == episodes.reward[e, :length].sum()
