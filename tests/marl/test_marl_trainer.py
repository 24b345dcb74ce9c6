"""The trainer: what it tells, that it stops, pauses and resumes exactly, what it refuses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import PlainSum, assert_same_state, climbing, saved_state, small_config
from safetensors.torch import load_file
from torch import Tensor, nn

from marl.checkpoint import checkpoints, latest_checkpoint, open_checkpoint, part_of
from marl.errors import CheckpointError, SettingsError, TrainingError
from marl.evaluation import best_of
from marl.events import CheckpointSaved, Evaluated, Metrics, Progress, Started
from marl.settings.train import TrainConfig
from marl.trainer import Trainer

VARIANTS: dict[str, dict[str, Any]] = {
    "vdn": {"algorithm": {"name": "vdn"}},
    "qmix": {"algorithm": {"name": "qmix", "mixing_dim": 8, "hypernet_dim": 8}},
    "qllm": {"algorithm": {"name": "qllm"}},
    "everything": {
        "algorithm": {"name": "qmix", "mixing_dim": 8, "hypernet_dim": 8},
        "agent": {"core": "feedforward", "last_action": True},
        "learner": {
            "td_lambda": 0.5,
            "target_update": "hard",
            "target_interval": 3,
            "reward_scale": 3.0,
        },
        "env": {"kind": "matrix", "time_limit": "truncation", "observe": "joint"},
        "evaluation": {"epsilon": 0.3},
        "dtype": "float64",
    },
}

METRICS = ("q_tot_mean", "target_mean", "td_error_abs", "loss", "grad_norm")


def make(config: TrainConfig, **more: Any) -> Trainer:
    credit = PlainSum() if config.algorithm.name == "qllm" else None
    return Trainer(climbing(5), config, more.pop("seed", 3), credit=credit, **more)


def resume(config: TrainConfig, run_dir: Path, **more: Any) -> Trainer:
    credit = PlainSum() if config.algorithm.name == "qllm" else None
    seed = more.pop("seed", 3)
    return Trainer.resume(climbing(5), config, seed, run_dir=run_dir, credit=credit, **more)


class Stop:
    """A control that says stop when asked for the n-th time."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> Any:
        self.left -= 1
        return "stop" if self.left < 0 else "continue"


def test_a_training_tells_what_happens() -> None:
    events: list[Any] = []
    result = make(small_config(), emit=events.append).run()
    started = events[0]
    assert isinstance(started, Started)
    assert (started.env_steps, started.total_steps) == (0, 200)
    assert started.learnable_parameters == started.agent_parameters + started.mixer_parameters
    evaluated = [e for e in events if isinstance(e, Evaluated)]
    # Every 60 steps, looked at after rollouts of 20, and at both ends.
    assert [e.env_steps for e in evaluated] == [0, 60, 120, 180, 200]
    assert [len(e.returns) for e in evaluated] == [3, 3, 3, 3, 1]
    metrics = [e for e in events if isinstance(e, Metrics)]
    assert [e.env_steps for e in metrics] == [40, 80, 120, 160, 200]
    assert set(metrics[-1].values) == {"epsilon", "train_return", *METRICS}
    assert metrics[-1].values["epsilon"] == 0.05
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert (last.env_steps, last.total_steps) == (200, 200)
    assert result.status == "finished"
    assert result.env_steps == 200
    assert result.evaluations == tuple(evaluated)
    assert result.env_steps_per_s == pytest.approx(200 / result.wall_s)
    parts = {"rollout", "sampling", "forward", "backward", "optimiser", "other"}
    assert set(result.breakdown) == parts
    assert sum(result.breakdown.values()) == pytest.approx(result.wall_s, rel=0.05)


def test_learnable_parameters_are_those_of_agents_and_mixer() -> None:
    vdn, qmix, qllm = (make(small_config(**VARIANTS[n])) for n in ("vdn", "qmix", "qllm"))
    assert vdn.learnable_parameters == qllm.learnable_parameters
    assert vdn.learnable_parameters == sum(p.numel() for p in vdn.algorithm.agent.parameters())
    mixer = sum(p.numel() for p in qmix.algorithm.mixer.parameters())
    assert qmix.learnable_parameters == vdn.learnable_parameters + mixer


