"""What an algorithm is: how it acts, what it learns from, and what it minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from marl.agents import Agent, make_agent
from marl.algorithms.mixer import Mixer
from marl.batch import Batch
from marl.credit_watch import Moments
from marl.episodes import Episodes
from marl.policies import EpsilonGreedy, Policy
from marl.replay import Replay
from marl.settings.algorithms import AlgorithmSettings
from marl.settings.learner import LearnerConfig
from marl.settings.train import TrainConfig
from marl.streams import Streams, derive_seed
from marl.targets import RunningScale, move_target
from prompts.cards import TaskCard

STATE_LIMIT = 10.0
"""Standardised states are cut here: a column that was constant for long may jump."""

SettingsT = TypeVar("SettingsT", bound=AlgorithmSettings)


@dataclass(frozen=True)
class TaskSizes:
    """The sizes that an algorithm is built for.

    Attributes:
        n_agents, n_actions, state_dim: as in the card.
        obs_dim: features that an agent observes; 0 where nobody needs them.
        agent_columns: for each agent, the state columns that are about that agent, equally many
            for all and in the same order; empty where the state has no such columns.
        types: each agent's, by which networks can be shared; empty where nobody says.
    """

    n_agents: int
    n_actions: int
    state_dim: int
    agent_columns: tuple[tuple[int, ...], ...] = ()
    obs_dim: int = 0
    types: tuple[str, ...] = ()

    @classmethod
    def of(cls, card: TaskCard, obs_dim: int = 0, types: tuple[str, ...] = ()) -> TaskSizes:
        """The sizes of a task.

        Args:
            obs_dim: of its environment.
            types: the agents' by its environment, for a card that does not say.
        """
        columns, types = _agent_columns(card), card.agent_types() or types
        return cls(card.n_agents, card.n_actions, card.state_dim, columns, obs_dim, types)


def _agent_columns(card: TaskCard) -> tuple[tuple[int, ...], ...]:
    """The columns of each agent: those of slices that every agent has one of (`by_agent`), and its
    place along the agent axis of slices that are about all agents; unused columns left out."""
    columns: list[list[int]] = [[] for _ in range(card.n_agents)]
    unused = {at for s, at in card.offsets() if s.unused}
    for parts in card.by_agent().values():
        if all(part.start in unused for part in parts):
            continue
        for mine, part in zip(columns, parts, strict=True):
            mine += part
    for s, at in card.offsets():
        if s.agent_axis is None or s.unused:
            continue
        for column in range(at, at + s.size):
            columns[card.column(column)[1][s.agent_axis]].append(column)
    return tuple(map(tuple, columns)) if columns[0] else ()


@dataclass(frozen=True)
class Build:
    """What an algorithm is built from."""

    config: TrainConfig
    """Settled."""
    sizes: TaskSizes
    gamma: float
    """Discount per step."""
    horizon: int
    """Steps of the longest episode."""
    seed: int = 0
    """Of the training."""
    credit: nn.Module | None = None
    """``forward(agent_qs [N, n], state [N, s]) -> [N, 1]``, in a mixer's place."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32

    def settings(self, kind: type[SettingsT]) -> SettingsT:
        """The algorithm's own settings, of the class that is expected."""
        own = self.config.algorithm
        assert isinstance(own, kind)
        return own

    def make_agent(self) -> Agent:
        """The network of all agents, or several (`agent.share`), from torch's generator.

        Raises:
            SettingsError: they cannot be shared as the settings ask.
        """
        s = self.sizes
        return make_agent(self.config.agent, s.obs_dim, s.n_agents, s.n_actions, s.types)

    @contextmanager
    def seeded(self, purpose: str) -> Iterator[None]:
        """Initialise networks from a generator of their own, so that nobody else's draws matter."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, purpose))
            yield


class Loss(NamedTuple):
    """What one group of parameters is to minimise."""

    value: Tensor
    """A scalar."""
    metrics: Mapping[str, Tensor] = {}
    """Scalars worth recording, by name."""
    largest_q: Tensor | None = None
    """The largest |Q| of an available action that a credit function was given, a scalar."""


def td_loss(values: Tensor, target: Tensor, name: str = "q_tot") -> Loss:
    """The mean squared TD error of values and the targets that they should have, ``[S, k]``.

    Args:
        name: of the values, in the metrics.
    """
    error = values - target
    metrics = {
        f"{name}_mean": values.mean(),
        "target_mean": target.mean(),
        "td_error_abs": error.abs().mean(),
    }
    return Loss(error.square().mean(), metrics)


def largest(action_qs: Tensor, avail: Tensor) -> Tensor:
    """The largest |Q| of an available action, a scalar; both ``[M, n, a]``."""
    return action_qs.detach().abs().masked_fill(~avail, 0).amax()


class Draw(NamedTuple):
    """Episodes to learn from."""

    episodes: Episodes
    groups: tuple[str, ...] | None = None
    """Groups that learn from them; None for all."""
    newest: bool = False
    """They are the newest, and not drawn at random."""


class Algorithm(nn.Module, ABC):
    """A way to learn. E episodes, M moments, S steps, n agents, a actions, s state columns.

    Networks are attributes. Everything about time, data, optimisers, clipping and checkpoints is
    done by `marl.learner.Learner` and `marl.trainer.Trainer`.
    """

    on_policy: ClassVar[bool] = False
    """Whether it learns from the newest rollout alone."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        self.sizes, self.gamma, self.horizon = build.sizes, build.gamma, build.horizon
        self.learner: LearnerConfig = build.config.learner
        self.device, self.dtype = build.device, build.dtype
        self.state_scale: RunningScale | None = None
        self.generator: torch.Generator | None = None

    def add_state_scale(self) -> None:
        """Standardise the states that `shown` gives, if the settings want it."""
        if self.learner.standardise_states:
            self.state_scale = RunningScale(self.sizes.state_dim, device=self.device)

    def add_generator(self, build: Build) -> None:
        """Have a generator of its own, whose state checkpoints hold."""
        seed = derive_seed(build.seed, "algorithm")
        self.generator = torch.Generator().manual_seed(seed)

    @property
    @abstractmethod
    def actor(self) -> Agent:
        """The network whose highest available score is an agent's greedy action."""

    @property
    def extras(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of what its policy or `prepare` keeps of each step, by name."""
        return {}

    def policy(self, num_envs: int, streams: Streams, epsilon: float) -> Policy:
        """What acts in one rollout; here epsilon-greedy."""
        n, a = self.sizes.n_agents, self.sizes.n_actions
        uniform = streams.uniform(self.horizon, n, 2, dtype=self.dtype)
        return EpsilonGreedy(self.actor.player(num_envs), epsilon, uniform, a)

    @abstractmethod
    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is trained, by group: each has an optimiser, and they take their steps in order."""

    @abstractmethod
    def loss(self, group: str, batch: Batch) -> Loss:
        """What a group of parameters is to minimise."""

    def lr(self, group: str) -> float:
        """The learning rate of a group."""
        return self.learner.lr

    def prepare(self, rollout: Episodes) -> Episodes:
        """Look at a new rollout, once, and add what is to be kept of its steps.

        Its rewards are in the unit of Q already.
        """
        if self.state_scale is not None:
            self.state_scale.update(rollout.state[:, :-1], rollout.filled)
        return rollout

    def batches(self, rollout: Episodes, replay: Replay) -> Iterator[Draw]:
        """What to learn from after a rollout, which is in the replay already."""
        settings = self.learner
        if replay.size >= settings.batch_size:
            for _ in range(settings.updates_per_rollout):
                yield Draw(replay.sample(settings.batch_size))

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        """Networks and the slower copies of them that targets are made with."""
        return []

    def after_update(self, updates: int) -> None:
        """Move target networks; ``updates`` counts the present one."""
        for online, target in self.targets():
            move_target(online.parameters(), target.parameters(), self.learner, updates)

    def shown(self, state: Tensor) -> Tensor:
        """States as networks see them, ``[..., s]``: standardised and cut, or as they are."""
        if self.state_scale is None:
            return state
        return self.state_scale(state).clamp(-STATE_LIMIT, STATE_LIMIT)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold beside the networks."""
        held = {}
        if self.state_scale is not None:
            held["state_scale.moments"] = self.state_scale.state_dict()["moments"]
        if self.generator is not None:
            held["generator"] = self.generator.get_state()
        return held

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue with what `tensors` gave.

        Raises:
            KeyError, ValueError: they are of another algorithm.
        """
        if self.state_scale is not None:
            self.state_scale.load_state_dict({"moments": tensors["state_scale.moments"]})
        if self.generator is not None:
            self.generator.set_state(tensors["generator"].cpu())

    def mixing(self, state: Tensor) -> tuple[Mixer, Tensor] | None:
        """The mixer of the values that `credit_moments` gives, and states ``[M, s]`` as it sees
        them; None where nothing is mixed."""
        return None

    def credit_moments(self, batch: Batch) -> Moments | None:
        """What a credit function would be asked about a batch now; None where it has none."""
        return None
