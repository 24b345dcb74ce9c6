"""What a credit function does: its weights along an episode, and what they depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from marl.agents import Agent, make_agent
from marl.algorithms.base import TaskSizes
from marl.checkpoint import open_checkpoint
from marl.envs.base import BatchedEnv
from marl.envs.kinds import is_engine
from marl.envs.registry import make_env
from marl.errors import CheckpointError, SettingsError
from marl.settings.env import EnvConfig
from marl.settings.registry import uses_credit
from marl.snapshot import read_facts, require_own
from prompts.cards import StateSlice, TaskCard
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.errors import UsageError
from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.store.numbers import run_name
from qllm.store.store import Store
from sandbox.checker import Sandbox
from sandbox.graph import CreditGraph
from sandbox.isolation.host import ChildFailure

_RANDOM_EPISODES, _SLOW_EPISODES = 512, 4
_SLICES, _COLUMNS = 3, 4
"""Slices of the state that are shown, and columns of each."""


@dataclass(frozen=True)
class Policy:
    """Who acts in the episode."""

    name: str
    """In words."""
    env: EnvConfig
    agent_tensors: dict[str, Tensor] | None = None
    """The trained agents' parameters; None: actions are drawn at random."""
    config: Any = None
    """The agents' settings."""
    graph_hash: str | None = None
    """Of the credit function that they were trained with, if any."""


@dataclass(frozen=True)
class Played:
    """One episode. T steps, n agents, s state columns."""

    states: Tensor
    """``[T, s]``, before each step"""
    actions: Tensor
    """int64 ``[T, n]``"""
    rewards: Tensor
    """``[T]``"""
    chosen_qs: Tensor | None
    """``[T, n]``: the trained agents' values of their actions; None for random play."""


def random_policy(card: TaskCard, env: EnvConfig) -> Policy:
    """Uniform among the available actions; of many such episodes the best is shown."""
    return Policy(f"the best of {_many(card)} episodes of random play", env)


def trained_policy(store: Store, run_id: int, card: TaskCard) -> Policy:
    """The greedy policy of a training's newest checkpoint.

    Args:
        run_id: a training, or a run with trainings, of which the first that has a checkpoint and
            trained algorithm qllm (else the first at all) is taken.

    Raises:
        UsageError: it has no checkpoint, or is of another task.
        qllm.store.runs.UnknownRunError: there is no such run.
    """
    trainings = store.runs.trainings(run_id)
    ordered = sorted(trainings, key=lambda run: not uses_credit(run.algo))
    problem = f"run {run_name(run_id)} has no training"
    for run in ordered:
        if run.task != card.name:
            problem = f"run {run.name} is of task '{run.task}', not of '{card.name}'"
            continue
        start = "learner.agent."
        try:
            config = from_stored(run.config)
            with open_checkpoint(store.run_dir(run.id)) as saved:
                facts = read_facts(saved.facts, card.env.kind)
                credit = run.inputs.get("graph_hash") if uses_credit(run.algo) else None
                require_own(facts, card, config.train_config(), config.seeds[0], credit)
                kept = {k.removeprefix(start): v for k, v in saved.tensors(start).items()}
        except (CheckpointError, ConfigError) as error:
            problem = str(error)
            continue
        name = f"greedy {run.algo} agents of run {run.name} after {facts.env_steps:,} steps"
        return Policy(name, config.env, kept, config.agent, credit)
    raise UsageError(f"--run {run_name(run_id)}: {problem}")


def _many(card: TaskCard) -> int:
    return _SLOW_EPISODES if is_engine(card) else _RANDOM_EPISODES


def play(card: TaskCard, policy: Policy, seed: int) -> Played:
    """An episode of a policy: the first one of trained agents, the best one of random play.

    Raises:
        UsageError: the environment cannot be made with these settings, or the agents do not fit it.
    """
    count = 1 if policy.agent_tensors is not None else _many(card)
    try:
        env = make_env(card, count, seed, config=policy.env)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    try:
        return _rolled_out(env, _agent(policy, card, env), seed)
    finally:
        env.close()


def _agent(policy: Policy, card: TaskCard, env: BatchedEnv) -> Agent | None:
    if policy.agent_tensors is None:
        return None
    with torch.random.fork_rng(devices=[]):
        sizes = TaskSizes.of(card, env.obs_dim, env.agent_types)
        agent = make_agent(policy.config, env.obs_dim, env.n_agents, env.n_actions, sizes.types)
    try:
        agent.load_state_dict(policy.agent_tensors)
    except RuntimeError:
        raise UsageError(
            f"{policy.name}: they do not fit the task's observations and actions"
        ) from None
    return agent


