"""An episode to be shown: the best of random play, trained agents' own, values of a fit size."""

from __future__ import annotations

import pytest
import torch

from marl.demonstration import Actors, Demonstration, demonstrate, random_actors
from marl.episodes import Episodes
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from marl.trained import Trained
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
    episode = Episodes(*[torch.zeros(1, 4)] * 3, *[torch.zeros(1, 3)] * 4)
    played = Demonstration(torch.zeros(3, 1), actions, rewards, None, episode)
    assert played.values(0.5, scale=2.0).tolist() == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]


def test_agents_of_another_task_are_refused() -> None:
    card = load_card("mpe/tag")
    networks = {"agent.encoder.weight": torch.zeros(8, 21)}
    trained = Trained(card, TrainConfig(), 0, None, 0, networks)
    with pytest.raises(SettingsError) as caught:
        demonstrate(load_card("matrix/climbing"), Actors("agents", EnvConfig(), trained), 0)
    assert str(caught.value) == (
        "agents: the agents do not fit task 'matrix/climbing': 3 observed features, learned with "
        "18; 3 actions, learned with 5; 2 agents, which are told apart, learned with 3"
    )
