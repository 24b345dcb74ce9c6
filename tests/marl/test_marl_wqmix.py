"""Weighted QMIX against loops, truth tables and matrix games; weighting without Q*."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_loops import (
    SIZES,
    assert_resumes_and_repeats,
    assert_same_loss,
    assert_sum_equals_vdn_mixer,
    chosen,
    ends,
    fitted,
    greedy_in_loops,
    greedy_of,
    lambda_target,
    made_with,
    ragged,
    values_in_loops,
    whole_table,
)
from marl_toys import CLIMBING, PlainSum, build_for, climbing
from torch import Tensor

from marl.algorithms.registry import make_algorithm
from marl.algorithms.wqmix import CentralMixer, Cwqmix, Owqmix
from marl.batch import Batch
from marl.episodes import Episodes
from marl.settings.algorithms import CwqmixConfig, OwqmixConfig, QmixConfig, WeightedConfig
from marl.settings.train import TrainConfig
from marl.trainer import Trainer

PENALTY = [[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]]
CONFIGS = [OwqmixConfig, CwqmixConfig]


def q_star(mixer: Any, qs: Tensor, state: Tensor) -> Tensor:
    """Q*(s, u) of one moment by its layers."""
    x = torch.cat([state, qs[0]])
    for layer in (0, 2, 4):
        x = mixer.joint[layer](x).clamp(min=0)
    return mixer.joint[6](x)[0] + mixer.value[2](mixer.value[0](state).clamp(min=0))[0]


def loss_in_loops(made: Any, episodes: Episodes, td_lambda: float) -> Tensor:
    q_tot_losses, q_star_losses = [], []
    for e in range(episodes.count):
        online, central, target = (
            values_in_loops(agent, episodes, e)
            for agent in (made.agent, made.central_agent, made.target_central_agent)
        )
        length, ended = ends(episodes, e)
        state = episodes.state[e]
        greedy = [greedy_in_loops(online[t], episodes.avail[e, t]) for t in range(length + 1)]
        best = [
            q_star(made.target_central_mixer, chosen(target[t], greedy[t]), state[t]).detach()
            for t in range(length + 1)
        ]
        rewards = list(episodes.reward[e, :length])
        targets = lambda_target(rewards, ended, best[1:], td_lambda)
        for t, y in enumerate(targets):
            actions = episodes.actions[e, t].tolist()
            q_tot = made.mixer(chosen(online[t], actions), state[t][None])[0, 0]
            free = q_star(made.central_mixer, chosen(central[t], actions), state[t])
            if isinstance(made, Owqmix):
                full = bool(q_tot < y)
            else:
                full = actions == greedy[t] or bool(y > best[t])
            q_tot_losses.append((1.0 if full else 0.1) * (q_tot - y) ** 2)
            q_star_losses.append((free - y) ** 2)
    return torch.stack(q_tot_losses).mean() + torch.stack(q_star_losses).mean()


@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
@pytest.mark.parametrize("config", CONFIGS)
def test_the_loss_equals_a_slow_independent_implementation(
    config: type[WeightedConfig], td_lambda: float
) -> None:
    made, episodes = made_with(config(), td_lambda=td_lambda), ragged()
    assert_same_loss(made, episodes, loss_in_loops(made, episodes, td_lambda))


def test_q_star_is_the_papers_network() -> None:
    sizes = [p.shape for p in CentralMixer(3, 7).parameters()]
    joint = [(256, 10), (256,), (256, 256), (256,), (256, 256), (256,), (1, 256), (1,)]
    assert sizes == [*joint, (256, 7), (256,), (1, 256), (1,)]


def one_step(actions: tuple[int, ...], reward: float) -> Episodes:
    """An episode of one terminal step."""
    zeros = torch.zeros(1, 2, 3, 2, dtype=torch.float64)
    yes = torch.ones(1, 1, dtype=torch.bool)
    return Episodes(
        obs=zeros,
        state=zeros[:, :, 0],
        avail=torch.ones(1, 2, 3, 4, dtype=torch.bool),
        actions=torch.tensor([[actions]]),
        reward=torch.full((1, 1), reward, dtype=torch.float64),
        terminated=yes,
        filled=yes,
    )


def weight(made: Any, actions: tuple[int, ...], reward: float, best: float) -> float:
    """The weight of a step whose q_tot is 3 if all agents take action 0, their greedy one."""
    with torch.no_grad():
        for name, p in made.named_parameters():
            if "agent" in name:
                p.zero_()
        made.agent.head.bias[0] = 1  # Q_i = 1 of action 0, and 0 of the others
        for mixer in (made.central_mixer, made.target_central_mixer):
            for p in mixer.parameters():
                p.zero_()
            mixer.joint[-1].bias.fill_(best)
    loss = made.loss("q", Batch.of(one_step(actions, reward))).value.item()
    q_tot = float(sum(a == 0 for a in actions))
    return (loss - (best - reward) ** 2) / (q_tot - reward) ** 2


GREEDY, OTHER = (0, 0, 0), (0, 1, 0)


@pytest.mark.parametrize(
    ("kind", "actions", "reward", "best", "expected"),
    [
        ("owqmix", GREEDY, 5.0, 0.0, 1.0),  # underestimated
        ("owqmix", GREEDY, 2.0, 0.0, 0.25),  # overestimated
        ("owqmix", OTHER, 5.0, 9.0, 1.0),
        ("owqmix", OTHER, 1.0, 0.0, 0.25),
        ("cwqmix", GREEDY, 2.0, 4.0, 1.0),  # greedy, whatever it is worth
        ("cwqmix", GREEDY, 5.0, 4.0, 1.0),
        ("cwqmix", OTHER, 5.0, 4.0, 1.0),  # better than Q* of the greedy action
        ("cwqmix", OTHER, 5.0, 6.0, 0.25),  # neither, though underestimated
    ],
)
def test_weights_are_those_of_the_truth_table(
    kind: str, actions: tuple[int, ...], reward: float, best: float, expected: float
) -> None:
    config = {c().name: c for c in CONFIGS}[kind](alpha=0.25, tfcaf=True)
    learner = {"standardise_states": False}
    build = build_for(config, SIZES, PlainSum(), learner=learner, dtype="float64")
    made = make_algorithm(build)
    assert weight(made, actions, reward, best) == pytest.approx(expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_loss_of_q_tot_does_not_reach_q_star_nor_the_other_way_round(
    config: type[WeightedConfig],
) -> None:
    """Both regress on one detached target, so each term has gradients in its own networks alone."""
    made, episodes = made_with(config()), ragged()
    central = [*made.central_agent.parameters(), *made.central_mixer.parameters()]
    own = [*made.agent.parameters(), *made.mixer.parameters()]

    def gradients(of: list[Any]) -> list[Tensor]:
        return list(torch.autograd.grad(made.loss("q", Batch.of(episodes)).value, of))

    before, own_before = gradients(central), gradients(own)
    with torch.no_grad():
        made.mixer.value[2].bias += 5.0  # q_tot, its errors and weights, and no greedy action
    for a, b in zip(before, gradients(central), strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        made.mixer.value[2].bias -= 5.0
        made.central_mixer.joint[-1].bias += 5.0  # Q*, and not its target network
    for a, b in zip(own_before, gradients(own), strict=True):
        torch.testing.assert_close(a, b)


def table(made: Any, payoff: list[list[float]]) -> list[float]:
    """Q*(s, u) of all joint actions of a one-step game, row after row."""
    batch = Batch.of(whole_table(payoff))
    inputs = made.central_agent.inputs(batch.obs, batch.last_actions)
    with torch.no_grad():
        q = made.central_agent.sequence(inputs, batch.counts)
        values = made.central_mixer(
            q.gather(-1, batch.actions[..., None]).squeeze(-1), made.shown(batch.state)
        )
    return values[batch.packing.steps.argsort(), 0].tolist()


@pytest.mark.parametrize(
    ("config", "payoff"),
    [
        (OwqmixConfig, PENALTY),
        (CwqmixConfig, PENALTY),
        # Not OW on climbing: there another monotone fit has almost the same weighted loss.
        (CwqmixConfig, CLIMBING),
    ],
    ids=["ow-penalty", "cw-penalty", "cw-climbing"],
)
def test_weights_find_the_best_joint_action_of_uniform_play(
    config: type[WeightedConfig], payoff: list[list[float]]
) -> None:
    made = fitted(config(alpha=0.1), payoff, 600)
    assert greedy_of(made) == [0, 0]
    assert table(made, payoff) == pytest.approx([x for row in payoff for x in row], abs=1e-2)


@pytest.mark.parametrize("payoff", [PENALTY, CLIMBING], ids=["penalty", "climbing"])
def test_without_weights_it_is_monotone_and_misses_it(payoff: list[list[float]]) -> None:
    assert greedy_of(fitted(OwqmixConfig(alpha=1), payoff, 300)) != [0, 0]


def test_a_hysteretic_loss_counts_overestimated_steps_less() -> None:
    made, episodes = made_with(QmixConfig(), overestimation_weight=0.1), ragged()
    batch = Batch.of(episodes)
    q_tot, target = made.q_tot_and_target(batch, *made.q_values(batch))
    expected = []
    for q, y in zip(q_tot[:, 0].tolist(), target[:, 0].tolist(), strict=True):
        expected.append((0.1 if q > y else 1.0) * (q - y) ** 2)
    loss = made.loss("q", batch)
    assert loss.value.item() == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    plain = made_with(QmixConfig(), overestimation_weight=1.0).loss("q", batch).value
    assert torch.equal(plain, (q_tot - target).square().mean())


@pytest.mark.parametrize("config", CONFIGS)
def test_a_credit_function_takes_the_mixers_place(config: type[WeightedConfig]) -> None:
    kind = Owqmix if config is OwqmixConfig else Cwqmix
    assert_sum_equals_vdn_mixer(kind, config(tfcaf=True), PlainSum())


@pytest.mark.parametrize("credit", [None, PlainSum()], ids=["own", "credit"])
@pytest.mark.parametrize("config", CONFIGS)
def test_training_repeats_and_resumes_exactly(
    config: type[WeightedConfig], credit: Any, tmp_path: Path
) -> None:
    algorithm = {"name": config().name, "tfcaf": credit is not None}
    assert_resumes_and_repeats(algorithm, tmp_path, credit)


@pytest.mark.parametrize(("weight", "best"), [(0.1, True), (1.0, False)])
def test_a_hysteretic_sum_climbs_and_a_plain_one_does_not(weight: float, best: bool) -> None:
    found = []
    for seed in range(3):
        settings = {"steps": 4000, "threads": 1, "device": "cpu", "algorithm": {"name": "vdn"}}
        config = {**settings, "learner": {"overestimation_weight": weight}}
        trainer = Trainer(climbing(), TrainConfig.model_validate(config), seed)
        found.append(trainer.run().evaluations[-1].returns[0] == 275)
    assert (sum(found) >= 2) == best
