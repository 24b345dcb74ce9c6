"""The learner against slow loops: masks, double-Q, TD(lambda), targets, reward scale."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from marl_toys import CountdownEnv, build_for, explored, padded_values
from torch import Tensor, nn

from marl.agents import make_agent
from marl.algorithms.base import Build, Draw, TaskSizes
from marl.algorithms.credit import CreditMixer
from marl.algorithms.mixer import Mixer
from marl.algorithms.qmix import QmixMixer
from marl.algorithms.value import ValueDecomposition
from marl.clock import Clock
from marl.episodes import Episodes
from marl.learner import Learner, NonFiniteError
from marl.settings.agent import AgentConfig
from marl.settings.algorithms import QmixConfig
from marl.streams import Streams
from marl.targets import RunningScale, lambda_returns

SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=2, obs_dim=2)
GAMMA = 0.9


def algorithm(mixer: Mixer | None = None, **settings: Any) -> ValueDecomposition:
    """Value decomposition in float64 whose target networks differ from the online ones."""
    qmix = QmixConfig(mixing_dim=6, hypernet_dim=6)
    learner = {"standardise_states": False, **settings}
    build = build_for(qmix, SIZES, learner=learner, dtype="float64")

    class Given(ValueDecomposition):
        def make_mixer(self, build: Build) -> Mixer:
            return mixer or QmixMixer(qmix, build.sizes)

    made = Given(build)
    torch.manual_seed(1)
    for network in (made.target_agent, made.target_mixer):
        for p in network.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return made


def learner(mixer: Mixer | None = None, **settings: Any) -> Learner:
    """What trains it."""
    return Learner(algorithm(mixer, **settings), Clock())


def decomposition(made: Learner) -> ValueDecomposition:
    """What a learner trains."""
    assert isinstance(made.algorithm, ValueDecomposition)
    return made.algorithm


def episodes(count: int = 12) -> Episodes:
    """Episodes of different lengths, terminated and truncated, with unavailable actions."""
    net = make_agent(AgentConfig(hidden=8), 2, 3, 4)
    drawn = explored(CountdownEnv(count, 3), net, 1.0, Streams(0, count))
    assert len(drawn.lengths().unique()) > 2
    assert 0 < drawn.terminated.any(1).sum() < count
    wide = {k: v.double() if v.is_floating_point() else v for k, v in drawn.named().items()}
    return Episodes.from_named(wide)


def step_values(agent: Any, batch: Episodes, e: int) -> list[Tensor]:
    """Q-values ``[n, a]`` at every moment of an episode, one step at a time."""
    play, values = agent.player(1), []
    last = torch.full((1, 3), -1)
    for t in range(batch.obs.shape[1]):
        q = play(batch.obs[e, t][None], last)
        values.append(q[0].detach())
        if t < batch.actions.shape[1]:
            last = batch.actions[e, t][None]
    return values


def slow_targets(
    made: ValueDecomposition, batch: Episodes, td_lambda: float, double_q: bool
) -> list[Any]:
    """Targets of every episode by the textbook, in loops, the forward view of TD(lambda)."""
    result = []
    for e in range(batch.count):
        online, target = (step_values(a, batch, e) for a in (made.agent, made.target_agent))
        length = int(batch.lengths()[e])
        ended = bool(batch.terminated[e, length - 1])
        rewards = batch.reward[e].tolist()

        def value(t: int, e: int = e, online: Any = online, target: Any = target) -> float:
            chosen = []
            for i in range(3):
                judge = online[t][i] if double_q else target[t][i]
                may = [a for a in range(4) if batch.avail[e, t, i, a]]
                best = max(may, key=lambda a: float(judge[a]))
                chosen.append(target[t][i, best])
            return float(made.target_mixer(torch.stack(chosen)[None], batch.state[e, t][None]))

        targets = []
        for t in range(length):
            # n-step returns, weighted by (1 - lambda) * lambda^(n-1), the rest to the longest
            longest, total = length - t, 0.0
            for n in range(1, longest + 1):
                end = t + n
                g = sum(GAMMA**k * rewards[t + k] for k in range(n))
                if not (ended and end == length):
                    g += GAMMA**n * value(end)
                weight = (1 - td_lambda) * td_lambda ** (n - 1)
                total += g * (weight if n < longest else td_lambda ** (n - 1))
            targets.append(total)
        result.append(targets)
    return result


@pytest.mark.parametrize("td_lambda", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("double_q", [True, False])
def test_targets_equal_a_slow_reference(td_lambda: float, double_q: bool) -> None:
    made, batch = algorithm(td_lambda=td_lambda, double_q=double_q), episodes()
    _, target = padded_values(made, batch)
    for e, expected in enumerate(slow_targets(made, batch, td_lambda, double_q)):
        found = target[e, : len(expected)].tolist()
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_q_tot_is_the_mixed_value_of_the_actions_taken() -> None:
    made, batch = algorithm(), episodes()
    q_tot, target = padded_values(made, batch)
    assert q_tot.requires_grad
    assert not target.requires_grad
    for e in range(4):
        values = step_values(made.agent, batch, e)
        for t in range(int(batch.lengths()[e])):
            taken = torch.stack([values[t][i, batch.actions[e, t, i]] for i in range(3)])
            expected = made.mixer(taken[None], batch.state[e, t][None])
            torch.testing.assert_close(q_tot[e, t], expected[0, 0])


def test_filled_is_the_mask_of_pymarl() -> None:
    """Their arrays: filled at every moment that was inserted, terminated at the terminal step."""
    batch = episodes(30)
    count, steps = batch.filled.shape
    filled = torch.zeros(count, steps + 1)
    for e in range(count):
        filled[e, : int(batch.lengths()[e]) + 1] = 1
    truncated_early = [
        e for e in range(count) if not batch.terminated[e].any() and int(batch.lengths()[e]) < steps
    ]
    assert not truncated_early  # PyMARL has no word for such an episode
    mask = filled[:, :-1].clone()
    mask[:, 1:] *= 1 - batch.terminated[:, :-1].float()
    assert torch.equal(mask.bool(), batch.filled)


def test_the_loss_is_the_mean_over_the_steps_that_happened() -> None:
    made, batch = learner(), episodes()
    q_tot, target = padded_values(decomposition(made), batch)
    errors = [
        (q_tot[e, t] - target[e, t]).item()
        for e in range(batch.count)
        for t in range(int(batch.lengths()[e]))
    ]
    metrics = made.update(Draw(batch))
    assert metrics["loss"] == pytest.approx(sum(x * x for x in errors) / len(errors))
    assert metrics["td_error_abs"] == pytest.approx(sum(map(abs, errors)) / len(errors))


def test_what_stands_after_an_episodes_end_changes_nothing() -> None:
    batch = episodes()
    other = copy.deepcopy(batch)
    for e in range(batch.count):
        end = int(batch.lengths()[e])
        other.reward[e, end:] = 1e3
        other.obs[e, end + 1 :] = -7
        other.state[e, end + 1 :] = 9
        other.actions[e, end:] = 3
    a, b = learner(td_lambda=0.5), learner(td_lambda=0.5)
    assert a.update(Draw(batch)) == pytest.approx(b.update(Draw(other)), rel=1e-12)
    for left, right in zip(a.parameters, b.parameters, strict=True):
        torch.testing.assert_close(left, right)


def test_a_terminal_value_is_never_read_even_if_it_is_not_finite() -> None:
    terminated = torch.tensor([[False, True]])
    values = torch.tensor([[2.0, float("nan")]])
    for td_lambda in (0.0, 0.5, 1.0):
        got = lambda_returns(
            torch.ones(1, 2), terminated, torch.ones(1, 2, dtype=torch.bool), values, 0.5, td_lambda
        )
        assert got.isfinite().all()
        assert got[0, 1] == 1


def test_soft_targets_move_by_tau() -> None:
    made, batch = learner(target_update="soft", target_tau=0.25), episodes()
    before = [p.clone() for p in decomposition(made).target_agent.parameters()]
    made.update(Draw(batch))
    for old, new, online in zip(
        before,
        decomposition(made).target_agent.parameters(),
        decomposition(made).agent.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)


def test_hard_targets_are_copied_every_so_many_updates() -> None:
    made, batch = learner(target_update="hard", target_interval=3), episodes()

    of = decomposition(made)

    def equal() -> bool:
        pairs = zip(of.target_mixer.parameters(), of.mixer.parameters(), strict=True)
        return all(torch.equal(a, b) for a, b in pairs)

    seen = []
    for _ in range(6):
        made.update(Draw(batch))
        seen.append(equal())
    assert seen == [False, False, True, False, False, True]


def test_the_gradient_is_clipped_and_its_norm_reported_as_it_was() -> None:
    made, batch = learner(grad_clip=1e-3), episodes()
    assert made.update(Draw(batch))["grad_norm"] > 1e-3
    clipped = torch.stack([p.grad.norm() for p in made.parameters if p.grad is not None]).norm()
    assert clipped <= 1.001e-3


def test_a_running_scale_is_mean_and_variance_of_all_steps_that_happened() -> None:
    scale, seen = RunningScale(), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(7):
        reward = 5 + 3 * torch.randn(4, 6, generator=generator)
        filled = torch.rand(4, 6, generator=generator) < 0.7
        scale.update(reward, filled)
        seen.append(reward[filled])
    values = torch.cat(seen).double()
    expected = (values - values.mean()) / (values.var(correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(scale(values), expected)


def test_a_running_scale_of_constants_or_of_nothing_is_finite() -> None:
    scale = RunningScale()
    scale.update(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert scale(torch.zeros(3)).isfinite().all()
    scale.update(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool))
    assert scale(torch.ones(3)).tolist() == [0, 0, 0]


def test_the_largest_value_is_that_of_the_available_actions_of_both_networks() -> None:
    made, batch = learner(), episodes()
    found, of = [], decomposition(made)
    for e in range(batch.count):
        length = int(batch.lengths()[e])
        for agent, begin in ((of.agent, 0), (of.target_agent, 1)):
            # The moment after a terminal step is worth nothing and is left out.
            end = length + 1 - int(batch.terminated[e, length - 1])
            values = torch.stack(step_values(agent, batch, e))[begin:end]
            found += values[batch.avail[e, begin:end]].abs().tolist()
    made.update(Draw(batch))
    assert made.largest_q == pytest.approx(max(found))


class Bad(nn.Module):
    """Not finite itself, or only in its gradient (the square root's slope at zero)."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        total = agent_qs.sum(1, keepdim=True)
        if self.where == "value":
            return total / 0
        return total + (agent_qs * 0).abs().sum(1, keepdim=True).sqrt()


@pytest.mark.parametrize(("where", "named"), [("value", "q_tot_mean"), ("slope", "grad_norm")])
def test_a_non_finite_update_is_refused_and_changes_nothing(where: str, named: str) -> None:
    made = learner(CreditMixer(SIZES, Bad(where)))
    before = {k: v.clone() for k, v in made.state_dict().items()}
    with pytest.raises(NonFiniteError) as caught:
        made.update(Draw(episodes()))
    assert caught.value.what == named
    after = made.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_learner_continues_exactly_where_its_state_was_taken() -> None:
    batch = episodes()
    made = learner(standardise_states=True)
    made.algorithm.prepare(batch)
    made.update(Draw(batch))
    state = {k: v.clone() for k, v in made.state_dict().items()}
    other = learner(standardise_states=True)
    other.load_state_dict(state)
    for _ in range(3):
        a, b = made.update(Draw(batch)), other.update(Draw(batch))
        assert a == b
        assert not any(math.isnan(v) for v in a.values())
    left, right = made.state_dict(), other.state_dict()
    assert all(torch.equal(left[k], right[k]) for k in left)


class Watched(Mixer):
    """Keeps the states it is shown; with or without a parameter to learn."""

    def __init__(self, learns: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64)) if learns else 1.0
        self.seen: list[Tensor] = []

    def forward(self, agent_qs: Tensor, state: Tensor, choice: object = None) -> Tensor:
        self.seen.append(state)
        return self.scale * agent_qs.sum(-1, keepdim=True)


@pytest.mark.parametrize("learns", [True, False])
def test_only_what_is_trained_sees_standardised_states(learns: bool) -> None:
    batch = episodes()
    mixer = Watched(learns)
    made = algorithm(mixer, standardise_states=True)
    made.prepare(batch)
    padded_values(made, batch)
    begun = batch.state[:, :-1][batch.filled]
    if learns:
        begun = (begun - begun.mean(0)) / begun.std(0, correction=0)
    found = mixer.seen[0]
    torch.testing.assert_close(found.sort(0)[0], begun.sort(0)[0], atol=1e-5, rtol=1e-5)
