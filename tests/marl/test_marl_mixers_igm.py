"""Individual-global-max by brute force, and where gradients flow."""

from __future__ import annotations

import itertools

import pytest
import torch
from marl_toys import mixer_of
from torch import Tensor

from marl.algorithms.base import TaskSizes
from marl.algorithms.iql import IqlMixer
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.qplex import QplexMixer
from marl.settings.algorithms import (
    AlgorithmSettings,
    IqlConfig,
    QattenConfig,
    QmixConfig,
    QplexConfig,
    VdnConfig,
)

SIZES = TaskSizes(3, 4, 5, agent_columns=((0, 1), (2, 3), (3, 4)))
CONFIGS: list[AlgorithmSettings] = [
    VdnConfig(),
    QmixConfig(mixing_dim=6, hypernet_dim=5),
    QattenConfig(heads=2, embed_dim=4, hypernet_dim=5),
    QattenConfig(heads=2, embed_dim=4, hypernet_dim=5, weighted_head=True),
    QplexConfig(hypernet_dim=5, heads=2),
    QplexConfig(hypernet_dim=5, heads=2, advantage_layers=3, advantage_dim=5),
]
NAMES = ["vdn", "qmix", "qatten", "weighted qatten", "qplex", "deep qplex"]


def q_tot_of(
    mixer: Mixer, action_qs: Tensor, avail: Tensor, state: Tensor, actions: Tensor
) -> Tensor:
    """``[N]``, the value of a joint action ``[N, n]``, as the learner asks for it."""
    chosen = action_qs.gather(-1, actions[..., None]).squeeze(-1)
    best = action_qs.masked_fill(~avail, -float("inf")).amax(-1)
    choice = Choice(best, actions) if mixer.uses_choice else None
    return mixer(chosen, state, choice).squeeze(-1)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_the_agents_own_best_actions_are_the_best_joint_action(
    config: AlgorithmSettings, seed: int
) -> None:
    torch.manual_seed(seed)
    mixer = mixer_of(config, SIZES).double()
    for parameter in mixer.parameters():  # far from the small values that networks start with
        parameter.data *= 3
    action_qs = 4 * torch.randn(20, 3, 4, dtype=torch.float64)
    state = 2 * torch.randn(20, 5, dtype=torch.float64)
    avail = torch.rand(20, 3, 4) < 0.7
    avail[..., 2] = True
    greedy = mixer.greedy_actions(action_qs, avail, state)
    best = q_tot_of(mixer, action_qs, avail, state, greedy)
    for joint in itertools.product(range(4), repeat=3):
        actions = torch.tensor(joint).expand(20, 3)
        possible = avail.gather(-1, actions[..., None]).all(1).squeeze(-1)
        q_tot = q_tot_of(mixer, action_qs, avail, state, actions)
        assert (q_tot <= best + 1e-9)[possible].all()


@pytest.mark.parametrize("config", CONFIGS[:4], ids=NAMES[:4])
def test_additive_and_attention_mixers_never_decrease_in_any_agents_value(
    config: AlgorithmSettings,
) -> None:
    torch.manual_seed(0)
    qs = (5 * torch.randn(500, 3)).requires_grad_()
    (slope,) = torch.autograd.grad(mixer_of(config, SIZES)(qs, torch.randn(500, 5)).sum(), qs)
    assert (slope >= 0).all()


def test_iql_gives_every_agent_its_own_value() -> None:
    mixer = mixer_of(IqlConfig(), SIZES)
    assert isinstance(mixer, IqlMixer)
    assert mixer.per_agent
    assert not list(mixer.parameters())
    qs, state = torch.randn(6, 3), torch.randn(6, 5)
    assert torch.equal(mixer(qs, state), qs)


def test_iql_chooses_each_agents_best_available_action() -> None:
    action_qs = torch.tensor([[[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]]])
    avail = torch.tensor([[[True, True, False], [True, True, True]]])
    greedy = IqlMixer().greedy_actions(action_qs, avail, torch.zeros(1, 5))
    assert greedy.tolist() == [[1, 0]]


def qplex() -> tuple[QplexMixer, Tensor, Tensor, Choice]:
    torch.manual_seed(1)
    mixer = QplexMixer(QplexConfig(hypernet_dim=6, heads=2), SIZES).double()
    action_qs = torch.randn(8, 3, 4, dtype=torch.float64, requires_grad=True)
    actions = torch.randint(4, (8, 3))
    return mixer, action_qs, torch.randn(8, 5, dtype=torch.float64), Choice(action_qs, actions)


def test_qplex_sends_no_gradient_through_the_advantages() -> None:
    """The agents learn as if q_tot were sum_i (w_i Q_i + b_i): the slope in Q_i is w_i, and the
    best Q-values, which only advantages hold, get none."""
    mixer, action_qs, state, choice = qplex()
    chosen = action_qs.gather(-1, choice.actions[..., None]).squeeze(-1)
    best = action_qs.amax(-1).detach().requires_grad_()
    q_tot = mixer(chosen, state, Choice(best, choice.actions))
    to_chosen, to_best = torch.autograd.grad(
        q_tot.sum(), (chosen, best), retain_graph=True, allow_unused=True
    )
    assert to_best is None
    torch.testing.assert_close(to_chosen, mixer.weights(state).abs() + 1e-10)


def test_qplex_weights_learn_from_the_first_sum_only() -> None:
    mixer, action_qs, state, choice = qplex()
    chosen = action_qs.detach().gather(-1, choice.actions[..., None]).squeeze(-1)
    best = action_qs.detach().amax(-1)
    learned = list(mixer.weights.parameters())
    whole = torch.autograd.grad(mixer(chosen, state, Choice(best, choice.actions)).sum(), learned)
    first = torch.autograd.grad(((mixer.weights(state).abs() + 1e-10) * chosen).sum(), learned)
    for got, expected in zip(whole, first, strict=True):
        torch.testing.assert_close(got, expected)


def test_qplex_lambda_learns_from_what_the_agents_gave_up() -> None:
    mixer, action_qs, state, choice = qplex()
    chosen = action_qs.detach().gather(-1, choice.actions[..., None]).squeeze(-1)
    parts = [*mixer.keys.parameters(), *mixer.agents.parameters(), *mixer.actions.parameters()]
    best = Choice(action_qs.detach().amax(-1), choice.actions)
    assert all(
        g.abs().sum() > 0 for g in torch.autograd.grad(mixer(chosen, state, best).sum(), parts)
    )
    nothing_given_up = Choice(chosen, choice.actions)
    gradients = torch.autograd.grad(mixer(chosen, state, nothing_given_up).sum(), parts)
    assert all(g.abs().sum() == 0 for g in gradients)


def test_qplex_says_that_it_needs_the_joint_action() -> None:
    mixer, _, state, _ = qplex()
    with pytest.raises(TypeError, match="`choice` is missing"):
        mixer(torch.zeros(8, 3, dtype=torch.float64), state)
