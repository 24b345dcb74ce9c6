"""Studies go on where they were stopped, and their pages say what is there and what is missing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import bench.results as results
from bench.results_page import write_page
from bench.studies import STUDIES, Study
from marl.checkpoint import latest_checkpoint
from marl.errors import CheckpointError
from marl.events import go_on
from qllm.display import make_display
from qllm.executors.task import task_of


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_trained(name: str) -> None:
    trainings = STUDIES[name].trainings()
    assert len({t.folder for t in trainings}) == len(trainings)
    for training in trainings:
        assert training.config.steps == STUDIES[name].steps
        assert (training.config.algorithm.name == "qllm") == (training.function is not None)


def row(label: str, seed: int, last: float) -> dict[str, Any]:
    return {
        "label": label,
        "seed": seed,
        "evaluations": [[0, 0.0], [250_100, last / 2], [600_000, last]],
        "learnable_parameters": 1234,
        "env_steps": 600_000,
        "wall_s": 60.0,
    }


def test_a_page_has_a_row_per_algorithm_and_says_what_is_missing(tmp_path: Path) -> None:
    study = STUDIES["lbf"]
    write_page("lbf", study, [row("vdn", 1, 0.5), row("vdn", 2, 0.7), row("qmix", 1, 1)], tmp_path)
    text = (tmp_path / "lbf.md").read_text()
    assert "3 of 15 trainings finished" in text
    (vdn,) = [line for line in text.splitlines() if line.startswith("| vdn |")]
    cells = [cell.strip() for cell in vdn.strip("|").split("|")]
    assert cells == ["vdn", "2", "0.6", "0.5 to 0.7", "0.6", "0.5 0.7", "0.6", "1,234"]
    assert "| qmix | 1 | 1 | one seed |" in text
    assert "| qmix | vdn | +0.5 | no interval | 1 |" in text
    assert len(json.loads((tmp_path / "lbf.json").read_text())) == 3
    assert (tmp_path / "lbf.png").stat().st_size > 5_000


def test_a_page_by_a_metric_tells_returns_too_and_what_has_not_finished(tmp_path: Path) -> None:
    rates = {"goal_rate": [[0, 0.0], [250_100, 0.1], [600_000, 0.25]]}
    begun = {**row("qmix", 1, 1.5), "metrics": rates, "unfinished": True, "env_steps": 90_000}
    del begun["learnable_parameters"]
    done = {**row("vdn", 1, 2.5), "metrics": rates}
    write_page("football", STUDIES["football"], [done, begun], tmp_path)
    text = (tmp_path / "football.md").read_text()
    assert "1 of 6 trainings finished" in text
    assert "Not finished, shown as far as they came: qmix seed 1 at 90,000 steps." in text
    assert "| algorithm | seeds | last goal_rate, IQM |" in text
    assert "| vdn | 1 | 0.25 | one seed | 0.25 | 0.25 | 0.25 | 1,234 | 2.5 |" in text
    assert "| qmix | 1 | 0.25 | one seed | 0.25 | 0.25 | 0.25 |  | 1.5 |" in text


def test_a_reference_stands_beside_the_nearest_evaluation(tmp_path: Path) -> None:
    write_page("lbf-reference", STUDIES["lbf-reference"], [row("qmix", 1, 0.8)], tmp_path)
    assert "| 250,000 | 0.02 | 0.4 |" in (tmp_path / "lbf-reference.md").read_text()


def small_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "title": "small",
        "task": "matrix/climbing",
        "preset": "equal",
        "algorithms": ("vdn",),
        "seeds": (1, 2),
        "unit": "pay",
        "steps": 400,
        "settings": (("evaluation", "every", 200), ("evaluation", "episodes", 2)),
        **changes,
    }
    return Study(**settings)


def test_what_is_finished_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = small_study()
    monkeypatch.setitem(results.STUDIES, "small", small)
    first = small.trainings()[0]
    home = tmp_path / "home"
    # Workers are fresh interpreters, which do not know this study: the first is trained here.
    results._train("small", first, home / "small" / first.folder, go_on)
    done = home / "small" / first.folder / results.RESULT
    before = done.stat().st_mtime_ns
    results._train("small", first, home / "small" / first.folder, go_on)
    assert done.stat().st_mtime_ns == before
    (found,) = results.collect(small, home / "small")
    assert (found["label"], found["seed"], found["env_steps"]) == ("vdn", 1, 400)
    assert [steps for steps, _ in found["evaluations"]] == [0, 200, 400]
    elsewhere = tmp_path / "elsewhere"  # where only the page tells of it
    assert results.collect(small, elsewhere) == []
    assert results.collect(small, elsewhere, [found]) == [found]
    assert results.collect(small_study(seeds=(2, 3)), elsewhere, [found]) == []
    assert results.collect(small, elsewhere, [{**found, "unfinished": True}]) == []


def test_a_signal_has_a_training_save_and_end(tmp_path: Path) -> None:
    training = STUDIES["climbing"].trainings()[0]
    task = json.loads(task_of("study", 1, study="climbing", training=0, home=str(tmp_path)))
    begun = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    begun.start()
    answer = results.perform_training(task, make_display("none"))
    assert answer == {"status": "stopped", "signal": signal.SIGTERM}
    folder = tmp_path / training.folder
    assert latest_checkpoint(folder) is not None
    assert not (folder / results.RESULT).exists()
    (tmp_path / training.folder / results.RESULT).write_text("{")
    answer = results.perform_training(task, make_display("none"))
    assert answer["status"] == "failed"
    assert "is damaged: remove it" in answer["error"]


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pages are written."""
    folder = tmp_path / "pages"
    folder.mkdir()
    monkeypatch.setattr(results, "PAGES", folder)
    return folder