def test_returns_are_the_undiscounted_team_sum() -> None:
    """A network that always plays (0, 0) earns the climbing game's optimum, 25 times 11."""
    trainer = Trainer(climbing(), small_config(steps=1), 0)
    with torch.no_grad():
        for p in trainer.algorithm.agent.head.parameters():
            p.zero_()
        trainer.algorithm.agent.head.bias[0] = 1
    first = trainer.run().evaluations[0]
    assert (first.env_steps, first.returns) == (0, (275.0,) * 3)


def test_the_same_seed_gives_the_same_training_and_another_seed_another() -> None:
    a, b, c = make(small_config()), make(small_config()), make(small_config(), seed=4)
    for trainer in (a, b, c):
        trainer.run()
    assert_same_state(a, b)
    with pytest.raises(AssertionError):
        assert_same_state(a, c)


def test_weights_one_and_bias_zero_train_exactly_as_vdn() -> None:
    vdn, qllm = make(small_config(**VARIANTS["vdn"])), make(small_config(**VARIANTS["qllm"]))
    vdn.run()
    qllm.run()
    left, right = vdn.state_dict(), qllm.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[k], right[k]) for k in left)
    assert [e.returns for e in vdn.evaluations] == [e.returns for e in qllm.evaluations]


def test_all_algorithms_start_with_the_same_agents() -> None:
    vdn, qmix = (make(small_config(**VARIANTS[n])).algorithm.agent for n in ("vdn", "qmix"))
    for a, b in zip(vdn.parameters(), qmix.parameters(), strict=True):
        assert torch.equal(a, b)


def test_evaluating_leaves_no_trace_in_the_training() -> None:
    often = make(small_config(evaluation={"every": 20, "episodes": 7, "epsilon": 0.5}))
    seldom = make(small_config(evaluation={"every": 200}))
    often.run()
    seldom.run()
    left, right = often.state_dict(), seldom.state_dict()
    # Which networks were best is what evaluations are there to say.
    assert all(torch.equal(left[k], right[k]) for k in left if not k.startswith("best."))


def test_training_leaves_the_global_generator_and_threads_alone() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    make(small_config(threads=2)).run()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_a_stopped_and_resumed_training_equals_an_uninterrupted_one(
    variant: str, after: int, tmp_path: Path
) -> None:
    config = small_config(**VARIANTS[variant])
    whole_events: list[Any] = []
    whole = make(config, emit=whole_events.append)
    whole.run()
    events: list[Any] = []
    first = make(config, run_dir=tmp_path, emit=events.append, control=Stop(after))
    stopped = first.run()
    assert stopped.status == "stopped"
    assert stopped.env_steps == 20 * after
    second = resume(config, tmp_path, emit=events.append)
    result = second.run()
    assert result.status == "finished"
    assert_same_state(whole, second)
    assert [e.returns for e in result.evaluations] == [e.returns for e in whole.evaluations]
    told, expected = (
        [(e.env_steps, e.values) for e in sent if isinstance(e, Metrics)]
        for sent in (events, whole_events)
    )
    assert told == expected


def test_a_training_may_be_stopped_any_number_of_times(tmp_path: Path) -> None:
    config = small_config()
    whole = make(config)
    whole.run()
    make(config, run_dir=tmp_path, control=Stop(1)).run()
    for k in (2, 0, 1, 3, 99):
        again = resume(config, tmp_path, control=Stop(k))
        result = again.run()
    assert result.status == "finished"
    assert_same_state(whole, again)


def test_resuming_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    first = make(small_config(), run_dir=tmp_path)
    done = first.run()
    before = latest_checkpoint(tmp_path)
    again = resume(small_config(), tmp_path)
    result = again.run()
    assert result.status == "finished"
    assert result.evaluations == done.evaluations
    assert latest_checkpoint(tmp_path) == before
    assert_same_state(first, again)


def test_checkpoints_come_every_so_many_steps_and_only_the_newest_stays(tmp_path: Path) -> None:
    events: list[Any] = []
    make(small_config(), run_dir=tmp_path, emit=events.append).run()
    saved = [e for e in events if isinstance(e, CheckpointSaved)]
    assert [e.env_steps for e in saved] == [60, 120, 180, 200]
    assert Path(saved[-1].path) == latest_checkpoint(tmp_path)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_as_many_older_checkpoints_stay_as_are_asked_for(tmp_path: Path) -> None:
    make(small_config(keep_checkpoints=2), run_dir=tmp_path).run()
    steps = []
    for path in checkpoints(tmp_path):
        with open_checkpoint(tmp_path, path) as saved:
            steps.append(saved.facts["env_steps"])
    assert steps == [120, 180, 200]
    again = resume(small_config(keep_checkpoints=0), tmp_path)
    assert again.run().status == "finished"


