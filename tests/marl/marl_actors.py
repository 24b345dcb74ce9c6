"""What the tests of actor-critics share: networks, episodes, slow references, trainings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import CountdownEnv, assert_same_state, build_for, climbing, explored, small_config
from torch import Tensor, nn

from marl.agents import make_agent
from marl.algorithms.base import Algorithm, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.batch import Batch
from marl.episodes import INDIVIDUAL, Episodes
from marl.settings.agent import AgentConfig
from marl.settings.algorithms import AlgorithmSettings
from marl.streams import Streams
from marl.trainer import Trainer

SIZES = TaskSizes(n_agents=3, n_actions=4, state_dim=2, obs_dim=2)
GAMMA = 0.9


def made(
    config: AlgorithmSettings,
    credit: nn.Module | None = None,
    sizes: TaskSizes = SIZES,
    **train: Any,
) -> Any:
    """An algorithm in float64 whose target networks differ from the online ones."""
    learner = {"standardise_states": False, **train.pop("learner", {})}
    build = build_for(config, sizes, credit, learner=learner, dtype="float64", **train)
    algorithm = make_algorithm(build)
    torch.manual_seed(1)
    for p in algorithm.parameters():
        if not p.requires_grad:
            p.add_(0.2 * torch.randn_like(p))
    return algorithm


def doubled(episodes: Episodes) -> Episodes:
    """The same in float64."""
    named = episodes.named()
    return Episodes.from_named(
        {k: v.double() if v.is_floating_point() else v for k, v in named.items()}
    )


def episodes(count: int = 12) -> Episodes:
    """Episodes of different lengths, terminated and truncated, with unavailable actions."""
    agent = make_agent(AgentConfig(hidden=8), 2, 3, 4)
    drawn = explored(CountdownEnv(count, 3), agent, 1.0, Streams(0, count))
    assert len(drawn.lengths().unique()) > 2
    assert 0 < drawn.terminated.any(1).sum() < count
    assert not drawn.avail.all()
    return doubled(drawn)


def other_padding(batch: Episodes) -> Episodes:
    """The same episodes with nonsense after their ends."""
    other = Episodes.from_named({k: v.clone() for k, v in batch.named().items()})
    for e in range(batch.count):
        end = int(batch.lengths()[e])
        other.reward[e, end:] = 1e3
        if INDIVIDUAL in other.extras:
            other.extras[INDIVIDUAL][e, end:] = -1e3
        other.actions[e, end:] = 3
        for seen in (other.obs, other.state):
            seen[e, end + 1 :] = -7
    return other


def all_joint_actions(n_actions: int) -> Episodes:
    """One-step episodes of two agents, one for each joint action, that show ones."""
    u = torch.cartesian_prod(torch.arange(n_actions), torch.arange(n_actions))
    count = len(u)
    ends = torch.ones(count, 1, dtype=torch.bool)
    return Episodes(
        obs=torch.ones(count, 2, 2, 1, dtype=torch.float64),
        state=torch.ones(count, 2, 1, dtype=torch.float64),
        avail=torch.ones(count, 2, 2, n_actions, dtype=torch.bool),
        actions=u[:, None],
        reward=torch.zeros(count, 1, dtype=torch.float64),
        terminated=ends,
        filled=ends,
    )


def step_scores(agent: Any, batch: Episodes, e: int) -> Tensor:
    """Scores ``[T + 1, n, a]`` at every moment of an episode, played a step at a time."""
    play, scores = agent.player(1), []
    last = torch.full((1, batch.actions.shape[2]), -1)
    for t in range(batch.obs.shape[1]):
        scores.append(play(batch.obs[e, t][None], last)[0].detach())
        if t < batch.actions.shape[1]:
            last = batch.actions[e, t][None]
    return torch.stack(scores)


def softmax(scores: Tensor, avail: Tensor) -> list[float]:
    """Probabilities of one agent's actions, scores and avail ``[a]``; 0 where unavailable."""
    given = list(zip(scores.tolist(), avail.tolist(), strict=True))
    top = max(x for x, may in given if may)
    raw = [math.exp(x - top) if may else 0.0 for x, may in given]
    return [x / sum(raw) for x in raw]


def slow_entropy(probs: list[float]) -> float:
    """In nats."""
    return -sum(p * math.log(p) for p in probs if p > 0)


def hot(index: int, size: int) -> Tensor:
    """One-hot ``[size]``, float64."""
    return torch.tensor([float(index == k) for k in range(size)], dtype=torch.float64)


def happened(batch: Episodes) -> list[tuple[int, int]]:
    """All (episode, time) of steps that happened."""
    return [(e, t) for e in range(batch.count) for t in range(int(batch.lengths()[e]))]


def slow_lambda(
    rewards: list[float], after: list[float], ended: bool, td_lambda: float
) -> list[float]:
    """TD(lambda) of one episode, the forward view.

    Args:
        rewards: of its steps.
        after: the value of the moment after each step.
        ended: it terminated, so that the last of these is not used.
    """
    length, targets = len(rewards), []
    for t in range(length):
        total = 0.0
        for n in range(1, length - t + 1):
            g = sum(GAMMA**k * rewards[t + k] for k in range(n))
            if not (ended and t + n == length):
                g += GAMMA**n * after[t + n - 1]
            whole = n == length - t
            total += g * td_lambda ** (n - 1) * (1 if whole else 1 - td_lambda)
        targets.append(total)
    return targets


def spread(batch: Batch, values: Tensor) -> Tensor:
    """``[S, ...]`` -> ``[E, T, ...]``, without gradient."""
    return batch.spread(values.detach())


def give_logits(algorithm: Algorithm, logits: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Let the actor's logits be these; returns the leaf that gradients go to."""
    leaf = logits.clone().requires_grad_()
    monkeypatch.setattr(algorithm, "logits", lambda batch: leaf)
    return leaf


def training(name: str, credit: nn.Module | None = None, **more: Any) -> Trainer:
    """A training of a fraction of a second, of the algorithm of this label."""
    algorithm = {"name": name, **more.pop("algorithm", {})}
    config = small_config(algorithm=algorithm, **more.pop("config", {}))
    seed = more.pop("seed", 3)
    return Trainer(climbing(5), config, seed, credit=credit, **more)


class Stop:
    """A control that says stop when asked for the n-th time."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> Any:
        self.left -= 1
        return "stop" if self.left < 0 else "continue"


def assert_deterministic_and_resumable(
    name: str, run_dir: Path, credit: nn.Module | None = None, **algorithm: Any
) -> None:
    """A training stopped and resumed, and one with the same seed, end as the first does; another
    seed ends elsewhere."""
    whole, again, other = (
        training(name, credit, seed=seed, algorithm=algorithm) for seed in (3, 3, 4)
    )
    for trainer in (whole, again, other):
        assert trainer.run().status == "finished"
    assert_same_state(whole, again)
    with pytest.raises(AssertionError):
        assert_same_state(whole, other)
    stopped = training(name, credit, algorithm=algorithm, run_dir=run_dir, control=Stop(6))
    assert stopped.run().status == "stopped"
    assert 0 < stopped.learner.updates < whole.learner.updates
    resumed = Trainer.resume(climbing(5), stopped.config, 3, run_dir=run_dir, credit=credit)
    resumed.run()
    assert_same_state(whole, resumed)
