"""The unit of Q: rewards are divided by one fixed scale and never shifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from marl_toys import PlainSum, WaningEnv, climbing, saved_state, small_config, waning

from marl.envs.kinds import ENVIRONMENTS, Environment
from marl.errors import CheckpointError
from marl.events import Noticed
from marl.reward_scale import measured_scale
from marl.settings.env import EnvConfig
from marl.settings.presets import PRESETS
from marl.settings.registry import ALGORITHMS
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import list_tasks, load_card, load_listed


@pytest.fixture(autouse=True)
def _playable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENTS.own, "waning", Environment("marl_toys:WaningEnv"))


def brief(preset: str, **changes: Any) -> TrainConfig:
    """A preset's settings, with everything that only makes them slow made smaller."""
    shared = {k: v for k, v in PRESETS[preset]("waning").shared.items() if k != "gate"}
    shared |= {"steps": 2_000, "device": "cpu", "checkpoint_every": 10**6, "log_every": 10**6}
    shared["agent"] = {**shared["agent"], "hidden": 16}
    shared["learner"] = {**shared["learner"], "lr": 3e-3, "replay_capacity": 200, **changes}
    shared["learner"]["batch_size"] = 32
    shared["exploration"] = {"start": 1.0, "finish": 0.1, "anneal_steps": 500}
    shared["evaluation"] = {"every": 2_000, "episodes": 1}
    return TrainConfig.model_validate(shared)


def test_a_task_that_may_end_early_keeps_its_best_policy() -> None:
    """Rewards with their mean taken off would make the late, smaller ones look like losses."""
    result = Trainer(waning(), brief("equal"), 0).run()
    assert result.evaluations[-1].mean == pytest.approx(WaningEnv.best)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["mpe", "football", "matrix"])
def test_presets_leave_the_unit_of_q_to_the_card(preset: str, kind: str) -> None:
    assert "reward_scale" not in PRESETS[preset](kind).shared.get("learner", {})


def test_the_setting_comes_before_the_card_and_the_card_before_measuring() -> None:
    def scale(card: Any, **learner: Any) -> float:
        return Trainer(card, small_config(learner=learner), 0).reward_scale

    assert scale(waning(scale=0.5), reward_scale=2.0) == 2.0
    assert scale(waning(scale=0.5)) == 0.5
    assert scale(waning()) == measured_scale(waning(), EnvConfig())


def test_a_measured_scale_is_the_size_of_a_reward_whatever_the_seed_and_algorithm() -> None:
    # Seldom more than two steps in random play, which pay 1; some reach those that pay 0.4.
    assert measured_scale(waning(), EnvConfig()) == pytest.approx(1.0, abs=0.02)
    spread = load_card("mpe/spread-3")
    unknown = spread.model_copy(update={"reward": spread.reward.model_copy(update={"scale": None})})
    assert measured_scale(unknown, EnvConfig()) == 3.4  # measured apart: 3.38
    found = {
        Trainer(
            waning(),
            small_config(algorithm={"name": name}),
            seed,
            credit=PlainSum() if name == "qllm" else None,
        ).reward_scale
        for seed, name in enumerate(ALGORITHMS)
    }
    assert len(found) == 1


def test_rare_rewards_do_not_make_the_scale_small() -> None:
    """In random play of this task one step in 5,000 pays anything, and then a half."""
    rare = load_card("lbf/8x8-2p-2f-coop-2s")
    rare = rare.model_copy(update={"reward": rare.reward.model_copy(update={"scale": None})})
    assert 0.3 < measured_scale(rare, EnvConfig()) < 1


def test_what_never_pays_in_random_play_takes_the_card_s_largest_reward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        WaningEnv, "_advance", lambda self, actions, active: (self._time * 0.0, actions[:, 0] == 1)
    )
    assert measured_scale(waning(high=50), EnvConfig()) == 50
    assert measured_scale(waning(high=0), EnvConfig()) == 1


@pytest.mark.parametrize("task", list_tasks())
def test_every_shipped_card_names_its_scale(task: str) -> None:
    assert load_listed(task).reward.scale is not None


# -- stored and kept -----------------------------------------------------------------------------


def stopped(run_dir: Path, card: Any, **settings: Any) -> None:
    asked = iter(["continue"] * 6 + ["stop"])
    control: Any = lambda: next(asked)  # noqa: E731
    Trainer(card, small_config(**settings), 0, run_dir=run_dir, control=control).run()


def test_a_resumed_training_keeps_the_scale_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(tmp_path, waning())
    measured = saved_state(tmp_path)[1]["reward_scale"]
    assert measured == measured_scale(waning(), EnvConfig())
    monkeypatch.setattr("marl.reward_scale.measured_scale", lambda card, config: 99.0)
    resumed = Trainer.resume(waning(), small_config(), 0, run_dir=tmp_path)
    assert resumed.reward_scale == measured
    assert resumed.run().reward_scale == measured


def test_another_scale_is_another_training(tmp_path: Path) -> None:
    stopped(tmp_path, waning(scale=0.5))
    with pytest.raises(CheckpointError, match=r"rewards divided by 0\.5, here by 2\.0"):
        Trainer.resume(waning(scale=2), small_config(), 0, run_dir=tmp_path)
    settings = small_config(learner={"reward_scale": 0.5})
    with pytest.raises(CheckpointError, match=r"learner\.reward_scale None, here 0\.5"):
        Trainer.resume(waning(), settings, 0, run_dir=tmp_path)


# -- the certified bound -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "bound", "notices"), [("qllm", 0.25, 1), ("qllm", 256.0, 0), ("vdn", 0.25, 0)]
)
def test_a_credit_function_s_values_beyond_its_bound_are_noticed_once(
    algorithm: str, bound: float, notices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prompts.cards.TaskCard.q_bound", lambda self: bound)
    events: list[Any] = []
    credit = PlainSum() if algorithm == "qllm" else None
    settings = small_config(algorithm={"name": algorithm})
    Trainer(climbing(5), settings, 0, credit=credit, emit=events.append).run()
    told = [event for event in events if isinstance(event, Noticed)]
    assert len(told) == notices
    for notice in told:
        assert "tested up to 0.25 (rewards divided by 1)" in notice.text
        assert "\n" not in notice.text
