"""``--init-from``: runs that begin with the networks of other runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import interrupted_at

from marl.checkpoint import open_checkpoint
from marl.trained import Trained
from qllm.cli.main import run
from qllm.jobs.explain import card_of, trained_in
from qllm.store.store import open_store

pytestmark = pytest.mark.long

SMALL = ["agent.hidden=8", "learner.batch_size=4", "learner.updates_per_rollout=1"]
SMALL += ["evaluation.episodes=4", "evaluation.final_episodes=4", "evaluation.every=200"]
SMALL += ["--display", "none"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1: qmix, seeds 0 and 1, on spread, with checkpoints of steps 200 and 400."""
    folder = tmp_path_factory.mktemp("home")
    words = ["--algo", "qmix", "--seeds", "0,1", "steps=400", "checkpoint_every=200"]
    words += ["keep_checkpoints=3", *SMALL, "--home", str(folder)]
    assert run(["train", "mpe/spread-3", *words]) == 0
    return folder


@pytest.fixture
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    shutil.copytree(trained, tmp_path / "home")
    return tmp_path / "home"


def train(*words: str, task: str = "mpe/spread-3", command: str = "train") -> int:
    return run([command, task, "steps=200", *SMALL, *words])


def networks(home: Path, name: int, which: Any = "newest") -> Trained:
    with open_store(home, readonly=True) as store:
        own = store.runs.get(name)
        return trained_in(store, own, card_of(own), which)


def test_the_first_evaluation_is_the_source_s_last_on_the_same_seed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--algo", "qmix", "--seeds", "0,1", "--init-from", "1") == 0
    capsys.readouterr()
    with open_store(home, readonly=True) as store:
        first = [store.training.evaluations(2_000_000 + seed)[0] for seed in (1, 2)]
        given = [store.runs.get(2_000_000 + seed).given.initial for seed in (1, 2)]
    for seed in (0, 1):
        words = [f"1.{seed + 1}", "--episodes", "4", "--seed", str(seed), "--json"]
        assert run(["evaluate", *words]) == 0
        played = json.loads(capsys.readouterr().out)["rows"][0]
        assert played["returns"] == list(first[seed].returns)
        one = given[seed]
        assert one is not None
        assert (one.run, one.step, one.whole) == (f"1.{seed + 1}", played["step"], True)


def test_the_checkpoint_that_is_named_is_taken_and_shown(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--algo", "qmix", "init_from=1@200", "--seeds", "1") == 0
    with open_store(home, readonly=True) as store:
        saved = store.run_dir(2_000_001) / "initial"
    source = networks(home, 1_000_002, 200)
    with open_checkpoint(saved) as kept:
        for name, value in kept.tensors().items():
            assert torch.equal(value, source.networks[name])
    capsys.readouterr()
    assert run(["runs", "2"]) == 0
    said = "all networks of run 1.2 (qmix) after 200 steps"
    assert f"began with: {said}" in capsys.readouterr().out
    report = (home / "2" / "report.html").read_text()
    assert f"Trainings began with {said}." in report
    assert "init_from: 1@200" in report


def test_a_comparison_begins_with_one_training_s_agents(home: Path) -> None:
    assert train("--algos", "vdn,qmix", "--init-from", "1.2@best", command="compare") == 0
    best = networks(home, 1_000_002, "best")
    with open_store(home, readonly=True) as store:
        given = [run.given.initial for run in store.runs.trainings(2)]
    assert [one and (one.run, one.step, one.whole) for one in given] == [
        ("1.2", best.step, False),
        ("1.2", best.step, True),
    ]


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_what_is_killed_goes_on_from_its_checkpoint_without_the_source(
    home: Path, parallel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--algo", "qmix", "--seeds", "0,1", "--init-from", "1", "steps=600"]
    words += ["checkpoint_every=200", "log_every=200"]
    assert train(*words) == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, 400)
        assert train(*words) == 130
    shutil.rmtree(home / "1.1")
    shutil.rmtree(home / "1.2")
    with open_store(home, readonly=True) as store:
        stood = store.runs.get(3_000_001).env_steps
    assert stood >= 200
    assert run(["resume", "3", "--parallel", parallel, "--display", "none"]) == 0
    with open_store(home, readonly=True) as store:
        assert store.runs.attempts(3_000_001)[-1].resumed_at >= 200
        for training in (1, 2):
            whole, cut = (
                [e.returns for e in store.training.evaluations(n * 1_000_000 + training)]
                for n in (2, 3)
            )
            assert whole == cut
    whole, cut = (networks(home, n * 1_000_000 + 1).networks for n in (2, 3))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_a_run_whose_networks_were_lost_or_exchanged_does_not_begin_with_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from qllm.jobs import runner

    with monkeypatch.context() as patch:  # killed before they were kept
        patch.setattr(runner, "keep_initial", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train("--algo", "qmix", "--init-from", "1.1") == 130
    assert run(["resume", "2", "--display", "none"]) == 1
    assert "were not kept: start it anew" in capsys.readouterr().err
    with monkeypatch.context() as patch:  # killed before the training began
        patch.setattr(runner.Job, "work", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train("--algo", "qmix", "--init-from", "1.1") == 130
    shutil.rmtree(home / "3.1" / "initial")
    shutil.copytree(home / "1.2" / "checkpoints", home / "3.1" / "initial" / "checkpoints")
    assert run(["resume", "3", "--display", "none"]) == 1
    assert "not the networks that the training was given" in capsys.readouterr().err


def test_the_same_command_goes_on_and_another_source_is_another_run(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--algo", "qmix", "--continue", "--json", "--init-from"]
    for source, expected in (("1.1", 2), ("1.1", 2), ("1.2", 3), ("1.1@best", 4)):
        capsys.readouterr()
        assert train(*words, source) == 0
        assert json.loads(capsys.readouterr().out)["run"] == expected


WRONG = [
    (["--init-from", "9"], "no run 9 in"),
    (["--init-from", "1.3"], "no run 1.3 in"),
    (["--init-from", "seven"], "init_from=seven: give a run such as 7 or 7.2"),
    (["--init-from", "1@last"], "init_from=1@last: give a run such as 7 or 7.2"),
    (["--init-from", "1@123"], "no checkpoint in"),
    (["init_from=1.1"], "write a training's number in quotes"),
    (["--init-from", "1", "--seeds", "5"], "no training of qmix with seed 5 to begin with; name"),
    (["--init-from", "1.1", "agent.hidden=16"], "the networks do not fit: agent.hidden 8, here 16"),
    (["--init-from", "1.1", "--algo", "mappo"], "here mappo, whose agents give probabilities"),
]


@pytest.mark.parametrize(("words", "line"), WRONG)
def test_what_cannot_be_begun_with_is_one_line_and_no_run(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    before = ["--algo", "qmix"] if "--algo" not in words else []
    assert train(*before, *words) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    with open_store(home, readonly=True) as store:
        assert len(store.runs.listed(top_level=True)) == 1


def test_another_task_and_pieces_are_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--algo", "qmix", "--init-from", "1.1", task="matrix/climbing") == 2
    assert (
        "3 observed features, learned with 18; 3 actions, learned with 5" in capsys.readouterr().err
    )
    out = str(tmp_path / "plan.json")
    assert run(["plan", "mpe/spread-3", "--algo", "qmix", "init_from='1.1'", "--out", out]) == 2
    assert "init_from: pieces take no networks along" in capsys.readouterr().err
    assert run(["synth", "mpe/spread-3", "init_from=1"]) == 2
    assert "init_from: `qllm synth` does not read it" in capsys.readouterr().err