def test_a_checkpoint_holds_the_networks_of_the_best_evaluation(tmp_path: Path) -> None:
    networks: dict[int, dict[str, Tensor]] = {}

    def emit(event: Any) -> None:
        if isinstance(event, Evaluated):
            held = trainer.learner.networks().items()
            networks[event.env_steps] = {name: value.clone() for name, value in held}

    config = small_config(evaluation={"every": 20}, learner={"lr": 0.05})  # forgets a lucky start
    trainer = make(config, run_dir=tmp_path, emit=emit)
    result = trainer.run()
    best = best_of(result.evaluations)
    assert best.mean == max(done.mean for done in result.evaluations[1:])
    assert best.env_steps < result.env_steps, "else the newest would do"
    saved = part_of(saved_state(tmp_path)[0], "best")
    assert saved.keys() == networks[best.env_steps].keys()
    assert all(torch.equal(saved[name], networks[best.env_steps][name]) for name in saved)


def test_of_equal_evaluations_the_later_is_best_and_the_first_of_all_only_alone() -> None:
    first, good, equal = (Evaluated(at, 0.0, (x,)) for at, x in ((0, 9.0), (10, 5.0), (20, 5.0)))
    worse = Evaluated(30, 0.0, (1.0,))
    assert best_of([first]) is first
    assert best_of([first, good, equal, worse]) is equal


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[Any] = []
    make(small_config(), emit=events.append).run()
    assert not list(tmp_path.iterdir())
    assert not [e for e in events if isinstance(e, CheckpointSaved)]


def test_pause_waits_and_does_not_count_as_training_time() -> None:
    asked = []

    def control() -> Any:
        asked.append(time.perf_counter())
        return "pause" if 3 <= len(asked) < 8 else "continue"

    begin = time.perf_counter()
    result = make(small_config(), control=control).run()
    elapsed = time.perf_counter() - begin
    assert result.status == "finished"
    assert asked[7] - asked[2] >= 0.45
    assert elapsed - result.wall_s >= 0.45


def test_stop_is_heard_during_a_pause(tmp_path: Path) -> None:
    answers = iter(["continue", "pause", "pause", "stop"])
    result = make(small_config(), run_dir=tmp_path, control=lambda: next(answers)).run()  # type: ignore[arg-type,return-value]
    assert result.status == "stopped"
    assert latest_checkpoint(tmp_path) is not None


class Exploding(nn.Module):
    """Infinite once the state is (0, 0)."""

    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        bad = (state == 0).all(1, keepdim=True)
        return torch.where(bad, torch.inf, agent_qs.sum(1, keepdim=True))


def test_a_non_finite_value_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    config = small_config(algorithm={"name": "qllm"})
    trainer = Trainer(climbing(5), config, 0, credit=Exploding(), run_dir=tmp_path)
    with pytest.raises(TrainingError, match=r"q_tot_mean is not finite in update 1 at step 40"):
        trainer.run()
    batch = load_file(tmp_path / "nonfinite-40.safetensors")
    assert (batch["state"] == 0).all(-1).any()
    assert batch["filled"].shape == (8, 5)
    assert all(p.isfinite().all() for p in trainer.learner.parameters)


def test_a_non_finite_value_without_a_folder_says_so_too() -> None:
    config = small_config(algorithm={"name": "qllm"})
    with pytest.raises(TrainingError, match="training stopped; lower"):
        Trainer(climbing(5), config, 0, credit=Exploding()).run()


def test_a_full_disk_stops_the_run_with_the_previous_checkpoint_intact(
    tmp_path: Path, monkeypatch: Any
) -> None:
    import marl.checkpoint as module

    real, calls = module.save_file, []

    def save_file(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*args)

    monkeypatch.setattr(module, "save_file", save_file)
    with pytest.raises(CheckpointError, match=r"No space left on device.*is intact"):
        make(small_config(), run_dir=tmp_path).run()
    _, facts = saved_state(tmp_path)
    assert facts["env_steps"] == 60
    resumed = resume(small_config(), tmp_path)
    resumed.run()
    whole = make(small_config())
    whole.run()
    assert_same_state(whole, resumed)


def test_an_impossible_device_is_refused_before_anything_begins() -> None:
    with pytest.raises(SettingsError, match="cuda:99"):
        make(small_config(device="cuda:99"))
