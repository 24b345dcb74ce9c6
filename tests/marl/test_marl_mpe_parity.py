"""The particle environments agree with the reference, step for step, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from marl_mpe_reference import (
    Play,
    compare,
    gathering_play,
    obs_of,
    placed_alike,
    random_play,
)

from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.opposed import OpposedEnv
from marl.envs.registry import make_env
from prompts.cards import load_card

mpe2 = pytest.importorskip("mpe2", reason="the reference's particle environments are missing")
from mpe2 import simple_adversary_v3, simple_spread_v3, simple_tag_v3  # noqa: E402

TASKS: dict[str, tuple[Any, dict[str, Any], slice]] = {
    "mpe/spread-3": (simple_spread_v3, {"N": 3, "local_ratio": 0.5}, slice(0, 3)),
    "mpe/spread-6": (simple_spread_v3, {"N": 6, "local_ratio": 0.5}, slice(0, 6)),
    "mpe/tag": (simple_tag_v3, {}, slice(0, 3)),
    "mpe/adversary": (simple_adversary_v3, {"N": 2}, slice(1, 3)),
}
"""By task: the reference, its arguments, and which of its bodies are the agents."""


def sides(task: str, count: int, seed: int = 0) -> tuple[ParticleEnv, list[Any], slice]:
    """Ours and the references, at the start of an episode that is not the same yet."""
    module, arguments, agents = TASKS[task]
    references = [module.raw_env(max_cycles=25, **arguments) for _ in range(count)]
    for i, reference in enumerate(references):
        reference.reset(seed=1000 * seed + i)
    env = make_env(load_card(task), count, seed, dtype=torch.float64)
    assert isinstance(env, ParticleEnv)
    return env, references, agents


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("play", "close"), [(random_play, 1.0), (gathering_play, 1.0), (gathering_play, 0.2)]
)
def test_places_velocities_and_rewards_are_the_references(
    task: str, play: Play, close: float
) -> None:
    luck = np.random.default_rng(3)
    env, references, agents = sides(task, 16)
    placed_alike(env, references, close)
    far, paid, touches = compare(env, references, agents, play, luck)
    assert far < 1e-9
    assert paid < 1e-9
    assert touches > 20 or play is random_play  # contacts did occur


@pytest.mark.parametrize("task", TASKS)
def test_the_first_observation_is_the_references(task: str) -> None:
    env, references, agents = sides(task, 8)
    placed_alike(env, references)
    shown = env._observe()
    for i, reference in enumerate(references):
        expected = obs_of(reference, agents)
        assert np.abs(expected - shown.state[i].numpy()).max() < 1e-12
        assert torch.equal(shown.obs[i].flatten(), shown.state[i])


@pytest.mark.parametrize("task", ["mpe/tag", "mpe/adversary"])
def test_the_opponent_sees_what_the_references_sees(task: str) -> None:
    env, references, _ = sides(task, 8)
    placed_alike(env, references)
    assert isinstance(env, OpposedEnv)
    theirs = slice(3, 4) if task == "mpe/tag" else slice(0, 1)
    expected = np.stack([obs_of(reference, theirs) for reference in references])
    assert np.abs(expected - env.opponent_obs().numpy()).max() < 1e-12


@pytest.mark.parametrize("task", TASKS)
def test_episodes_begin_as_the_references_do(task: str) -> None:
    """The same distribution of starts: ranges and means of every column, over many episodes."""
    _, references, agents = sides(task, 1)
    many = make_env(load_card(task), 20_000, 5).reset().state
    reference, seen = references[0], []
    for _ in range(2_000):
        reference.reset()
        seen.append(obs_of(reference, agents))
    expected = torch.tensor(np.array(seen), dtype=torch.float32)
    assert torch.allclose(many.mean(0), expected.mean(0), atol=0.09)
    assert torch.allclose(many.std(0), expected.std(0), atol=0.06)
    assert torch.allclose(many.amax(0), expected.amax(0), atol=0.2)
    assert torch.allclose(many.amin(0), expected.amin(0), atol=0.2)
