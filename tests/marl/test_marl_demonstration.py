"""An episode to be shown: the best of random play, trained agents' own, values of a fit size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch
from marl_toys import climbing, small_config

from marl.batch import Batch
from marl.demonstration import (
    Actors,
    Demonstration,
    demonstrate,
    mixing_weights,
    random_actors,
    trained_actors,
)
from marl.envs.registry import make_env
from marl.episodes import Episodes
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from marl.trained import Trained, load_trained
from marl.trainer import Trainer
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


def trained_on_climbing(folder: Path, name: str) -> tuple[Actors, Demonstration]:
    """A small training in float64, and the episode that its agents play."""
    card = climbing(5)
    config = small_config(algorithm={"name": name}, dtype="float64").on("matrix")
    Trainer(card, config, 3, run_dir=folder).run()
    actors = trained_actors(load_trained(folder, card, config, 3, None), card, "agents")
    return actors, demonstrate(card, actors, 0)


@pytest.mark.parametrize("name", ["qmix", "riit"])
def test_credit_of_a_mixing_network_is_the_slope_of_its_q_tot(name: str, tmp_path: Path) -> None:
    actors, played = trained_on_climbing(tmp_path, name)
    weights = mixing_weights(played, actors, climbing(5))
    assert weights is not None
    assert weights.shape == played.actions.shape
    assert actors.trained is not None
    with closing(make_env(climbing(5), 1, 0, dtype=torch.float64)) as env:
        algorithm = actors.trained.algorithm(env)
    batch = Batch.of(played.episode)
    moments, mixing = algorithm.credit_moments(batch), algorithm.mixing(batch.state)
    assert moments is not None
    assert mixing is not None
    mixer, state = mixing
    state = state[batch.current]
    qs = moments.action_qs[batch.current].gather(-1, played.actions[..., None]).squeeze(-1)
    for agent in range(2):
        step = torch.zeros_like(qs)
        step[:, agent] = 1e-6
        with torch.no_grad():
            slope = (mixer(qs + step, state) - mixer(qs - step, state)) / 2e-6
        torch.testing.assert_close(weights[:, agent : agent + 1], slope, rtol=1e-5, atol=1e-7)


def test_where_nothing_is_mixed_there_is_no_credit(tmp_path: Path) -> None:
    for name in ("vdn", "iql", "mappo"):
        actors, played = trained_on_climbing(tmp_path / name, name)
        weights = mixing_weights(played, actors, climbing(5))
        assert (None if weights is None else weights.unique().tolist()) == (
            [1.0] if name == "vdn" else None
        )
