"""What the presets say of the number of updates, the batch and the discount."""

from __future__ import annotations

import pytest

from marl.settings.presets import PRESETS
from marl.settings.registry import ALGORITHMS
from marl.settings.train import TrainConfig


def settled(preset: str, kind: str, algorithm: str) -> TrainConfig:
    made = PRESETS[preset](kind)
    shared = {k: v for k, v in made.shared.items() if k in TrainConfig.model_fields}
    own = {"name": algorithm, **made.own.get(algorithm, {})}
    return TrainConfig.model_validate({**shared, "algorithm": own}).settled()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("preset", "kind"),
    [("equal", "lbf"), ("equal", "mpe"), ("epymarl", "mpe"), ("epymarl", "matrix")],
)
def test_one_update_on_32_episodes_follows_every_episode(
    preset: str, kind: str, algorithm: str
) -> None:
    """As in the benchmark, whose runner plays one episode at a time."""
    config = settled(preset, kind, algorithm)
    assert config.learner.updates_per_rollout == config.env.num_envs
    assert config.learner.batch_size == 32


@pytest.mark.parametrize(
    ("kind", "algorithm", "envs", "batch", "gamma"),
    [
        ("mpe", "qllm", 8, 64, None),
        ("mpe", "qmix", 6, 32, None),
        ("football", "qllm", 16, 128, 0.999),
        ("football", "qmix", 16, 128, None),
    ],
)
def test_the_paper_s_authors_update_once_after_each_rollout(
    kind: str, algorithm: str, envs: int, batch: int, gamma: float | None
) -> None:
    config = settled("paper", kind, algorithm)
    assert (config.env.num_envs, config.learner.updates_per_rollout) == (envs, 1)
    assert (config.learner.batch_size, config.learner.gamma) == (batch, gamma)


def test_the_paper_s_football_copies_targets_after_every_update() -> None:
    learner = settled("paper", "football", "qllm").learner
    assert (learner.target_update, learner.target_interval) == ("hard", 1)
    assert learner.td_lambda == 1
    assert not learner.standardise_states
