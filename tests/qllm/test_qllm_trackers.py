"""Trackers of a training: plug-ins, what is missing, what fails, what a resume leaves."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from installed_plugins import install
from interrupted import interrupted_at

from qllm.cli.main import run
from qllm.export.kinds import TRACKERS
from qllm.store.store import open_store

PAGE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text(encoding="utf-8")
(DIARY,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
POINTS = dict(re.findall(r'^(\w+) = "(\w+:\w+)"$', PAGE, re.M))

TRAIN = ["train", "matrix/climbing", "--steps", "1200", "--display", "plain", "agent.hidden=8"]
TRAIN += ["learner.batch_size=8", "evaluation.every=400", "evaluation.episodes=4", "log_every=200"]
TRAIN += ["checkpoint_every=400"]
EVALUATED = [0, 400, 800, 1200]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def _resumed(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    with monkeypatch.context() as patch:
        interrupted_at(patch, 1_000)  # after the checkpoint at step 800
        assert run([*TRAIN, *words]) == 130
    assert run(["resume", "1", "--display", "none"]) == 0


def test_the_pages_tracker_has_each_evaluation_of_a_resumed_training_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, TRACKERS, {"diary": POINTS["diary"]}, {"diary": DIARY})
    _resumed(monkeypatch, "log=diary")
    head, *lines, last = (home / "1.1" / "diary.txt").read_text().splitlines()
    assert (head, last) == ("matrix/climbing: vdn, seed 0", "finished")
    assert [int(line.split()[0]) for line in lines] == EVALUATED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "    def begin(self, run): raise ConnectionError('no route\\nto host')",
            "no route to host",
        ),
        ("    def begin(self, run): pass\n    def add(self, points): 1 / 0", "division by zero"),
    ],
)
def test_a_tracker_that_is_down_costs_one_warning_and_no_training(
    source: str,
    said: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = f"class Down:\n{source}\n"
    install(monkeypatch, tmp_path, TRACKERS, {"down": "down:Down"}, {"down": source})
    assert run([*TRAIN, "log=down,jsonl"]) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert err.count(f"the log down cannot be written ({said}) and ends here") == 1
    assert "`qllm export 1.1` writes all of it" in err
    with open_store(home) as store:
        assert [e.env_steps for e in store.training.evaluations(1_000_001)] == EVALUATED
    assert len((home / "1.1" / "evaluations.jsonl").read_text().splitlines()) > len(EVALUATED)


def test_what_cannot_be_had_is_said_before_any_run_is_made(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch, tmp_path, TRACKERS, {"gone": "gone:Tracker"})
    found = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name in ("wandb", "mlflow") else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    for word, said in {
        "log=wandb": "log=wandb needs the extra 'wandb', which is not installed: pip install -e",
        "log=mlflow": "pip install -e '.[mlflow]'",
        "log=gone": "does not load: ModuleNotFoundError",
        "log=wandbb": "log=wandbb: unknown log: did you mean wandb?",
        "tracking.wandb_mode=on": "must be 'offline', 'online' or 'disabled'",
    }.items():
        assert run([*TRAIN, word]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    with open_store(home) as store:
        assert store.runs.listed() == []


def test_every_name_that_is_tracked_stands_in_the_page(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "from qllm.trackers.points import scalars\n"
        "class Names:\n"
        "    def begin(self, run): self.file = (run.folder / 'names').open('w')\n"
        "    def add(self, points): print(*(s.tag for s in scalars(points)), file=self.file)\n"
        "    def finish(self, status): self.file.close()\n"
    )
    install(monkeypatch, tmp_path, TRACKERS, {"names": "names:Names"}, {"names": names})
    assert run([*TRAIN, "log=names"]) == 0
    found = set((home / "1.1" / "names").read_text().split())
    assert len(found) == 8
    assert [name for name in found if f"`{name}`" not in PAGE] == []


def test_mlflow_has_each_step_of_a_resumed_training_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="needs the extra mlflow")
    uri = (tmp_path / "store").as_uri()
    _resumed(monkeypatch, "log=mlflow", f"tracking.mlflow_uri={uri}")
    client = tracking.MlflowClient(uri)
    (one,) = client.search_runs([client.get_experiment_by_name("qllm").experiment_id])
    history = client.get_metric_history(one.info.run_id, "eval/return_mean")
    assert sorted(m.step for m in history) == EVALUATED
    assert one.info.status == "FINISHED"


def test_wandb_needs_no_network_and_one_folder_for_a_resumed_training(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    _resumed(monkeypatch, "log=wandb")
    uid = (home / "1.1" / ".qllm-run").read_text().strip()
    assert len(list((home / "1.1" / "wandb").glob(f"offline-run-*-{uid}/*.wandb"))) == 1
