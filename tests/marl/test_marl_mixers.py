"""Mixers against slow independent implementations, and the algorithms' registry."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from marl_toys import PlainSum, mixer_of
from torch import Tensor, nn

from marl.algorithms.base import TaskSizes
from marl.algorithms.credit import CreditMixer
from marl.algorithms.qmix import QmixMixer
from marl.algorithms.vdn import VdnMixer
from marl.errors import SettingsError
from marl.settings.algorithms import QllmConfig, QmixConfig, VdnConfig
from marl.settings.registry import algorithm_config

SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=5)


def batch(rows: int = 6) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(rows, 3), torch.randn(rows, 5)


def linear(layer: nn.Module, x: list[float]) -> list[float]:
    """A linear layer in Python's floats."""
    weight, bias = (p.detach().tolist() for p in layer.parameters())
    rows = zip(weight, bias, strict=True)
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in rows]


def relu(x: list[float]) -> list[float]:
    return [max(0.0, v) for v in x]


def slow_qmix(mixer: QmixMixer, qs: list[float], state: list[float]) -> float:
    """QMIX's figure 2 in loops over Python's floats."""
    n, m = len(qs), mixer.first_bias.out_features
    w1 = [
        abs(v) for v in linear(mixer.first_weights[2], relu(linear(mixer.first_weights[0], state)))
    ]
    b1 = linear(mixer.first_bias, state)
    w2 = [abs(v) for v in linear(mixer.last_weights[2], relu(linear(mixer.last_weights[0], state)))]
    value = linear(mixer.value[2], relu(linear(mixer.value[0], state)))[0]
    total = value
    for j in range(m):
        x = sum(qs[i] * w1[i * m + j] for i in range(n)) + b1[j]
        total += w2[j] * (x if x > 0 else math.exp(x) - 1)
    return total


def test_vdn_is_the_sum() -> None:
    qs, state = batch()
    assert torch.equal(VdnMixer()(qs, state), qs.sum(1, keepdim=True))


def test_qmix_equals_a_slow_independent_implementation() -> None:
    torch.manual_seed(0)
    mixer = QmixMixer(QmixConfig(mixing_dim=7, hypernet_dim=9), SIZES).double()
    qs, state = (x.double() for x in batch())
    expected = [slow_qmix(mixer, q, s) for q, s in zip(qs.tolist(), state.tolist(), strict=True)]
    torch.testing.assert_close(mixer(qs, state).flatten().tolist(), expected)


def test_qmix_has_the_layers_of_its_paper() -> None:
    mixer = QmixMixer(QmixConfig(), SIZES)
    shapes = {
        name: tuple(p.shape) for name, p in mixer.named_parameters() if name.endswith("weight")
    }
    assert shapes == {
        "first_weights.0.weight": (64, 5),
        "first_weights.2.weight": (96, 64),
        "first_bias.weight": (32, 5),
        "last_weights.0.weight": (64, 5),
        "last_weights.2.weight": (32, 64),
        "value.0.weight": (32, 5),
        "value.2.weight": (1, 32),
    }


def test_qmix_never_decreases_in_any_agents_value() -> None:
    torch.manual_seed(0)
    mixer = QmixMixer(QmixConfig(), SIZES)
    qs, state = batch(500)
    qs = (qs * 5).requires_grad_()
    (slope,) = torch.autograd.grad(mixer(qs, state).sum(), qs)
    assert (slope >= 0).all()


def test_qllm_calls_the_credit_function_and_adds_nothing() -> None:
    qs, state = batch()
    mixer = mixer_of(QllmConfig(), SIZES, PlainSum())
    assert torch.equal(mixer(qs, state), PlainSum()(qs, state))
    assert mixer.make_target() is mixer
    assert not list(mixer.parameters())


def test_qllm_refuses_a_function_with_parameters() -> None:
    with pytest.raises(SettingsError, match="no parameters to learn"):
        mixer_of(QllmConfig(), SIZES, QmixMixer(QmixConfig(), SIZES))


def test_qllm_needs_a_function_and_nobody_else_takes_one() -> None:
    with pytest.raises(SettingsError, match="needs a credit function"):
        mixer_of(QllmConfig(), SIZES)
    with pytest.raises(SettingsError, match="vdn takes no credit function"):
        mixer_of(VdnConfig(), SIZES, PlainSum())


class NonMonotone(nn.Module):
    """Likes agents to disagree: the individually greedy joint action is not the best."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        spread = agent_qs.amax(1, keepdim=True) - agent_qs.amin(1, keepdim=True)
        return spread * state[:, :1].abs() - agent_qs.sum(1, keepdim=True)


def test_the_exhaustive_maximum_equals_brute_force() -> None:
    torch.manual_seed(3)
    action_qs, state = torch.randn(40, 3, 4), torch.randn(40, 5)
    avail = torch.rand(40, 3, 4) < 0.6
    avail[..., 1] = True
    mixer = CreditMixer(SIZES, NonMonotone(), "exhaustive")
    found = mixer.greedy_actions(action_qs, avail, state)
    for row in range(40):
        options = [
            joint
            for joint in itertools.product(range(4), repeat=3)
            if all(avail[row, i, a] for i, a in enumerate(joint))
        ]
        values = {
            joint: float(
                NonMonotone()(
                    torch.stack([action_qs[row, i, a] for i, a in enumerate(joint)])[None],
                    state[row : row + 1],
                )
            )
            for joint in options
        }
        assert values[tuple(found[row].tolist())] == max(values.values())


def test_for_a_monotone_function_greedy_and_exhaustive_agree() -> None:
    action_qs, state = torch.randn(30, 3, 4), torch.randn(30, 5)
    avail = torch.ones(30, 3, 4, dtype=torch.bool)
    greedy, exhaustive = (CreditMixer(SIZES, PlainSum(), m) for m in ("greedy", "exhaustive"))
    assert torch.equal(
        greedy.greedy_actions(action_qs, avail, state),
        exhaustive.greedy_actions(action_qs, avail, state),
    )


def test_exhaustive_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = CreditMixer(SIZES, NonMonotone(), "exhaustive")
    args = torch.randn(30, 3, 4), torch.ones(30, 3, 4, dtype=torch.bool), torch.randn(30, 5)
    whole = mixer.greedy_actions(*args)
    monkeypatch.setattr("marl.algorithms.credit.ROWS_AT_ONCE", 64 * 7)
    assert torch.equal(mixer.greedy_actions(*args), whole)


def test_too_many_joint_actions_for_exhaustive_are_refused() -> None:
    sizes = TaskSizes(n_agents=6, n_actions=5, state_dim=5)
    with pytest.raises(SettingsError, match="15625 joint actions are more than 4096"):
        mixer_of(QllmConfig(maximum="exhaustive"), sizes, PlainSum())


def test_an_unknown_algorithm_lists_the_near_names() -> None:
    with pytest.raises(SettingsError, match=r"'qmx': did you mean qmix"):
        algorithm_config("qmx")
    assert algorithm_config("qmix") == QmixConfig()
