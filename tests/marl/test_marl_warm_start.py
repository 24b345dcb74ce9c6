"""A training that begins with another's networks: those and nothing else, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from marl_lbf_cards import foraging_card
from marl_toys import climbing, small_config
from torch import Tensor

from marl.algorithms.base import Algorithm
from marl.errors import CheckpointError, SettingsError
from marl.events import CheckpointSaved
from marl.settings.train import TrainConfig
from marl.trained import Trained, evaluate, load_trained
from marl.trainer import Trainer
from marl.warm_start import Initial, begin_with, initial_networks, networks_hash
from prompts.cards import load_card

SEED = 3
SPREAD = load_card("mpe/spread-3")
TWO, THREE, FOUR = (foraging_card(6, players, 5 - players, 6, False) for players in (2, 3, 4))
"""The observation is of all players and foods: 15 features for each of these numbers."""


def config(algorithm: str = "qmix", **changes: Any) -> TrainConfig:
    return small_config(
        steps=200, algorithm={"name": algorithm},
        evaluation={"every": 100, "episodes": 3, "final_episodes": 3}, **changes,
    )  # fmt: skip


def learned(folder: Path, card: Any = SPREAD, settings: TrainConfig | None = None) -> Trained:
    settings = settings or config()
    Trainer(card, settings, SEED, run_dir=folder).run()
    return load_trained(folder, card, settings, SEED, None)


def initial(source: Trained, card: Any, settings: TrainConfig) -> Initial:
    made = Trainer(card, settings, 5)
    return initial_networks(source, settings.on(card.env.kind), made.algorithm)


def begun(source: Trained, card: Any, settings: TrainConfig, seed: int = 5) -> Trainer:
    return Trainer(card, settings, seed, initial=initial(source, card, settings))


def parameters(algorithm: Algorithm, start: str = "") -> dict[str, Tensor]:
    return {n: p.detach() for n, p in algorithm.named_parameters() if n.startswith(start)}


@pytest.mark.parametrize("algorithm", ["qmix", "vdn", "qtran", "owqmix", "mappo", "maddpg", "riit"])
def test_all_networks_of_the_same_algorithm_are_taken_over(tmp_path: Path, algorithm: str) -> None:
    source = learned(tmp_path, settings=config(algorithm))
    trainer = begun(source, SPREAD, config(algorithm))
    assert not trainer.learner.optimisers[
        "q" if "q" in trainer.learner.optimisers else "actor"
    ].state
    assert (trainer.learner.updates, trainer.replay.size) == (0, 0)
    targets = {id(p) for _, slow in trainer.algorithm.targets() for p in slow.parameters()}
    for name, value in trainer.algorithm.named_parameters():
        if id(value) not in targets:
            assert torch.equal(value, source.networks[name]), name
    for online, slow in trainer.algorithm.targets():
        for one, other in zip(online.parameters(), slow.parameters(), strict=True):
            assert torch.equal(one, other)


def test_the_first_evaluation_is_what_the_source_s_networks_play(tmp_path: Path) -> None:
    source = learned(tmp_path)
    trainer = begun(source, SPREAD, config(), seed=SEED)
    trainer.run()
    played = evaluate(source, SPREAD, 3, SEED, lambda line: None)[0]
    assert trainer.evaluations[0].returns == played.returns
    cold = Trainer(SPREAD, config(), SEED)
    cold.run()
    assert cold.evaluations[0].returns != played.returns


def test_the_scale_of_states_goes_with_the_mixer(tmp_path: Path) -> None:
    standardised = config(learner={"batch_size": 4, "standardise_states": True})
    source = learned(tmp_path, settings=standardised)
    taken = initial(source, SPREAD, standardised)
    assert taken.whole
    trainer = Trainer(SPREAD, standardised, 5, initial=taken)
    assert trainer.algorithm.state_scale is not None
    moments = trainer.algorithm.state_scale.state_dict()["moments"]
    assert torch.equal(moments, source.networks["state_scale.moments"])


def test_another_algorithm_of_values_takes_the_agents(tmp_path: Path) -> None:
    source = learned(tmp_path, settings=config("vdn"))
    taken = initial(source, SPREAD, config("qmix"))
    assert not taken.whole
    trainer = Trainer(SPREAD, config("qmix"), 5, initial=taken)
    assert parameters(trainer.algorithm, "agent.").keys() == taken.networks.keys()
    mixer = parameters(trainer.algorithm, "mixer.")
    cold = parameters(Trainer(SPREAD, config("qmix"), 5).algorithm, "mixer.")
    assert all(torch.equal(mixer[name], value) for name, value in cold.items())


@pytest.mark.parametrize("card", [TWO, FOUR], ids=["fewer", "more"])
def test_agents_move_to_a_task_with_another_number_of_them(tmp_path: Path, card: Any) -> None:
    source = learned(tmp_path, THREE)
    trainer = begun(source, card, config())
    ours, theirs = trainer.algorithm.agent.encoder.weight, source.networks["agent.encoder.weight"]
    shared = min(card.n_agents, 3)
    assert torch.equal(ours[:, :15], theirs[:, :15])
    assert torch.equal(ours[:, 15 : 15 + shared], theirs[:, 15 : 15 + shared])
    for further in range(shared, card.n_agents):
        assert torch.equal(ours[:, 15 + further], theirs[:, 15:].mean(1))
    for name, value in parameters(trainer.algorithm, "agent.").items():
        if name != "agent.encoder.weight":
            assert torch.equal(value, source.networks[name])
    assert trainer.run().status == "finished"


def test_without_ids_the_agents_are_the_same_ones(tmp_path: Path) -> None:
    settings = config(agent={"hidden": 8, "agent_id": False})
    source = learned(tmp_path, THREE, settings)
    trainer = begun(source, FOUR, settings)
    for name, value in parameters(trainer.algorithm, "agent.").items():
        assert torch.equal(value, source.networks[name])


OTHERS = [
    (SPREAD, {"algorithm": "mappo"}, "algorithm qmix, whose agents give values, here mappo, whose"),
    (SPREAD, {"agent": {"hidden": 16}}, "agent.hidden 8, here 16"),
    (SPREAD, {"agent": {"hidden": 8, "core": "feedforward"}}, "agent.core gru, here feedforward"),
    (climbing(), {}, "observed features, learned with 18; 3 actions, learned with 5"),
]


@pytest.mark.parametrize(("card", "changes", "words"), OTHERS)
def test_what_does_not_fit_is_said(tmp_path: Path, card: Any, changes: Any, words: str) -> None:
    source = learned(tmp_path)
    with pytest.raises(SettingsError, match="the networks do not fit: ") as caught:
        initial(source, card, config(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_separate_networks_need_as_many_agents(tmp_path: Path) -> None:
    settings = config(agent={"hidden": 8, "share": "none"})
    source = learned(tmp_path, THREE, settings)
    with pytest.raises(SettingsError, match="4 agents, which are told apart, learned with 3"):
        initial(source, FOUR, settings)


def test_a_checkpoint_belongs_to_the_networks_that_it_began_with(tmp_path: Path) -> None:
    source, settings = learned(tmp_path / "source"), config(checkpoint_every=50)
    taken, folder = initial(source, SPREAD, settings), tmp_path / "own"
    whole = Trainer(SPREAD, settings, 5, initial=taken)
    expected = whole.run()

    def cut(event: object) -> None:
        if isinstance(event, CheckpointSaved):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(SPREAD, settings, 5, initial=taken, run_dir=folder, emit=cut).run()
    for other in (None, Initial("f" * 64)):
        with pytest.raises(CheckpointError, match="initial networks"):
            Trainer.resume(SPREAD, settings, 5, run_dir=folder, initial=other)
    with pytest.raises(CheckpointError, match="initial networks"):
        load_trained(folder, SPREAD, settings, 5, None)
    load_trained(folder, SPREAD, settings, 5, None, initial=taken.hash)
    resumed = Trainer.resume(SPREAD, settings, 5, run_dir=folder, initial=Initial(taken.hash))
    assert resumed.env_steps > 0
    found = resumed.run()
    assert [e.returns for e in found.evaluations] == [e.returns for e in expected.evaluations]
    for name, value in whole.algorithm.named_parameters():
        assert torch.equal(value, dict(resumed.algorithm.named_parameters())[name])


def test_networks_of_another_algorithm_are_refused_and_hashes_differ(tmp_path: Path) -> None:
    source = learned(tmp_path)
    taken = initial(source, SPREAD, config()).networks
    with pytest.raises(CheckpointError, match="another algorithm's"):
        begin_with(Trainer(SPREAD, config("vdn"), 5).algorithm, taken)
    changed = {**taken, "agent.head.bias": taken["agent.head.bias"] + 1e-7}
    assert networks_hash(dict(reversed(taken.items()))) == networks_hash(taken)
    assert networks_hash(changed) != networks_hash(taken)
