"""Small things that several tests of the trainer share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from marl.agents import Agent
from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.mixer import Mixer
from marl.algorithms.registry import make_algorithm
from marl.algorithms.value import ValueDecomposition
from marl.batch import Batch
from marl.checkpoint import open_checkpoint
from marl.device import DTYPES
from marl.envs.base import BatchedEnv, Observation
from marl.episodes import Episodes
from marl.policies import EpsilonGreedy, Greedy
from marl.rollout import collect
from marl.settings.algorithms import AlgorithmSettings
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from marl.streams import Streams
from marl.trainer import Trainer
from prompts.cards import TaskCard, load_card

CLIMBING = [[11.0, -30.0, 0.0], [-30.0, 7.0, 0.0], [0.0, 6.0, 5.0]]


def climbing(horizon: int = 25) -> TaskCard:
    """The climbing game, cut to ``horizon`` steps."""
    return load_card("matrix/climbing").model_copy(update={"horizon": horizon})


def small_config(**changes: Any) -> TrainConfig:
    """A training that takes a fraction of a second; ``changes`` merge into its sections."""
    settings: dict[str, Any] = {
        "steps": 200,
        "threads": 1,
        "device": "cpu",
        "env": {"num_envs": 4},
        "agent": {"hidden": 8},
        "learner": {"batch_size": 8, "replay_capacity": 12, "updates_per_rollout": 2},
        "exploration": {"anneal_steps": 100},
        "evaluation": {"every": 60, "episodes": 3},
        "checkpoint_every": 50,
        "log_every": 40,
    }
    for name, change in changes.items():
        both = isinstance(change, dict) and isinstance(settings.get(name), dict)
        settings[name] = {**settings[name], **change} if both else change
    return TrainConfig.model_validate(settings)


def assert_same_state(left: Trainer, right: Trainer) -> None:
    """Every tensor that a checkpoint would hold is the same, bit for bit, and every return."""
    a, b = left.state_dict(), right.state_dict()
    assert a.keys() == b.keys()
    # Metrics of evaluations with fewer episodes than the longest are filled up with NaN.
    different = [n for n in a if not torch.equal(a[n].nan_to_num(-1e9), b[n].nan_to_num(-1e9))]
    assert not different
    assert left.env_steps == right.env_steps
    assert [(e.env_steps, e.returns) for e in left.evaluations] == [
        (e.env_steps, e.returns) for e in right.evaluations
    ]


def saved_state(run_dir: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a run's newest checkpoint."""
    with open_checkpoint(run_dir) as saved:
        return saved.tensors(), saved.facts


def whole_sequence(agent: Agent, obs: Tensor, last: Tensor) -> Tensor:
    """Q-values ``[B, T, n, a]`` of equally long sequences, ``[B, T, n, o]`` and ``[B, T, n]``."""
    batch, steps = obs.shape[:2]
    packed = (x.transpose(0, 1).flatten(0, 1) for x in (obs, last))
    q = agent.sequence(agent.inputs(*packed), [batch] * steps)
    return q.unflatten(0, (steps, batch)).transpose(0, 1)


def explored(env: BatchedEnv, net: Agent, epsilon: float, rng: Streams | None) -> Episodes:
    """One rollout, epsilon-greedy; greedy where there is no randomness."""
    player = net.player(env.num_envs)
    if rng is None:
        return collect(env, Greedy(player))
    drawn = rng.uniform(env.horizon, env.n_agents, 2, dtype=env.dtype)
    return collect(env, EpsilonGreedy(player, epsilon, drawn, env.n_actions))


def build_for(
    config: AlgorithmSettings, sizes: TaskSizes, credit: nn.Module | None = None, **train: Any
) -> Build:
    """What an algorithm is built from, with small networks."""
    settings = {"algorithm": config, "agent": {"hidden": 8}, "device": "cpu", **train}
    dtype = DTYPES[settings.get("dtype", "float32")]
    whole = TrainConfig.model_validate(settings)
    return Build(whole, sizes, 0.9, 6, credit=credit, dtype=dtype)


def mixer_of(config: AlgorithmSettings, sizes: TaskSizes, credit: nn.Module | None = None) -> Mixer:
    """The mixer of an algorithm."""
    made = make_algorithm(build_for(config, sizes, credit))
    assert isinstance(made, ValueDecomposition)
    return made.mixer


