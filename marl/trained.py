"""A training's networks from its checkpoints: its greedy agents, evaluated on any task they fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from marl.agents import Agent, make_agent
from marl.algorithms.base import Algorithm, Build, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.checkpoint import checkpoints, open_checkpoint, part_of
from marl.clock import Clock
from marl.device import DTYPES, resolve_device
from marl.envs.base import BatchedEnv
from marl.errors import CheckpointError, SettingsError
from marl.evaluation import Evaluation, Evaluator, best_of
from marl.events import Evaluated
from marl.learner import Learner
from marl.settings.env import EnvConfig
from marl.settings.evaluation import EvaluationConfig
from marl.settings.train import TrainConfig
from marl.snapshot import Facts, read_facts, require_own
from prompts.cards import TaskCard

Which = Literal["newest", "best"] | int
"""The newest checkpoint, the networks of the best evaluation, or those after so many steps."""


@dataclass(frozen=True)
class Trained:
    """The networks of one training after some of its steps."""

    card: TaskCard
    """Of the task that was learned."""
    config: TrainConfig
    seed: int
    credit: str | None
    """Graph hash of the credit function, if any."""
    step: int
    """Environment steps behind the networks."""
    networks: dict[str, Tensor]
    """As of `marl.learner.Learner.networks`."""
    facts: Facts | None = None
    """Of the checkpoint that they are from, if they are from one."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the training's environments and networks."""
        return DTYPES[self.config.dtype]

    def env_config(self, card: TaskCard) -> EnvConfig:
        """How a task is played: as in the training, as far as the tasks are of one kind."""
        own = self.config.env
        if card.env.kind == self.card.env.kind:
            return own.of(card.env.kind)
        return EnvConfig(num_envs=own.num_envs, time_limit=own.time_limit).of(card.env.kind)

    def agent(self, card: TaskCard, env: BatchedEnv) -> Agent:
        """The agents for a task, on its environment's device.

        Raises:
            SettingsError: they do not fit it; the message says what differs.
        """
        sizes, config = TaskSizes.of(card, env.obs_dim, env.agent_types), self.config.agent
        differing = self.differences(sizes, by_number=config.agent_id or config.share != "all")
        if differing:
            raise SettingsError(f"the agents do not fit task '{card.name}': {'; '.join(differing)}")
        with torch.random.fork_rng(devices=[]):
            agent = make_agent(config, env.obs_dim, env.n_agents, env.n_actions, sizes.types)
        try:
            agent.load_state_dict(self.agents)
        except RuntimeError:
            raise SettingsError(
                f"the agents do not fit task '{card.name}': they are of other types"
            ) from None
        return agent.to(env.device, env.dtype)

    def algorithm(self, env: BatchedEnv) -> Algorithm:
        """All networks, of an algorithm without a credit function.

        Args:
            env: of the task that was learned.

        Raises:
            SettingsError: it has a credit function, or the networks are not its own.
        """
        learner = self.config.learner.model_copy(update={"compile_mixer": False})
        config = self.config.model_copy(update={"learner": learner})
        sizes = TaskSizes.of(self.card, env.obs_dim, env.agent_types)
        build = Build(config, sizes, self.card.gamma, env.horizon, self.seed, dtype=env.dtype)
        made = make_algorithm(build)
        try:
            Learner(made, Clock()).load_state_dict(self.networks)
        except (KeyError, ValueError, RuntimeError) as error:
            raise SettingsError(f"the networks are not this algorithm's: {error}") from None
        return made

    @property
    def evaluation(self) -> Evaluated | None:
        """The last evaluation of the training up to these networks."""
        every = [] if self.facts is None else self.facts.evaluated()
        done = [e for e in every if e.env_steps <= self.step]
        return done[-1] if done else None

    @property
    def agents(self) -> dict[str, Tensor]:
        """The part of the networks that acts."""
        return part_of(self.networks, "agent")

    def differences(self, sizes: TaskSizes, *, by_number: bool) -> list[str]:
        """What keeps the agents from a task of these sizes, in words.

        Args:
            by_number: whether there must be as many agents.
        """
        agent, card = self.config.agent, self.card
        first = next((v for k, v in self.agents.items() if k.endswith("encoder.weight")), None)
        if first is None or first.dim() != 2:
            return ["the networks are damaged"]
        beside = card.n_agents * agent.agent_id + card.n_actions * agent.last_action
        compared = [
            ("observed features", sizes.obs_dim, first.shape[1] - beside),
            ("actions", sizes.n_actions, card.n_actions),
        ]
        if by_number:
            compared.append(("agents, which are told apart", sizes.n_agents, card.n_agents))
        return [f"{here} {what}, learned with {n}" for what, here, n in compared if here != n]


