"""What single algorithms have of their own: a part of every layer, above what all have there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qllm.config.build import build_config, to_yaml
from qllm.config.errors import ConfigError
from qllm.config.tree import RunConfig

SPREAD = {"task": "mpe/spread-3"}


def compared(algorithms: str, *words: str, file: Path | None = None, **flags: Any) -> RunConfig:
    return build_config(
        file=file,
        overrides=words,
        flags={**SPREAD, "algorithms": algorithms, **flags},
        compared=("vdn", "qmix"),
    )


def rate(config: RunConfig, label: str) -> float:
    return config.for_training(label, 0).learner.lr


def test_each_algorithm_gets_its_layer_of_the_preset() -> None:
    config = compared("vdn,qmix,qllm,mappo,maddpg", "preset=paper")
    found = {
        label: (one.learner.lr, one.learner.batch_size, one.env.num_envs)
        for label in config.labels
        for one in [config.for_training(label, 0)]
    }
    assert found == {
        "vdn": (3e-4, 32, 6),
        "qmix": (3e-4, 32, 6),
        "qllm": (1e-3, 64, 8),
        "mappo": (3e-4, 32, 10),
        "maddpg": (3e-3, 32, 8),
    }
    assert config.own["qllm"] == {"learner": {"lr": 1e-3, "batch_size": 64}}
    assert config.own["qmix"]["algorithm"] == {"hypernet_dim": 32}


@pytest.mark.parametrize("label", ["qmix", "mappo", "riit+tfcaf", "coma", "qllm"])
@pytest.mark.parametrize("preset", ["equal", "epymarl", "paper"])
def test_a_training_alone_is_that_of_a_comparison(preset: str, label: str) -> None:
    words = [f"preset={preset}", "own.mappo.learner.lr=0.1", "learner.grad_clip=5"]
    alone = build_config(overrides=words, flags={**SPREAD, "algorithm": label})
    assert alone.own == {}
    together = compared(f"vdn,{label}", *words).for_training(label, 0)
    assert together.train_config() == alone.train_config()


def test_what_is_set_for_all_wins_over_what_a_preset_has_for_one() -> None:
    config = compared("vdn,qllm", "preset=paper", "learner.lr=0.1")
    assert (rate(config, "vdn"), rate(config, "qllm")) == (0.1, 0.1)
    assert config.for_training("qllm", 0).learner.batch_size == 64


def test_what_is_set_for_one_wins_within_its_layer_and_over_those_below(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "preset: paper\nlearner: {lr: 0.1}\n"
        "own:\n  qmix:\n    learner: {lr: 0.2}\n  vdn:\n  coma:\n    learner:\n"
    )
    config = compared("vdn,qmix", file=file)
    assert (rate(config, "vdn"), rate(config, "qmix")) == (0.1, 0.2)
    config = compared("vdn,qmix", "learner.lr=0.3", file=file)
    assert (rate(config, "vdn"), rate(config, "qmix")) == (0.3, 0.3)
    config = compared("vdn,qmix", "learner.lr=0.3", "own.vdn.learner.lr=4e-1", file=file)
    assert (rate(config, "vdn"), rate(config, "qmix")) == (0.4, 0.3)
    assert build_config(file=file, flags={**SPREAD, "algorithm": "qmix"}).learner.lr == 0.2


def test_an_algorithms_own_settings_may_stand_with_it_or_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("algorithm: {name: qmix, mixing_dim: 8}\nown: {qmix: {env: {num_envs: 4}}}\n")
    config = compared("vdn,qmix,mappo", "algorithm.epochs=7", file=file)
    assert config.own == {
        "qmix": {"algorithm": {"mixing_dim": 8}, "env": {"num_envs": 4}},
        "mappo": {"algorithm": {"epochs": 7}},
    }


def test_a_name_counts_with_and_without_a_credit_function() -> None:
    config = compared("riit,riit+tfcaf", "own.riit.learner.lr=0.1")
    plain, with_credit = (config.for_training(label, 0) for label in config.labels)
    assert (plain.learner, plain.env) == (with_credit.learner, with_credit.env)
    assert [one.algorithm.label for one in (plain, with_credit)] == ["riit", "riit+tfcaf"]
    with pytest.raises(ConfigError, match=r"riit\+tfcaf has the settings of riit"):
        compared("riit", "own={riit+tfcaf: {learner: {lr: 0.1}}}")


def test_a_value_that_does_not_fit_one_algorithm_is_said_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("own: {qmix: {learner: {batch_size: -3}}}\n")
    with pytest.raises(ConfigError) as error:
        compared("vdn,qmix", file=file)
    assert str(error.value) == (
        f"own.qmix.learner.batch_size=-3 (in '{file}'): must be an integer, at least 1"
    )
    compared("vdn,coma", file=file)  # nobody asks for it


def test_pilots_train_as_qllm_will(tmp_path: Path) -> None:
    from qllm.jobs.pilot import _training

    searched = build_config(overrides=["preset=paper"], flags=SPREAD, algorithm="qllm")
    assert (searched.algorithm.name, searched.learner.lr) == ("qllm", 1e-3)
    whole = compared("qllm,vdn", "preset=paper")
    assert _training(searched) == _training(whole)
    assert _training(whole).learner.batch_size == 64


# -- kinds of tasks --------------------------------------------------------------------------------


def test_a_runs_settings_may_be_fed_to_a_task_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "resolved.yaml"
    words = ["env.observe=joint", "env.num_envs=4"]
    file.write_text(to_yaml(build_config(overrides=words, flags={"task": "matrix/climbing"})))
    other = build_config(file=file, flags=SPREAD)
    assert other.env.model_dump() == {
        "kind": "mpe",
        "num_envs": 4,
        "time_limit": "termination",
        "opponent": None,
        "opponent_numbering": "original",
    }
    assert build_config(file=file).env.kind == "matrix"


def test_a_files_setting_for_another_kind_is_refused_where_it_names_no_kind(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("env: {observe: joint}\n")
    assert build_config(file=file, flags={"task": "matrix/climbing"}).env.kind == "matrix"
    with pytest.raises(ConfigError, match="observe is for tasks of kind matrix, not 'mpe'"):
        build_config(file=file, flags=SPREAD)


def test_a_wrong_task_is_said_before_its_settings() -> None:
    from qllm.cli.work import configuration
    from qllm.errors import UsageError

    with pytest.raises(UsageError, match="unknown task 'matrix/climbin'"):
        configuration("matrix/climbin", ["env.observe=joint"], None, command="train")


# -- earlier versions ------------------------------------------------------------------------------


OLD = """\
task: matrix/climbing
steps: 900
preset: paper
algorithm: {lr: 0.0003, batch_size: 32, num_envs: 6, gamma: null, name: vdn}
algorithms:
- {lr: 0.0003, batch_size: 32, num_envs: 6, gamma: null, name: vdn}
- {lr: 0.002, batch_size: null, num_envs: null, gamma: 0.5, name: qmix, mixing_dim: 16,
   hypernet_dim: 64}