def padded_values(made: ValueDecomposition, episodes: Episodes) -> tuple[Tensor, Tensor]:
    """q_tot and targets ``[E, T]``, zero where nothing happened."""
    batch = Batch.of(episodes)
    q_tot, target = made.q_tot_and_target(batch, *made.q_values(batch))
    return batch.spread(q_tot)[..., 0], batch.spread(target)[..., 0]


class PlainSum(nn.Module):
    """The credit function with weights 1 and bias 0, written in the weights form."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        weights = torch.ones_like(agent_qs)
        return (weights * agent_qs).sum(-1, keepdim=True) + torch.zeros_like(state[:, :1])


class CountdownEnv(BatchedEnv):
    """Episodes of random length and randomly unavailable actions, from each instance's stream.

    The state is (steps left, last joint action's sum); an episode terminates when nothing is left,
    unless the horizon comes first. Action 0 is always available.
    """

    def __init__(
        self, num_envs: int, seed: int, *, horizon: int = 6, time_limit: Any = "truncation"
    ) -> None:
        super().__init__(
            num_envs=num_envs,
            n_agents=3,
            n_actions=4,
            obs_dim=2,
            state_dim=2,
            horizon=horizon,
            time_limit=time_limit,
            seed=seed,
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        self._left = torch.zeros(num_envs)
        self._sum = torch.zeros(num_envs)
        self._mask = torch.ones(num_envs, 3, 4, dtype=torch.bool)

    def _forbid(self, mask: Tensor) -> None:
        drawn = self.streams.uniform(3, 4, mask=mask) < 0.6
        drawn[..., 0] = True
        self._mask = torch.where(mask[:, None, None], drawn, self._mask)

    def _restart(self, mask: Tensor) -> None:
        length = (self.streams.uniform(mask=mask) * (self.horizon + 2)).floor() + 1
        self._left = torch.where(mask, length, self._left)
        self._sum = self._sum.masked_fill(mask, 0)
        self._forbid(mask)

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        self._left = self._left - active.float()
        self._sum = torch.where(active, actions.sum(-1).float(), self._sum)
        self._forbid(active)
        return self._sum - self._left, self._left <= 0

    def _observe(self) -> Observation:
        state = torch.stack([self._left, self._sum], -1)
        scale = torch.arange(1.0, 4.0)[None, :, None]
        return Observation(state[:, None] * scale, state, self._mask)

    def _world(self) -> dict[str, Tensor]:
        return {"left": self._left, "sum": self._sum, "mask": self._mask}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        self._left, self._sum, self._mask = world["left"], world["sum"], world["mask"]


def waning(**reward: Any) -> TaskCard:
    """The card that `WaningEnv` plays, once its kind is registered."""
    return TaskCard.model_validate(
        {
            "name": "waning",
            "title": "Waning pay",
            "prose": "Stay: every step pays, the first ones most.",
            "n_agents": 2,
            "n_actions": 2,
            "action_names": ["stay", "leave"],
            "horizon": 6,
            "reward": {"low": 0, "high": 1, "meaning": "pay of a step", **reward},
            "state": [
                {"name": "t", "shape": [1], "meaning": "time", "kind": "real", "low": 0, "high": 1}
            ],
            "env": {"kind": "waning"},
        }
    )


class WaningEnv(BatchedEnv):
    """Steps 0 to 2 pay 1 and the others 0.4; the episode ends when an agent leaves (action 1).

    Staying to the end returns 4.2 and is the best play from every moment.
    """

    best = 4.2

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
    ) -> None:
        super().__init__(
            num_envs=num_envs,
            n_agents=card.n_agents,
            n_actions=card.n_actions,
            obs_dim=1,
            state_dim=card.state_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )

    def _restart(self, mask: Tensor) -> None:
        pass

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        reward = torch.where(self._time < 3, 1.0, 0.4).to(self.dtype)
        return reward, (actions == 1).any(-1)

    def _observe(self) -> Observation:
        now = (self._time / self.horizon).to(self.dtype)[:, None]
        avail = torch.ones(self.num_envs, self.n_agents, self.n_actions, dtype=torch.bool)
        return Observation(now[:, None].expand(-1, self.n_agents, -1), now, avail)

    def _world(self) -> dict[str, Tensor]:
        return {}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        pass
