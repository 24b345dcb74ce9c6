"""Learning from the agents' own rewards: losses against loops, padding, resuming, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_actors import (
    Stop,
    episodes,
    happened,
    made,
    other_padding,
    slow_lambda,
    step_scores,
)
from marl_toys import CountdownEnv, assert_same_state, climbing, small_config
from pydantic import ValidationError
from torch import Tensor

import marl.memory
from marl.batch import Batch
from marl.envs.registry import make_env
from marl.episodes import INDIVIDUAL, Episodes
from marl.errors import SettingsError
from marl.events import Metrics
from marl.memory import require_room
from marl.policies import EpsilonGreedy
from marl.rollout import collect
from marl.settings.algorithms import IppoConfig, IqlConfig
from marl.settings.registry import OWN
from marl.settings.train import TrainConfig
from marl.streams import Streams
from marl.trainer import Trainer
from prompts.cards import load_card
from qllm.config.build import build_config
from qllm.config.errors import ConfigError


def paid() -> Episodes:
    """Episodes whose three agents are paid otherwise than the team."""
    batch, drawn = episodes(), torch.Generator().manual_seed(5)
    own = torch.randn(*batch.actions.shape, generator=drawn, dtype=torch.float64)
    return batch.with_extras(**{INDIVIDUAL: own * batch.filled[..., None]})


@pytest.mark.parametrize("td_lambda", [0.0, 0.6])
def test_iql_regresses_each_agent_on_its_own_reward(td_lambda: float) -> None:
    algorithm, batch = made(IqlConfig(), learner={"td_lambda": td_lambda}), paid()
    squares = []
    for e in range(batch.count):
        online, target = (
            step_scores(a, batch, e) for a in (algorithm.agent, algorithm.target_agent)
        )
        length = int(batch.lengths()[e])
        ended = bool(batch.terminated[e, length - 1])
        for i in range(3):
            after = []
            for t in range(1, length + 1):
                best = online[t, i].masked_fill(~batch.avail[e, t, i], -float("inf")).argmax()
                after.append(float(target[t, i, best]))
            rewards = batch.extras[INDIVIDUAL][e, :length, i].tolist()
            targets = slow_lambda(rewards, after, ended, td_lambda)
            for t in range(length):
                q = float(online[t, i, batch.actions[e, t, i]])
                squares.append((q - targets[t]) ** 2)
    loss = algorithm.loss("q", Batch.of(batch)).value.item()
    assert loss == pytest.approx(sum(squares) / len(squares))
    assert loss != pytest.approx(algorithm.loss("q", Batch.of(episodes())).value.item())


def test_ippo_takes_each_agents_advantage_from_its_own_reward() -> None:
    algorithm, batch = made(IppoConfig()), paid()
    prepared = algorithm.prepare(batch)
    errors = []
    for e in range(batch.count):
        length = int(batch.lengths()[e])
        ended = bool(batch.terminated[e, length - 1])
        for i in range(3):
            hot = torch.eye(3, dtype=torch.float64)[i]
            values = [
                float(algorithm.critic(torch.cat([batch.obs[e, t, i], hot])).detach())
                for t in range(length + 1)
            ]
            rewards = batch.extras[INDIVIDUAL][e, :length, i].tolist()
            # TD(lambda) minus the value is GAE, whatever the lambda.
            targets = slow_lambda(rewards, values[1:], ended, 0.95)
            for t in range(length):
                found = float(prepared.extras["advantage"][e, t, i])
                assert found == pytest.approx(targets[t] - values[t])
                errors.append((values[t] - targets[t]) ** 2)
    assert len(errors) == 3 * len(happened(batch))
    critic = algorithm.loss("critic", Batch.of(prepared)).value.item()
    assert critic == pytest.approx(sum(errors) / len(errors))


def test_padding_changes_nothing() -> None:
    batch = paid()
    for algorithm in (made(IqlConfig()), made(IqlConfig(), learner={"td_lambda": 0.6})):
        a, b = (algorithm.loss("q", Batch.of(x)).value for x in (batch, other_padding(batch)))
        assert torch.equal(a, b)
    ippo = made(IppoConfig())
    rollout = batch.with_extras(log_prob=torch.zeros_like(batch.extras[INDIVIDUAL]))
    left, right = (Batch.of(ippo.prepare(x)) for x in (rollout, other_padding(rollout)))
    for group in ("critic", "actor"):
        assert torch.equal(ippo.loss(group, left).value, ippo.loss(group, right).value)


class Paying(CountdownEnv):
    """Pays each agent its action, and one more to the last, so that nothing is 0 by chance."""

    individual = True

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._own = actions + torch.tensor([0.0, 0.0, 1.0])
        return super()._advance(actions, active)

    def _individual_rewards(self) -> Tensor:
        return self._own


def test_a_rollout_keeps_own_rewards_when_asked_and_none_after_the_end() -> None:
    env = Paying(30, 3, horizon=9)
    drawn = Streams(0, 30).uniform(9, 3, 2)

    def policy() -> EpsilonGreedy:
        return EpsilonGreedy(lambda obs, last: torch.zeros(30, 3, 4), 1.0, drawn, 4)

    kept = collect(env, policy(), individual=True)
    expected = kept.actions + torch.tensor([0.0, 0.0, 1.0])
    assert not kept.filled.all()
    assert torch.equal(kept.extras[INDIVIDUAL], expected * kept.filled[..., None])
    assert torch.equal(kept.rewards, kept.extras[INDIVIDUAL])
    halved = kept.in_unit(2.0)
    assert torch.equal(halved.rewards, kept.rewards / 2)
    assert torch.equal(halved.reward, kept.reward / 2)
    plain = collect(env, policy())
    assert not plain.extras
    assert torch.equal(plain.rewards, plain.reward[..., None])


def test_rows_that_nobody_reached_hold_no_rewards() -> None:
    env = Paying(1, 0, horizon=50, time_limit="termination")
    env.horizon = 60  # beyond what any episode lasts
    drawn = Streams(0, 1).uniform(60, 3, 2)
    policy = EpsilonGreedy(lambda obs, last: torch.zeros(1, 3, 4), 1.0, drawn, 4)
    kept = collect(env, policy, individual=True)
    end = int(kept.lengths()[0])
    assert end < 60
    assert kept.extras[INDIVIDUAL].shape == (1, 60, 3)
    assert not kept.extras[INDIVIDUAL][0, end:].any()


TASKS = ("mpe/spread-3", "lbf/8x8-2p-2f-coop-2s")


def training(name: str, rewards: str = "individual", task: str = TASKS[0], **more: Any) -> Trainer:
    config = small_config(
        algorithm={"name": name}, learner={"rewards": rewards}, steps=600, log_every=100
    )
    return Trainer(load_card(task), config, 3, **more)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["iql", "ippo"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    name: str, task: str, tmp_path: Path
) -> None:
    whole = training(name, task=task)
    whole.run()
    stopped = training(name, task=task, run_dir=tmp_path, control=Stop(2))
    assert stopped.run().status == "stopped"
    assert 0 < stopped.learner.updates < whole.learner.updates
    resumed = Trainer.resume(whole.card, stopped.config, 3, run_dir=tmp_path)
    resumed.run()
    assert_same_state(whole, resumed)


def test_what_is_learned_from_differs_and_what_is_shown_does_not() -> None:
    shown: dict[str, list[Any]] = {"team": [], "individual": []}
    team, own = (training("iql", rewards, emit=shown[rewards].append) for rewards in shown)
    for trainer in (team, own):
        trainer.run()
    assert team.evaluations[0].returns == own.evaluations[0].returns
    first = [next(e for e in events if isinstance(e, Metrics)) for events in shown.values()]
    assert first[0].values["train_return"] == first[1].values["train_return"]
    assert team.evaluations[-1].returns != own.evaluations[-1].returns
    kept, plain = own.replay.state_dict(), team.replay.state_dict()
    assert kept.keys() - plain.keys() == {f"extra.{INDIVIDUAL}"}
    # In the unit of Q, and the team's reward shared out.
    torch.testing.assert_close(kept[f"extra.{INDIVIDUAL}"].sum(-1), kept["reward"])


def test_own_rewards_count_in_what_the_replay_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    team, own = (
        small_config(algorithm={"name": "iql"}, learner={"rewards": rewards})
        for rewards in ("team", "individual")
    )
    trainer = training("iql", "team")
    for capacity in range(1_000, 10**9, 1_000):
        monkeypatch.setattr(marl.memory, "available_bytes", lambda device, n=capacity: n)
        try:
            require_room(team, trainer.env, trainer.device)
        except SettingsError:
            continue
        break
    with pytest.raises(SettingsError, match=r"learner\.replay_capacity=12"):
        require_room(own, trainer.env, trainer.device)


@pytest.mark.parametrize("name", sorted(OWN.keys() - {"iql", "ippo"}))
def test_algorithms_that_need_the_teams_reward_are_refused(name: str) -> None:
    said = f"rewards=individual: algorithm {name} learns from the team's .* own: iql, ippo"
    with pytest.raises(ValidationError, match=said):
        TrainConfig.model_validate(
            {"algorithm": {"name": name}, "learner": {"rewards": "individual"}}
        )


def test_a_comparison_with_one_that_needs_the_teams_reward_is_refused() -> None:
    flags = {"task": "mpe/spread-3", "algorithms": "iql,ippo"}
    words = ["learner.rewards=individual"]
    assert build_config(overrides=words, flags=flags, compared=()).learner.individual
    with pytest.raises(ConfigError, match=r"algorithm vdn learns from the team's reward"):
        build_config(overrides=words, flags={**flags, "algorithms": "iql,vdn"}, compared=())


def test_an_environment_that_pays_the_team_alone_is_refused() -> None:
    config = small_config(algorithm={"name": "iql"}, learner={"rewards": "individual"})
    said = r"environment of task 'matrix/climbing' \(kind matrix\) pays the team alone"
    with pytest.raises(SettingsError, match=said):
        Trainer(climbing(5), config, 0)
    with pytest.raises(TypeError, match="MatrixGame pays the team alone"):
        make_env(climbing(5), 2, 0).individual_rewards()
