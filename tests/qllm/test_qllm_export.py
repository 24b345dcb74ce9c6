"""Getting numbers out: exports, logs written while training, and the picture of the curves."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interrupted import interrupted_at

from qllm.cli.main import run
from qllm.export.write import export_run
from qllm.facts.curves import Curve
from qllm.jobs.reports import write_run_curves
from qllm.report.plots import draw_learning_curves
from qllm.store.store import Store, open_store
from qllm.store.training import MetricPoint

FIRST = 1_000_001
"""Trainings of run 1: 1.1."""

STEPS = 2_000
SETTINGS = ["agent.hidden=8", "learner.batch_size=8", "evaluation.every=400", "log_every=200"]
SETTINGS += ["evaluation.episodes=4", "checkpoint_every=600"]
TRAIN = ["train", "matrix/climbing", "--steps", str(STEPS), "--display", "none", *SETTINGS]
LOGGED = range(200, STEPS + 1, 200)
EVALUATED = range(0, STEPS + 1, 400)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with open_store(home) as opened:
        yield opened


def _training(store: Store, *, algo: str = "vdn", seed: int = 0, parent: int | None = None) -> int:
    return store.runs.create(
        "train",
        "matrix/climbing",
        config={"task": "matrix/climbing"},
        command="qllm train",
        versions={},
        parent_id=parent,
        algo=algo,
        seed=seed,
    )


def _resumed(store: Store) -> tuple[int, int]:
    """A comparison of one training that went on from step 5; what followed that is superseded."""
    parent = store.runs.create("compare", "t", config={}, command="c", versions={})
    run_id = _training(store, seed=1, parent=parent)
    attempt = store.runs.begin(run_id)
    for k in (5, 8):
        values = [MetricPoint(k, k / 4, "loss", -k), MetricPoint(k, k / 4, "train_return", 9.0)]
        store.training.record_metrics(run_id, attempt, values)
        store.training.record_evaluation(run_id, attempt, k, k / 4, [1.0 * k, 2.0 * k])
    attempt = store.runs.begin(run_id, resumed_at=5)
    store.training.record_metrics(run_id, attempt, [MetricPoint(8, 2.5, "loss", math.nan)])
    store.training.record_evaluation(run_id, attempt, 8, 2.5, [3.0])
    store.runs.finish(run_id, "finished", result={"wall_s": 2.5})
    return parent, run_id


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = path.read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def _scalars(folder: Path) -> dict[str, list[Any]]:
    module = "tensorboard.backend.event_processing.event_accumulator"
    events = pytest.importorskip(module, reason="needs the extra tensorboard")
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}


def test_tables_hold_what_counts_of_a_resumed_run(store: Store, tmp_path: Path) -> None:
    parent, run_id = _resumed(store)
    assert run(["export", str(parent), "--out", str(tmp_path / "out")]) == 0
    metrics = _table(tmp_path / "out" / "metrics.csv")
    assert [tuple(row.values()) for row in metrics] == [
        (str(run_id), "vdn", "1", "5", "1.25", "loss", "-5.0"),
        (str(run_id), "vdn", "1", "5", "1.25", "train_return", "9.0"),
        (str(run_id), "vdn", "1", "8", "2.5", "loss", ""),  # it was not finite
    ]
    assert list(metrics[0]) == ["run", "algo", "seed", "env_steps", "wall_s", "name", "value"]
    episodes = _table(tmp_path / "out" / "evaluations.csv")
    assert [(e["env_steps"], e["episode"], e["return"]) for e in episodes] == [
        ("5", "0", "5.0"),
        ("5", "1", "10.0"),
        ("8", "0", "3.0"),
    ]
    results = _table(tmp_path / "out" / "results.csv")
    assert [(row["seed"], row["return_mean"], row["return_ci_low"]) for row in results] == [
        ("1", "3.0", ""),
        ("", "3.0", ""),
    ]


def test_json_lines_are_strict_and_say_the_same(store: Store) -> None:
    parent, run_id = _resumed(store)
    assert run(["export", str(parent), "--format", "jsonl"]) == 0
    folder = store.run_dir(parent) / "export"
    metrics = _lines(folder / "metrics.jsonl")
    assert [row["value"] for row in metrics] == [-5.0, 9.0, None]
    assert metrics[0]["run"] == run_id
    assert [row["return"] for row in _lines(folder / "evaluations.jsonl")] == [5.0, 10.0, 3.0]
    assert [row["return_ci"] for row in _lines(folder / "results.jsonl")] == [None, None]


def test_event_files_have_scalars_over_steps_and_the_time_spent_training(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, run_id = _resumed(store)
    words = ["export", str(parent), "--format", "tensorboard", "--json"]
    assert run(words) == 0
    (file,) = map(Path, json.loads(capsys.readouterr().out)["files"])
    assert file.parent == store.run_dir(parent) / "export" / "vdn" / "seed-1"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    scalars = _scalars(file.parent)
    assert set(scalars) == {"train/loss", "train/return", "eval/return_mean"}
    assert [(e.step, e.value) for e in scalars["eval/return_mean"]] == [(5, 7.5), (8, 3.0)]
    loss = scalars["train/loss"]
    assert [event.step for event in loss] == [5, 8]
    assert math.isnan(loss[1].value)
    began = store.runs.get(run_id).started
    assert began is not None
    assert [event.wall_time - began for event in loss] == pytest.approx([1.25, 2.5], abs=1e-6)
    # Exported again, it is in the old one's place.
    assert run(words) == 0
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_one_seed_can_be_exported_alone(store: Store, tmp_path: Path) -> None:
    parent, run_id = _resumed(store)
    other = _training(store, algo="qmix", parent=parent)
    store.training.record_evaluation(other, store.runs.begin(other), 0, 0.0, [4.0])
    export_run(store, run_id, "csv", tmp_path / "one")
    assert {row["algo"] for row in _table(tmp_path / "one" / "evaluations.csv")} == {"vdn"}
    assert [row["seed"] for row in _table(tmp_path / "one" / "results.csv")] == ["1"]
    export_run(store, parent, "csv", tmp_path / "all")
    assert {row["algo"] for row in _table(tmp_path / "all" / "evaluations.csv")} == {"vdn", "qmix"}


def _nothing(store: Store) -> list[str]:
    parent = store.runs.create("compare", "t", config={}, command="c", versions={})
    _training(store, parent=parent)
    return [str(parent)]


def _synthesis(store: Store) -> list[str]:
    return [str(store.runs.create("synth", "t", config={}, command="c", versions={}))]


def _onto_a_file(store: Store) -> list[str]:
    (store.home / "file").write_text("mine", encoding="utf-8")
    return [str(_resumed(store)[0]), "--out", str(store.home / "file")]


def _below_a_file(store: Store) -> list[str]:
    parent, *_, file = _onto_a_file(store)
    return [parent, "--out", f"{file}/out"]


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (lambda store: ["9"], "there are no runs yet", 2),
        (_nothing, "has recorded nothing to export yet", 2),
        (_synthesis, "is a synthesis and has no trainings", 2),
        (_onto_a_file, "is no folder: choose another with --out", 2),
        (_below_a_file, "cannot be written (Not a directory)", 1),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    words: Callable[[Store], list[str]],
    said: str,
    code: int,
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["export", *words(store)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_missing_package_is_named_with_its_extra_before_any_run_is_made(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, run_id = _resumed(store)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for words in (["export", str(parent), "--format", "tensorboard"], [*TRAIN, "log=tensorboard"]):
        assert run(words) == 2
        assert "pip install -e '.[tensorboard]'" in capsys.readouterr().err
    assert store.runs.listed(limit=1)[0].id == run_id


def test_an_export_that_fails_leaves_the_old_file_and_no_draft(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, _ = _resumed(store)
    folder = tmp_path / "out"
    assert run(["export", str(parent), "--out", str(folder)]) == 0
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}

    def full(*_: object) -> Iterator[dict[str, Any]]:
        yield {"run": 1}
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qllm.export.records.Source.records", full)
    assert run(["export", str(parent), "--out", str(folder)]) == 1
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert not list(folder.glob("*.part"))


# -- while training --------------------------------------------------------------------------


def _values(path: Path) -> list[tuple[int, str, float]]:
    return [(row["env_steps"], row["name"], row["value"]) for row in _lines(path)]


def test_a_resumed_training_has_logs_like_one_that_was_never_interrupted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = [*TRAIN, "log=jsonl"]
    whole = tmp_path / "whole"
    assert run([*logged, "--home", str(whole)]) == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, 1_000)  # after the checkpoint at step 600
        assert run(logged) == 130
    folder = home / "1.1"
    assert _lines(folder / "metrics.jsonl")[-1]["env_steps"] == 1_000
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"run": 2, "algo": "v')  # as a killed process may leave it
    assert run(["resume", "1", "--display", "none"]) == 0
    for name in ("metrics", "evaluations"):
        log = (folder / f"{name}.jsonl").read_bytes()
        assert run(["export", "1", "--format", "jsonl"]) == 0
        assert log == (home / "1" / "export" / f"{name}.jsonl").read_bytes()
    assert _values(folder / "metrics.jsonl") == _values(whole / "1.1" / "metrics.jsonl")
    losses = [steps for steps, name, _ in _values(folder / "metrics.jsonl") if name == "epsilon"]
    assert losses == list(LOGGED)


def test_a_resumed_training_has_one_event_file_without_what_was_superseded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "tensorboard.backend.event_processing.event_accumulator"
    events = pytest.importorskip(module, reason="needs the extra tensorboard")
    folder = home / "1.1" / "tensorboard" / "vdn" / "seed-0"
    with monkeypatch.context() as patch:
        interrupted_at(patch, 1_000)
        assert run([*TRAIN, "log=tensorboard"]) == 130
    watching = events.EventAccumulator(str(folder))  # as a TensorBoard that runs all the time
    watching.Reload()
    assert [event.step for event in watching.Scalars("train/epsilon")] == list(LOGGED)[:5]
    assert run(["resume", "1", "--display", "none"]) == 0
    assert len(list(folder.iterdir())) == 2
    scalars = _scalars(folder)
    assert [event.step for event in scalars["train/epsilon"]] == list(LOGGED)
    assert [event.step for event in scalars["eval/return_mean"]] == list(EVALUATED)
    watching.Reload()
    assert watching.Scalars("train/epsilon") == scalars["train/epsilon"]


def test_a_log_that_cannot_be_written_costs_a_warning_and_no_training(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qllm.export.files.append_json_lines", full)
    words = [word if word != "none" else "plain" for word in TRAIN]
    assert run([*words, "log=jsonl"]) == 0
    err = capsys.readouterr().err
    assert err.count("the log jsonl cannot be written (No space left on device)") == 1
    assert "qllm export 1.1 --format jsonl" in err
    with open_store(home) as store:
        assert len(store.training.evaluations(FIRST)) == len(EVALUATED)


def test_nothing_is_logged_unless_asked(home: Path) -> None:
    assert run(TRAIN) == 0
    assert sorted(path.name for path in (home / "1.1").iterdir()) == [".qllm-run", "checkpoints"]


# -- the picture -----------------------------------------------------------------------------

CURVES = (
    Curve("vdn", (0, 400, 800), (1.0, 2.0, 3.0), (0.5, 1.0, 2.0), (1.5, 3.0, 4.0), (0, 1)),
    Curve("qmix", (0, 400), (1.0, 4.0), None, None, (0,)),
)


def test_a_training_ends_with_a_picture_of_its_curves(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*TRAIN, "--json"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["curves_path"])
    assert path == home / "1" / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert run(TRAIN) == 0
    assert f"curves: {home / '2' / 'curves.png'}\n" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_costs_a_warning_and_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qllm.report.plots.draw_learning_curves", full)
    assert run([*TRAIN, "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["curves_path"] is None


def test_a_single_evaluation_is_no_curve(store: Store) -> None:
    run_id = _training(store)
    attempt = store.runs.begin(run_id)
    store.training.record_evaluation(run_id, attempt, 0, 0.0, [1.0])
    assert write_run_curves(store, run_id) is None
    store.training.record_evaluation(run_id, attempt, 5, 1.0, [2.0])
    assert write_run_curves(store, run_id) == store.run_dir(run_id) / "curves.png"


def test_the_picture_names_axes_units_seeds_and_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    init = FigureCanvasAgg.__init__

    def keeping(self: FigureCanvasAgg, figure: Figure) -> None:
        figures.append(figure)
        init(self, figure)

    monkeypatch.setattr(FigureCanvasAgg, "__init__", keeping)
    words = "Band: 95% bootstrap interval over seeds."
    draw_learning_curves(CURVES, tmp_path / "a.png", title="a task", words=words)
    figure = figures[-1]
    (axes,) = figure.axes
    assert axes.get_xlabel() == "environment steps"
    assert axes.get_ylabel() == "team return (reward per episode)"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["vdn (2 seeds)", "qmix (1 seed)"]
    assert legend.get_title().get_text() == "a task"
    assert figure.get_supxlabel() == words
    draw_learning_curves(CURVES, tmp_path / "b.png", title="a task", words=words)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