@torch.no_grad()
def _rolled_out(env: BatchedEnv, agent: Agent | None, seed: int) -> Played:
    batch, n = env.num_envs, env.n_agents
    luck = torch.Generator().manual_seed(seed)
    player = agent.player(batch) if agent is not None else None
    now = env.reset()
    last = torch.full((batch, n), -1, dtype=torch.int64)
    states, actions, rewards, values, active = [], [], [], [], []
    for _ in range(env.horizon):
        if player is None:
            q = torch.rand(now.avail.shape, generator=luck)
        else:
            q = player(now.obs, last)
        best, last = q.masked_fill(~now.avail, -float("inf")).max(-1)
        active.append(~env.done)
        states.append(now.state)
        step = env.step(last)
        actions.append(last)
        rewards.append(step.reward)
        values.append(best)
        now = step  # type: ignore[assignment]
        if bool(env.done.all()):
            break
    reward = torch.stack(rewards, 1)  # [B, T]
    shown = int(reward.sum(1).argmax())
    steps = int(torch.stack(active, 1)[shown].sum())

    def of_shown(rows: list[Tensor]) -> Tensor:
        return torch.stack(rows, 1)[shown, :steps].clone()

    return Played(
        of_shown(states),
        of_shown(actions),
        reward[shown, :steps].clone(),
        of_shown(values) if player is not None else None,
    )


def values_to_come(rewards: Tensor, gamma: float, n: int) -> Tensor:
    """``[T, n]``: the discounted reward still to come, in equal shares: values of a plausible size
    where no agents were trained."""
    come, total = torch.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        total = float(rewards[t]) + gamma * total
        come[t] = total
    return (come / n)[:, None].expand(-1, n).clone()


def weights_along(
    graph: CreditGraph, card: TaskCard, played: Played, sandbox: Sandbox, function: str, seed: int
) -> tuple[Tensor, list[list[float]], list[float]]:
    """The agents' values and weights ``[T, n]`` along an episode, and each column's influence.

    Raises:
        UsageError: the function, ``function`` in words, does not run along the episode.
    """
    qs = played.chosen_qs
    if qs is None:
        rewards = played.rewards / (card.reward.scale or 1.0)  # in the unit of Q
        qs = values_to_come(rewards, card.gamma, card.n_agents)
    try:
        weights, influence = sandbox.credit(graph, card, qs.tolist(), played.states.tolist(), seed)
    except ChildFailure as error:
        raise UsageError(f"{function} does not run along the episode: {error.message}") from None
    return qs, weights, influence


def explain_episode(
    graph: CreditGraph,
    card: TaskCard,
    policy: Policy,
    sandbox: Sandbox,
    *,
    function: str,
    linear_in_q: bool,
    seed: int = 0,
) -> CreditEpisode:
    """Play an episode and take the function's weights along it.

    Args:
        graph: gated and accepted.
        card: a task with an environment.
        policy: who acts.
        sandbox: where the function runs.
        function: where the graph came from, in words.
        linear_in_q: whether the weights are the same for all agents' values.
        seed: of the environment and of random play.

    Raises:
        UsageError: the environment cannot be played with the policy's settings, or the function
            does not run along the episode.
    """
    played = play(card, policy, seed)
    qs, weights, influence = weights_along(graph, card, played, sandbox, function, seed)
    return CreditEpisode(
        task=card.name,
        function=function,
        policy=policy.name,
        action_names=card.action_names,
        weights=_rows(torch.tensor(weights)),
        actions=tuple(tuple(int(a) for a in row) for row in played.actions.T.tolist()),
        rewards=tuple(played.rewards.tolist()),
        agent_qs=_rows(qs),
        linear_in_q=linear_in_q,
        slices=_slices(card, played.states, torch.tensor(influence)),
        seed=seed,
    )


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.T.tolist())


_LONG_NAME = 13


def _titles(s: StateSlice) -> dict[str, str]:
    """Two short lines for a slice: whose it is, and what."""
    if s.agent is not None:
        return {"title": f"agent {s.agent}", "subtitle": f"state: {s.field}"}
    whose, underscore, what = s.name.partition("_")
    if underscore and len(s.name) > _LONG_NAME:
        return {"title": whose, "subtitle": f"state: {what}"}
    return {"title": s.name, "subtitle": "state"}


def _column(s: StateSlice, place: tuple[int, ...]) -> str:
    """A column's name within its slice: ``agent 1``, ``[0]``, ``agent 2 [1]``."""
    if s.size == 1:
        return "value"
    rest = [i for axis, i in enumerate(place) if axis != s.agent_axis]
    words = [] if s.agent_axis is None else [f"agent {place[s.agent_axis]}"]
    return " ".join(words + ([f"[{','.join(map(str, rest))}]"] if rest else []))


def _slices(card: TaskCard, states: Tensor, moved: Tensor) -> tuple[SliceTrace, ...]:
    traces = []
    for s, at in card.offsets():
        own = moved[at : at + s.size]
        # What a column does only through rounding is no influence.
        matter = [i for i in own.argsort(descending=True).tolist() if own[i] > 1e-7 * moved.max()]
        if not matter or float(own.max()) == 0:
            continue
        shown = sorted(matter[:_COLUMNS])
        traces.append(
            SliceTrace(
                name=s.name,
                **_titles(s),
                columns=tuple(_column(*card.column(at + i)) for i in shown),
                values=tuple(tuple(states[:, at + i].tolist()) for i in shown),
                influence=float(own.sum()),
                left_out=len(matter) - len(shown),
            )
        )
    traces.sort(key=lambda trace: -trace.influence)
    return tuple(traces[:_SLICES])