def test_a_study_is_finished_and_its_page_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: Path
) -> None:
    monkeypatch.setitem(results.STUDIES, "small", small_study())
    assert results.main(["small", "--home", str(tmp_path), "--executor", "local"]) == 0
    found = results.collect(small_study(), tmp_path / "small")
    assert [(row["seed"], row["env_steps"]) for row in found] == [(1, 400), (2, 400)]
    assert json.loads((pages / "small.json").read_text()) == found


@pytest.mark.long
def test_interrupted_trainings_save_before_they_end(tmp_path: Path, pages: Path) -> None:
    over = threading.Event()

    def interrupt() -> None:
        until = time.monotonic() + 120
        while len(list(tmp_path.glob("climbing/*/*"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        while not over.wait(60):  # one that comes while garbage is collected is lost
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert results.main(["climbing", "--home", str(tmp_path), "--workers", "2"]) == 130
    over.set()
    found = results.collect(STUDIES["climbing"], tmp_path / "climbing")
    assert len(found) == 2
    assert all(row["unfinished"] for row in found)
    assert (pages / "climbing.json").is_file()


def test_what_has_not_finished_is_collected_as_far_as_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    first, second = study.trainings()
    words = iter(["continue"])
    monkeypatch.setitem(results.STUDIES, "small", study)
    told: Any = lambda: next(words, "stop")  # noqa: E731
    assert results._train("small", first, tmp_path / first.folder, told) == "stopped"
    (found,) = results.collect(study, tmp_path)
    assert found["unfinished"]
    assert 0 < found["env_steps"] < 400
    assert found["evaluations"][0][0] == 0
    (tmp_path / first.folder).rename(tmp_path / second.folder)
    assert results.collect(study, tmp_path) == [], "of another seed"


def test_another_training_s_checkpoint_or_result_is_not_taken_for_one_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study()
    monkeypatch.setitem(results.STUDIES, "small", study)
    first, second = study.trainings()
    folder = tmp_path / first.folder
    assert results._train("small", first, folder, lambda: "stop") == "stopped"
    with pytest.raises(CheckpointError, match=r"another training: seed 1, here 2$"):
        results._train("small", second, folder, go_on)
    results._train("small", first, folder, go_on)
    with pytest.raises(SystemExit, match="another training: seed 1, here 2: move it away"):
        results._train("small", second, folder, go_on)
    longer = small_study(steps=800, settings=(("learner", "lr", 0.1),))
    with pytest.raises(SystemExit, match=r"config.learner.lr 0.003, here 0.1; config.steps 400"):
        results.collect(longer, tmp_path)
    for damaged in ("[1]", "{}", "{"):
        (folder / results.RESULT).write_text(damaged)
        with pytest.raises(SystemExit, match="is damaged: remove it"):
            results.collect(study, tmp_path)


def test_the_result_of_a_function_that_was_rewritten_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = next(t for t in STUDIES["climbing"].trainings() if t.function is not None)
    assert training.function is not None
    path = tmp_path / training.folder / results.RESULT
    path.parent.mkdir()
    path.write_text(json.dumps(results._identity(training)))
    assert results._finished(training, path.parent) is not None
    name, source = results.FUNCTIONS[training.function]
    monkeypatch.setitem(results.FUNCTIONS, training.function, (name, source + "\n# otherwise"))
    with pytest.raises(SystemExit, match="another training: function"):
        results._finished(training, path.parent)
