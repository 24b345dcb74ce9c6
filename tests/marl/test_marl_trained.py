"""Networks from checkpoints: the right ones, which play as the training's own evaluations do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import climbing, small_config
from safetensors.torch import load_file, save_file

from marl.checkpoint import latest_checkpoint
from marl.errors import CheckpointError, SettingsError
from marl.evaluation import Evaluator, best_of
from marl.events import TrainResult
from marl.settings.evaluation import EvaluationConfig
from marl.settings.train import TrainConfig
from marl.trained import Trained, Which, evaluate, load_trained
from marl.trainer import Trainer
from prompts.cards import load_card

SEED = 3
SPREAD = load_card("mpe/spread-3")


def train(folder: Path, card: Any = SPREAD, **changes: Any) -> tuple[TrainConfig, TrainResult]:
    config = small_config(steps=400, evaluation={"every": 100, "final_episodes": 3}, **changes)
    return config, Trainer(card, config, SEED, run_dir=folder).run()


def load(folder: Path, config: TrainConfig, card: Any = SPREAD, which: Which = "newest") -> Trained:
    return load_trained(folder, card, config, SEED, None, which)


def played(trained: Trained, episodes: int = 3, seed: int = SEED, card: Any = None) -> Any:
    return evaluate(trained, card or trained.card, episodes, seed, lambda line: None)[0]


def test_a_training_s_own_evaluation_is_played_again_to_the_last_digit(tmp_path: Path) -> None:
    config, result = train(tmp_path)
    for which in ("newest", "best"):
        trained = load(tmp_path, config, which=which)  # type: ignore[arg-type]
        (index,) = (
            at for at, done in enumerate(result.evaluations) if done.env_steps == trained.step
        )
        own, cpu = EvaluationConfig(episodes=3), torch.device("cpu")
        env = config.env.of("mpe")
        with closing(Evaluator(SPREAD, own, env, SEED, cpu, torch.float32)) as evaluator:
            agent = trained.agent(SPREAD, evaluator.environment(3))
            found = evaluator.evaluate(agent, index)
        assert found.returns == result.evaluations[index].returns
        assert found.steps == 75
        assert len(set(found.returns)) == 3


def test_the_episodes_of_a_seed_are_those_of_its_training_s_first_evaluation(
    tmp_path: Path,
) -> None:
    # Nothing is learned before there is a batch, so the networks are those of the beginning.
    config = small_config(steps=100, learner={"batch_size": 12})
    result = Trainer(SPREAD, config, SEED, run_dir=tmp_path).run()
    assert result.updates == 0
    found = played(load(tmp_path, config))
    assert found.returns == result.evaluations[0].returns
    assert played(load(tmp_path, config)) == found, "the same again"
    assert played(load(tmp_path, config), seed=4).returns != found.returns


def test_each_checkpoint_is_found_by_name_and_by_step(tmp_path: Path) -> None:
    config, result = train(tmp_path, keep_checkpoints=1, checkpoint_every=100)
    best = best_of(result.evaluations)
    steps = {w: load(tmp_path, config, which=w).step for w in ("newest", "best", 300, 400)}
    assert steps == {"newest": 400, "best": best.env_steps, 300: 300, 400: 400}
    older, newest = (load(tmp_path, config, which=step).agents for step in (300, 400))
    assert any(not torch.equal(older[name], newest[name]) for name in newest)
    with pytest.raises(CheckpointError, match=r"of step 50; there are .*300, 400 \(keep_checkp"):
        load(tmp_path, config, which=50)


def test_the_best_of_a_checkpoint_of_an_earlier_version_is_said_to_be_missing(
    tmp_path: Path,
) -> None:
    config, _ = train(tmp_path)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    tensors = load_file(path / "tensors.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith("best.")}
    save_file(kept, path / "tensors.safetensors")
    assert load(tmp_path, config).step == 400
    with pytest.raises(CheckpointError, match="no best networks: an earlier version wrote it"):
        load(tmp_path, config, which="best")
    # It is resumed all the same, and from the next better evaluation on has the best.
    assert Trainer.resume(SPREAD, config, SEED, run_dir=tmp_path).run().status == "finished"


def test_networks_that_are_not_finite_do_not_play(tmp_path: Path) -> None:
    config, _ = train(tmp_path)
    path = latest_checkpoint(tmp_path)
    assert path is not None
    tensors = load_file(path / "tensors.safetensors")
    tensors["learner.agent.head.bias"][0] = torch.nan
    save_file(tensors, path / "tensors.safetensors")
    with pytest.raises(CheckpointError, match="damaged: networks that are not finite"):
        load(tmp_path, config)


def test_agents_that_are_not_told_apart_play_in_other_numbers(tmp_path: Path) -> None:
    game, three = climbing(5), load_card("matrix/climbing-3p")
    config, _ = train(tmp_path / "a", game, agent={"agent_id": False})
    found = played(load(tmp_path / "a", config, game), card=three)
    assert found.steps == 3 * 25
    config, _ = train(tmp_path / "b", game)
    with pytest.raises(SettingsError, match="3 agents, which are told apart, learned with 2"):
        played(load(tmp_path / "b", config, game), card=three)


def test_a_task_of_another_kind_is_played_with_settings_of_its_own(tmp_path: Path) -> None:
    game = climbing(5)
    config, _ = train(tmp_path, game, env={"kind": "matrix", "observe": "joint"})
    with pytest.raises(SettingsError, match="18 observed features, learned with 6; 5 actions, lea"):
        played(load(tmp_path, config, game), card=SPREAD)
