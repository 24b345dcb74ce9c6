"""What the presets say of updates, batches and the discount, for all and for single algorithms."""

from __future__ import annotations

import pytest

from marl.settings.base import laid_over
from marl.settings.presets import PRESETS
from marl.settings.registry import ALGORITHMS
from marl.settings.train import TrainConfig

ON_POLICY = ("coma", "ippo", "mappo")


def settled(preset: str, kind: str, algorithm: str) -> TrainConfig:
    tree = PRESETS[preset](kind).of(algorithm)
    tree = {key: value for key, value in tree.items() if key in TrainConfig.model_fields}
    return TrainConfig.model_validate(laid_over(tree, {"algorithm": {"name": algorithm}}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("preset", "kind"),
    [("equal", "lbf"), ("equal", "mpe"), ("epymarl", "mpe"), ("epymarl", "matrix")],
)
def test_one_update_on_32_episodes_follows_every_episode(
    preset: str, kind: str, algorithm: str
) -> None:
    """As in the benchmark, whose runner plays one episode at a time, and ten for actor-critics that
    learn from their rollout alone."""
    config = settled(preset, kind, algorithm)
    if preset == "epymarl" and algorithm in ON_POLICY:
        assert (config.env.num_envs, config.learner.lr) == (10, 3e-4)
        return
    assert config.learner.updates_per_rollout == config.env.num_envs
    assert config.learner.batch_size == 32


@pytest.mark.parametrize("kind", ["matrix", "lbf"])
def test_equal_gives_every_algorithm_the_same(kind: str) -> None:
    configs = [settled("equal", kind, name) for name in ALGORITHMS]
    assert len({config.model_copy(update={"algorithm": None}) for config in configs}) == 1


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["mpe", "football"])
def test_presets_know_the_algorithms_that_they_have_layers_for(preset: str, kind: str) -> None:
    for name in PRESETS[preset](kind).own:
        settled(preset, kind, name)  # unknown settings would be refused


@pytest.mark.parametrize(
    ("kind", "algorithm", "envs", "updates", "batch", "gamma"),
    [
        ("mpe", "qllm", 8, 1, 64, None),
        ("mpe", "qmix", 6, 1, 32, None),
        ("mpe", "owqmix", 6, 1, 32, None),
        ("mpe", "qatten", 8, 1, 128, None),
        ("mpe", "riit", 8, 1, 64, None),
        ("mpe", "maddpg", 8, 8, 32, None),
        ("mpe", "coma", 10, 1, 32, None),
        ("football", "qllm", 16, 1, 128, 0.999),
        ("football", "qmix", 16, 1, 128, None),
    ],
)
def test_the_paper_s_authors_update_once_after_each_rollout(
    kind: str, algorithm: str, envs: int, updates: int, batch: int, gamma: float | None
) -> None:
    """But MADDPG, whose runner plays one episode at a time."""
    config = settled("paper", kind, algorithm)
    assert (config.env.num_envs, config.learner.updates_per_rollout) == (envs, updates)
    assert (config.learner.batch_size, config.learner.gamma) == (batch, gamma)


def test_the_paper_s_football_copies_targets_after_every_update() -> None:
    learner = settled("paper", "football", "qllm").learner
    assert (learner.target_update, learner.target_interval) == ("hard", 1)
    assert learner.td_lambda == 1
    assert not learner.standardise_states
