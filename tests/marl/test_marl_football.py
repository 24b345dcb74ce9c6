"""Football's side of the trainer, with workers that only look like an engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_football import (
    PASS_AND_SHOOT,
    drawn,
    idle,
    make,
    no_worker_stays,
    played,
    with_scenario,
    workers,
)

from marl.envs.football import env as module
from marl.envs.registry import make_env
from marl.errors import SettingsError, TrainingError
from marl.settings.env import FootballEnvConfig
from marl.settings.train import TrainConfig
from marl.trainer import Trainer

_no_worker_stays = pytest.fixture(autouse=True)(no_worker_stays)


pytestmark = pytest.mark.usefixtures("fake_football")


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_an_episode_follows_from_its_seed_whatever_the_batch_and_the_workers() -> None:
    with closing(make(4, workers=1)) as one, closing(make(4, workers=3)) as three:
        first = played(one, drawn(one))
        assert same(first, played(three, drawn(three)))
        assert not same(first, played(one, drawn(one))), "another episode"
        one.reseed(0)
    with closing(make(2, workers=1)) as few:
        shown = played(few, drawn(one)[:, :2])
        steps = len(shown["reward"])
        assert torch.equal(shown["state"], first["state"][: steps + 1, :2])


def test_the_state_is_the_agents_observations_one_after_the_other() -> None:
    with closing(make(2)) as env:
        seen = env.reset()
        assert seen.obs.shape == (2, 3, 115)
        assert torch.equal(seen.state, seen.obs.flatten(1))
        assert torch.equal(seen.obs[0, :, 97:108].argmax(1), torch.arange(3))
        assert seen.avail.all()


def test_rewards_are_summed_over_agents_with_checkpoints_and_goals() -> None:
    with closing(make(1)) as env:
        env.reset()
        right, idle, shot = (torch.tensor([[0, a, 0]]) for a in (5, 0, 12))
        # Distance 0.5 is inside the circles from 0.99 to 0.54, and 0.45 inside one more.
        assert env.step(idle).reward.item() == pytest.approx(0.6)
        assert env.step(idle).reward.item() == 0
        assert env.step(right).reward.item() == pytest.approx(0.1)
        assert env.metrics()["goal_rate"].item() == 0
        step = env.step(shot)
        assert step.terminated.item()
        own = env.individual_rewards()[0]
        assert own.tolist() == pytest.approx([2.0, 1.3, 2.0])
        # A goal pays each agent 1 and its missing checkpoints: 3 are left to agent 1.
        assert step.reward.item() == pytest.approx(3 + 0.3 + 1.0 + 1.0)
        assert env.metrics()["goal_rate"].item() == 1


def test_a_killed_worker_is_replaced_and_its_episodes_are_lost() -> None:
    with closing(make(4, workers=2)) as env:
        actions = idle(env)
        whole = played(env, actions)
        env.reseed(0)
        env.reset()
        env.step(actions[0])
        workers()[0].kill()
        step = env.step(actions[1])
        assert env.lost.tolist() == [True, True, False, False]
        assert step.terminated[:2].all()
        assert not step.reward[:2].any()
        assert not torch.equal(step.state[:2], whole["state"][2, :2])
        assert torch.equal(step.state[2:], whole["state"][2, 2:])
        (said,) = env.news()
        assert (
            "environment worker 1 of 2 (instances 0 to 1) died in `step` (signal SIGKILL)" in said
        )
        assert said.endswith("replaced, 2 of its episodes dropped (2 in all)")
        assert not env.news()
        env.reset()
        assert not env.lost.any()
        assert len(workers()) == 2


def test_a_worker_that_dies_between_episodes_loses_none() -> None:
    with closing(make(4, workers=2)) as env:
        whole = played(env, drawn(env))
        env.reseed(0)
        for worker in workers():
            worker.kill()
        assert same(whole, played(env, drawn(env)))
        assert not env.lost.any()
        assert len(env.news()) == 2


def test_a_worker_that_dies_of_a_reset_strands_no_episode_of_its_others() -> None:
    with closing(make(4, workers=2)) as env:
        env.reset()
        env.step(idle(env)[0])
        workers()[0].kill()
        env.reset(torch.tensor([True, False, False, False]))
        assert env.lost.tolist() == [False, True, False, False]
        assert env.done.tolist() == [False, True, False, False]
        env.step(idle(env)[0])
        assert env.lost.tolist() == [False, True, False, False]


def test_ten_deaths_in_a_row_stop_with_the_last_words() -> None:
    with closing(make(2, workers=1, card=with_scenario("academy_deadly"))) as env:
        for _ in range(module.MOST_DEATHS - 1):
            played(env, idle(env))
            assert env.lost.all()
        with pytest.raises(TrainingError) as caught:
            played(env, idle(env))
        assert len(env.news()) == module.MOST_DEATHS
    said = str(caught.value)
    assert "10 deaths in a row without a whole episode" in said
    assert said.endswith("died in `step` (exit code 3); its last words: the pitch caught fire")
    assert "\n" not in said


def test_an_engine_that_fails_is_told_with_its_error() -> None:
    with closing(make(1, card=with_scenario("academy_raising"))) as env:
        played(env, idle(env))
        (said,) = env.news()
        assert "RuntimeError: the referee left" in said


def test_a_process_is_replaced_after_its_episodes() -> None:
    with closing(make(4, workers=2, restart_every=4)) as env, closing(make(4, workers=2)) as other:
        before = {worker.pid for worker in workers()}
        for turn in range(5):
            assert same(played(env, drawn(env, turn)), played(other, drawn(env, turn)))
        assert len(before - {worker.pid for worker in workers()}) == 2
        assert not env.news()
        assert not env.lost.any()


def test_what_was_saved_between_episodes_goes_on_exactly() -> None:
    with closing(make(3)) as env:
        played(env, drawn(env))
        kept = env.state_dict()
        after = played(env, drawn(env, 2))
    with closing(make(3)) as env:
        env.load_state_dict(kept)
        assert same(after, played(env, drawn(env, 2)))
        env.reset()
        with pytest.raises(ValueError, match="between episodes only"):
            env.state_dict()


def short(**learner: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "steps": 400,
            "algorithm": {"name": "vdn"},
            "agent": {"hidden": 8},
            "env": {"kind": "football", "num_envs": 4, "workers": 2},
            "learner": {"batch_size": 4, "replay_capacity": 16, **learner},
            "evaluation": {"every": 200, "episodes": 6},
            "checkpoint_every": 200,
        }
    )


@pytest.mark.parametrize("algorithm", ["vdn", "mappo"])
def test_a_training_goes_on_without_the_lost_episodes(algorithm: str) -> None:
    config = TrainConfig.model_validate({**short().model_dump(), "algorithm": {"name": algorithm}})
    told: list[Any] = []
    turns = iter(range(100))

    def control() -> Any:
        if next(turns) == 2:
            trainer.env.reset()  # so that the killed process has episodes to lose
            workers()[0].kill()
        return "continue"

    trainer = Trainer(PASS_AND_SHOOT, config, 0, emit=told.append, control=control)
    with closing(trainer.env):
        result = trainer.run()
    assert result.status == "finished"
    assert any("replaced" in getattr(event, "text", "") for event in told)
    assert all("goal_rate" in done.metrics for done in result.evaluations)


def test_a_resumed_training_ends_as_one_that_never_stopped(tmp_path: Path) -> None:
    whole = Trainer(PASS_AND_SHOOT, short(), 0)
    with closing(whole.env):
        expected = whole.run()
    turns = iter(range(100))
    control: Any = lambda: "stop" if next(turns) == 3 else "continue"  # noqa: E731
    begun = Trainer(PASS_AND_SHOOT, short(), 0, run_dir=tmp_path, control=control)
    with closing(begun.env):
        assert begun.run().status == "stopped"
    resumed = Trainer.resume(PASS_AND_SHOOT, short(), 0, run_dir=tmp_path)
    with closing(resumed.env):
        found = resumed.run()
    assert [e.returns for e in found.evaluations] == [e.returns for e in expected.evaluations]
    assert [e.metrics for e in found.evaluations] == [e.metrics for e in expected.evaluations]


# ---- bad input -----------------------------------------------------------------------------------


def refused(card: Any = PASS_AND_SHOOT, rows: int = 2, **settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        make_env(card, rows, 0, config=FootballEnvConfig.model_validate(settings))
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_no_gfootball_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "env.python=/nowhere is no program: run `make football`" in refused(python="/nowhere")
    monkeypatch.delenv("QLLM_FOOTBALL_PYTHON")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("marl.envs.football.install._ROOT", tmp_path)
    assert "not installed: run `make football`" in refused()


def test_another_version_is_refused(tmp_path: Path, football_like: Callable[[Path], None]) -> None:
    (tmp_path / "gfootball-2.8.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: gfootball\nVersion: 2.8\n"
    (tmp_path / "gfootball-2.8.dist-info/METADATA").write_text(metadata)
    football_like(tmp_path)
    assert "gfootball 2.8 is not the 2.10.2 that `make football` builds" in refused()


def test_a_python_without_gfootball_is_told(
    tmp_path: Path, football_like: Callable[[Path], None]
) -> None:
    football_like(tmp_path)
    assert "gfootball is not installed there: `make football` builds it" in refused()


def test_an_unknown_scenario_is_told_with_those_there_are() -> None:
    said = refused(with_scenario("academy_4_vs_1"))
    assert "no scenario 'academy_4_vs_1'; it has academy_3_vs_1_with_keeper" in said


def test_too_many_agents_are_refused() -> None:
    card = with_scenario("academy_pass_and_shoot_with_keeper")
    wrong = card.model_copy(update={"n_agents": 4})
    assert "has 3 players on the left side, and not 4" in refused(wrong)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "env.options.scenario names what is played"),
        ({"scenario": "x", "rewards": "scorin"}, "did you mean scoring"),
        ({"scenaro": "x"}, "did you mean scenario"),
    ],
)
def test_options_that_football_does_not_have_are_refused(
    options: dict[str, str], said: str
) -> None:
    env = PASS_AND_SHOOT.env.model_copy(update={"options": options})
    assert said in refused(PASS_AND_SHOOT.model_copy(update={"env": env}))


def test_a_metric_that_football_does_not_tell_is_refused() -> None:
    (rate,) = PASS_AND_SHOOT.metrics
    metrics = (rate.model_copy(update={"info": "assists"}),)
    said = refused(PASS_AND_SHOOT.model_copy(update={"metrics": metrics}))
    assert "football tells goal and conceded, and a metric takes assists" in said


def test_processes_are_as_many_as_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    room = 3 * module._PROCESS_BYTES + 4 * module._ENGINE_BYTES
    monkeypatch.setattr(module, "available_bytes", lambda device: room)
    assert module._workers("task 't'", None, 4) == min(2, 3)
    assert module._workers("task 't'", 3, 4) == 3
    with pytest.raises(SettingsError, match=r"4 engines in 4 processes need .* lower env"):
        module._workers("task 't'", 4, 4)
    with pytest.raises(SettingsError, match=r"lower env\.num_envs"):
        module._workers("task 't'", None, 40)


def test_what_it_takes_is_said_at_the_start() -> None:
    with closing(make(4, workers=2)) as env:
        (said,) = env.remarks().values()
    assert "4 engines of gfootball 2.10.2 in 2 processes take 0." in said
