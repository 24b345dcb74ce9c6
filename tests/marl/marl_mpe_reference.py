"""The reference's particle environments, played beside ours from the same places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.envs.mpe.env import ParticleEnv

pytest.importorskip("mpe2", reason="the reference's particle environments are not installed")

Play = Callable[[Any, np.random.Generator], list[int]]
"""From a reference world and a generator to the actions of all its bodies."""


def positions(entities: list[Any]) -> np.ndarray:
    return np.array([e.state.p_pos for e in entities])


def random_play(world: Any, luck: np.random.Generator) -> list[int]:
    return [int(a) for a in luck.integers(5, size=len(world.agents))]


def gathering_play(world: Any, luck: np.random.Generator) -> list[int]:
    """Everybody pushes towards the middle of all, or now and then anywhere: they collide."""
    middle = positions(world.agents).mean(0)
    actions = []
    for body in world.agents:
        x, y = middle - body.state.p_pos
        wanted = (1 if x < 0 else 2) if abs(x) > abs(y) else (3 if y < 0 else 4)
        actions.append(wanted if luck.random() < 0.9 else int(luck.integers(5)))
    return actions


def obs_of(reference: Any, bodies: slice) -> np.ndarray:
    """Observations of some bodies, one after the other, in float64."""
    scenario, world = reference.scenario, reference.world
    return np.concatenate([scenario.observation(body, world) for body in world.agents[bodies]])


def placed_alike(env: ParticleEnv, references: list[Any], close: float = 1.0) -> None:
    """New episodes, in which ours starts where the references do.

    Args:
        close: factor of the bodies' distances from the middle at the start.
    """
    env.reset()
    places = []
    for reference in references:
        world = reference.world
        for body in world.agents:
            body.state.p_pos = body.state.p_pos * close
        fixed = list(world.landmarks)
        if hasattr(world.agents[0], "goal_a"):
            fixed.append(world.agents[0].goal_a)
        places.append((positions(world.agents), positions(fixed)))
    bodies, fixed_places = (torch.tensor(np.array(x)) for x in zip(*places, strict=True))
    env.place(torch.zeros_like(bodies), bodies, fixed_places)


def compare(
    env: ParticleEnv, references: list[Any], agents: slice, play: Play, luck: np.random.Generator
) -> tuple[float, float, int]:
    """One episode of every instance, in which ``env`` and the references do the same.

    Returns:
        The largest difference of a place or velocity, and of a reward, the team's or an agent's;
        and how many times two bodies touched.
    """
    far, paid, touches = 0.0, 0.0, 0
    names = references[0].possible_agents[agents]
    for _ in range(env.horizon):
        joint = [play(reference.world, luck) for reference in references]
        for reference, actions in zip(references, joint, strict=True):
            for action in actions:
                reference.step(action)
        step = play_bodies(env, torch.tensor(joint), agents)
        own = env.individual_rewards()
        for i, reference in enumerate(references):
            seen = obs_of(reference, agents)
            far = max(far, float(np.abs(seen - step.state[i].numpy()).max()))
            rewards = [reference.rewards[name] for name in names]
            ours = [*own[i].tolist(), float(step.reward[i])]
            apart = [abs(a - b) for a, b in zip([*rewards, sum(rewards)], ours, strict=True)]
            paid = max(paid, *apart)
            touches += touching(reference)
    return far, paid, touches


def play_bodies(env: ParticleEnv, joint: Tensor, agents: slice) -> Any:
    """A step in which all bodies' actions are given, an opponent's too."""
    if hasattr(env, "opponent"):
        theirs = joint[:, 0] if agents.start else joint[:, -1]
        env.opponent = lambda obs: theirs
    return env.step(joint[:, agents])


def touching(reference: Any) -> int:
    """Pairs of bodies that overlap now."""
    bodies = reference.world.agents
    at = positions(bodies)
    sizes = np.array([body.size for body in bodies])
    gap = np.linalg.norm(at[:, None] - at[None], axis=-1) - sizes[:, None] - sizes[None]
    return int((np.triu(gap, 1)[np.triu_indices(len(bodies), 1)] < 0).sum())