def load_trained(
    folder: Path,
    card: TaskCard,
    config: TrainConfig,
    seed: int,
    credit: str | None,
    which: Which = "newest",
    initial: str | None = None,
) -> Trained:
    """The networks of a training.

    Args:
        folder: of the training's run.
        card, config, seed: of the training.
        credit: graph hash of its credit function, if any.
        initial: hash of the networks that it began with, if they were another training's.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged or another training's.
    """
    path, part = None, "best" if which == "best" else "learner"
    if isinstance(which, int):
        path, part = _at_step(folder, which, card.env.kind)
    with open_checkpoint(folder, path) as saved:
        facts = read_facts(saved.facts, card.env.kind)
        require_own(facts, card, config.on(card.env.kind), seed, credit, initial)
        found = part_of(saved.tensors(f"{part}."), part)
        if not found:
            raise CheckpointError(f"it holds no {part} networks: an earlier version wrote it")
        if not all(bool(value.isfinite().all()) for value in found.values()):
            raise CheckpointError("damaged: networks that are not finite")
        networks = {k: v for k, v in found.items() if not k.startswith("optimiser.")}
        step = facts.env_steps if part == "learner" else best_of(facts.evaluated()).env_steps
    return Trained(card, facts.config, seed, credit, step, networks, facts)


def _at_step(folder: Path, step: int, kind: str) -> tuple[Path, str]:
    """The checkpoint that holds the networks after so many steps, and under which part."""
    offered: dict[int, tuple[Path, str]] = {}
    for path in checkpoints(folder):
        with open_checkpoint(folder, path) as saved:
            facts = read_facts(saved.facts, kind)
            if part_of(saved.sizes, "best"):
                offered.setdefault(best_of(facts.evaluated()).env_steps, (path, "best"))
            offered[facts.env_steps] = path, "learner"
    if step not in offered:
        there = ", ".join(f"{at:,}" for at in sorted(offered)) or "none"
        raise CheckpointError(
            f"no checkpoint in '{folder}' of step {step:,}; there are {there} (keep_checkpoints "
            "says how many older ones stay)"
        )
    return offered[step]


def evaluate(
    trained: Trained, card: TaskCard, episodes: int, seed: int, tell: Callable[[str], None]
) -> tuple[Evaluation, float]:
    """Greedy episodes: those of evaluation 0 of a training with this seed.

    Args:
        card: of any task that the agents fit.
        seed: which episodes are played, whoever plays them.
        tell: what the environments report, a line each.

    Returns:
        What came of them, and environment steps per second.

    Raises:
        SettingsError: the environment cannot be made, or the agents do not fit it.
        TrainingError: it failed, or every episode was lost.
    """
    config = trained.config
    # A training on a GPU can be looked at where there is none.
    device = resolve_device("cpu" if config.device == "cpu" else "auto")
    evaluator = Evaluator(
        card,
        EvaluationConfig(episodes=episodes),
        trained.env_config(card),
        seed,
        device,
        trained.dtype,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with closing(evaluator):
            agent = trained.agent(card, evaluator.environment(episodes))
            began = time.perf_counter()
            found = evaluator.evaluate(agent, 0)
            seconds = time.perf_counter() - began
            for line in evaluator.news():
                tell(line)
    finally:
        torch.set_num_threads(threads)
    return found, found.steps / max(seconds, 1e-9)
