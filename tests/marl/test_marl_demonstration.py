"""An episode to be shown: the best of random play, trained agents' own, values of a fit size."""

from __future__ import annotations

import pytest
import torch

from marl.demonstration import Actors, Demonstration, demonstrate, random_actors
from marl.errors import SettingsError
from marl.settings.agent import AgentConfig
from marl.settings.env import EnvConfig
from prompts.cards import load_card


def test_of_many_random_episodes_the_best_is_shown() -> None:
    card = load_card("matrix/climbing")
    best = demonstrate(card, random_actors(card, EnvConfig()), 0)
    payoff = torch.tensor(card.env.options["payoff"], dtype=torch.float32)
    assert best.rewards.tolist() == payoff[best.actions[:, 0], best.actions[:, 1]].tolist()
    assert best.rewards.sum() > 25  # far above the mean of random play, which is below 0
    again = demonstrate(card, random_actors(card, EnvConfig()), 0)
    assert again.actions.tolist() == best.actions.tolist()
    other = demonstrate(card, random_actors(card, EnvConfig()), 1)
    assert other.actions.tolist() != best.actions.tolist()


def test_values_to_come_are_shared_and_discounted() -> None:
    rewards, actions = torch.tensor([2.0, 0.0, 8.0]), torch.zeros(3, 2, dtype=torch.int64)
    played = Demonstration(torch.zeros(3, 1), actions, rewards, None)
    assert played.values(0.5, scale=2.0).tolist() == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]


def test_agents_of_another_task_are_refused() -> None:
    actors = Actors("agents", EnvConfig(), {"head.bias": torch.zeros(5)}, AgentConfig())
    with pytest.raises(SettingsError, match="agents: they do not fit"):
        demonstrate(load_card("matrix/climbing"), actors, 0)