- {lr: null, batch_size: null, num_envs: null, gamma: null, name: riit, tfcaf: true, newest: 8}
env: {num_envs: 8, time_limit: termination, observe: joint, opponent: null,
      opponent_numbering: original, factory: null, workers: null, worker_timeout_s: 60.0}
learner: {lr: 0.0005, batch_size: 64, replay_capacity: 5000}
"""
"""Of a comparison, as the version before wrote it; shortened."""


def test_a_comparisons_file_of_the_version_before_means_the_same(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(OLD)
    config = build_config(file=file, compared=("vdn",))
    assert config.labels == ("vdn", "qmix", "riit+tfcaf")
    vdn, qmix, riit = (config.for_training(label, 0) for label in config.labels)
    assert (vdn.learner.lr, vdn.learner.batch_size, vdn.env.num_envs) == (3e-4, 32, 6)
    assert (qmix.learner.lr, qmix.learner.batch_size, qmix.learner.gamma) == (2e-3, 64, 0.5)
    assert (qmix.env.num_envs, qmix.algorithm.model_dump()["mixing_dim"]) == (8, 16)
    assert (riit.learner.lr, riit.algorithm.model_dump()["newest"]) == (5e-4, 8)
    assert config.env.model_dump()["observe"] == "joint"
    assert build_config(file=file).learner.lr == 3e-4  # a training of vdn
