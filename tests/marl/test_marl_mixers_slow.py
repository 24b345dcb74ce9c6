"""Qatten and QPLEX against their papers' sums, in numpy, in loops over rows, agents and heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from marl.algorithms.base import TaskSizes
from marl.algorithms.heads import Heads
from marl.algorithms.mixer import Choice
from marl.algorithms.qatten import QattenMixer
from marl.algorithms.qplex import QplexMixer
from marl.settings.algorithms import QattenConfig, QplexConfig
from prompts.cards import load_card

COLUMNS = ((0, 4), (1, 5), (3, 2))
SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=7, agent_columns=COLUMNS)

Array = NDArray[np.float64]


def parameters(module: nn.Module) -> list[Array]:
    return [p.detach().numpy() for p in module.parameters()]


def two_layers(module: nn.Module, x: Array) -> Array:
    """``nn.Sequential(Linear, ReLU, Linear)`` of one row."""
    w1, b1, w2, b2 = parameters(module)
    return w2 @ np.maximum(w1 @ x + b1, 0) + b2


def head_output(module: Heads, head: int, x: Array) -> Array:
    """One head's network of one row."""
    for at, weight in enumerate(module.weights):
        x = x if at == 0 else np.maximum(x, 0)
        x = x @ weight[head].detach().numpy()
        if at < len(module.biases):
            x = x + module.biases[at][head, 0].detach().numpy()
    return x


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def rows(count: int = 5) -> tuple[Tensor, Tensor, Choice]:
    torch.manual_seed(4)
    action_qs = torch.randn(count, 3, 4, dtype=torch.float64)
    actions = torch.randint(4, (count, 3))
    chosen = action_qs.gather(-1, actions[..., None]).squeeze(-1)
    state = torch.randn(count, 7, dtype=torch.float64)
    return chosen, state, Choice(action_qs.amax(-1), actions)


def slow_qatten(mixer: QattenMixer, qs: Array, state: Array, features: list[Array]) -> float:
    total = float(two_layers(mixer.value, state)[0])
    weights = None if mixer.head_weights is None else two_layers(mixer.head_weights, state)
    for head, key in enumerate(mixer.key.detach().numpy()):
        query = head_output(mixer.query, head, state)
        logits = [float(query @ (key @ u)) / np.sqrt(len(query)) for u in features]
        shares = np.exp(logits) / np.sum(np.exp(logits))
        head_q = sum(share * q for share, q in zip(shares, qs, strict=True))
        total += head_q * (1.0 if weights is None else abs(weights[head]))
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [COLUMNS, ()], ids=["features", "numbers"])
def test_qatten_equals_a_slow_independent_implementation(
    weighted: bool, columns: tuple[tuple[int, ...], ...]
) -> None:
    config = QattenConfig(heads=3, embed_dim=5, hypernet_dim=6, weighted_head=weighted)
    mixer = QattenMixer(config, TaskSizes(3, 4, 7, columns)).double()
    qs, state, _ = rows()
    expected = []
    for q, s in zip(qs.numpy(), state.numpy(), strict=True):
        features = [s[list(c)] for c in columns] or list(np.eye(3))
        expected.append(slow_qatten(mixer, q, s, features))
    torch.testing.assert_close(mixer(qs, state).flatten().tolist(), expected)


def slow_qplex(mixer: QplexMixer, qs: Array, state: Array, best: Array, actions: Array) -> float:
    weights = np.abs(two_layers(mixer.weights, state)) + 1e-10
    biases = two_layers(mixer.bias, state)
    taken = [float(a == action) for action in actions for a in range(4)]
    total = 0.0
    for agent in range(3):
        value = weights[agent] * qs[agent] + biases[agent]
        most = weights[agent] * best[agent] + biases[agent]
        importance = 0.0
        for head in range(mixer.keys.weights[0].shape[0]):
            key = abs(head_output(mixer.keys, head, state)[0]) + 1e-10
            own = sigmoid(head_output(mixer.agents, head, state)[agent])
            joint = sigmoid(head_output(mixer.actions, head, np.append(state, taken))[agent])
            importance += key * own * joint
        total += value + (importance - 1) * (value - most)
    return float(total)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_qplex_equals_a_slow_independent_implementation(layers: int) -> None:
    config = QplexConfig(hypernet_dim=6, heads=2, advantage_layers=layers, advantage_dim=5)
    mixer = QplexMixer(config, SIZES).double()
    qs, state, choice = rows()
    columns = (x.numpy() for x in (qs, state, choice.best_qs, choice.actions))
    expected = [slow_qplex(mixer, *row) for row in zip(*columns, strict=True)]
    torch.testing.assert_close(mixer(qs, state, choice).flatten().tolist(), expected)


def test_heads_are_separate_networks_of_linear_layers() -> None:
    torch.manual_seed(0)
    heads = Heads(2, 3, 5, 4, layers=2)
    x = torch.randn(6, 3)
    for head in range(2):
        layers = nn.Linear(3, 5), nn.Linear(5, 4)
        for at, layer in enumerate(layers):
            layer.weight.data = heads.weights[at][head].T
            layer.bias.data = heads.biases[at][head, 0]
        torch.testing.assert_close(heads(x)[head], layers[1](layers[0](x).relu()))


def test_heads_start_as_linear_layers_do() -> None:
    torch.manual_seed(0)
    for weight, fan_in in zip(Heads(8, 16, 64, 32, layers=2).weights, (16, 64), strict=True):
        assert weight.abs().max() <= fan_in**-0.5
        torch.testing.assert_close(weight.std().item(), (3 * fan_in) ** -0.5, rtol=0.05, atol=0)


def test_agents_features_are_found_in_every_kind_of_card() -> None:
    foraging = TaskSizes.of(load_card("lbf/8x8-2p-2f-coop-2s"))
    assert foraging.agent_columns == ((0, 1, 2, 12), (3, 4, 5, 13))  # row, column, level, action
    spread = TaskSizes.of(load_card("mpe/spread-3")).agent_columns
    assert spread[1] == tuple(range(18, 32))  # without the four columns of silent messages
    assert TaskSizes.of(load_card("matrix/climbing")).agent_columns == ((0,), (1,))


def test_qatten_without_features_weighs_agents_by_number_and_state() -> None:
    sizes = TaskSizes(n_agents=3, n_actions=4, state_dim=7)
    torch.manual_seed(0)
    shares = QattenMixer(QattenConfig(heads=2), sizes).attention(torch.randn(4, 7))
    torch.testing.assert_close(shares.sum(-1), torch.ones(4, 2))
    assert shares.std(0).min() > 0  # by state
    assert shares.std(-1).min() > 0  # by agent


@pytest.mark.parametrize(
    ("mixer", "count"),
    [
        (QattenMixer(QattenConfig(), TaskSizes.of(load_card("mpe/spread-6"))), 74_049),
        (QplexMixer(QplexConfig(), TaskSizes.of(load_card("mpe/spread-6"))), 40_560),
    ],
    ids=["qatten", "qplex"],
)
def test_the_documented_numbers_of_parameters_are_right(mixer: nn.Module, count: int) -> None:
    assert sum(p.numel() for p in mixer.parameters()) == count
