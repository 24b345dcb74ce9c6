"""The studies behind ``docs/results``: long trainings, kept up by one command that can be stopped.

    python -m bench.results lbf --workers 2

Every training writes its checkpoints below ``--home``; called again, the command goes on with what
is missing and leaves finished trainings alone, those of the page included, wherever they ran. What
came of them stands in ``docs/results`` as JSON, with a table and curves made of it by
``bench.results_page``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from bench.check import FUNCTIONS
from bench.results_page import write_page
from bench.studies import STUDIES, Study, Training
from marl.checkpoint import latest_checkpoint, open_checkpoint, part_of
from marl.errors import CheckpointError, SettingsError, TrainingError
from marl.evaluation import with_metrics
from marl.events import Evaluated, TrainResult
from marl.snapshot import MAY_DIFFER, differing_settings, read_facts
from prompts.bounded import BoundsError, read_json
from prompts.cards import load_card
from qllm.display import Display, make_display
from qllm.errors import UsageError
from qllm.executors.base import EXECUTORS, ExecutorChoice, Surroundings, open_executor
from qllm.executors.queue import TaskQueue
from qllm.executors.task import task_of
from qllm.signals import caught_signals

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "results"
RESULT = "result.json"
WAIT_S = 0.2
Word = Literal["continue", "stop"]
_RESULT_BYTES = 16 * 2**20
_MAY_DIFFER = frozenset(f"config.{name}" for name in MAY_DIFFER)


def _train(
    study: str, training: Training, folder: Path, control: Callable[[], Word]
) -> Literal["finished", "stopped"]:
    """Do one training, from its newest checkpoint if there is one; how it ended."""
    from marl.trainer import Trainer

    if _finished(training, folder) is not None:
        return "finished"
    make = Trainer if latest_checkpoint(folder) is None else Trainer.resume
    trainer = make(
        load_card(STUDIES[study].task),
        training.config,
        training.seed,
        credit=training.credit(),
        run_dir=folder,
        control=control,
    )
    result = trainer.run()
    if result.status == "finished":
        draft = folder / f"{RESULT}.draft"
        draft.write_text(json.dumps(_document(training, result)), encoding="utf-8")
        draft.rename(folder / RESULT)
    return result.status


def perform_training(task: Mapping[str, Any], display: Display) -> dict[str, Any]:
    """Do the task of an executor that is a training of a study (see `qllm.executors.task`).

    Args:
        task: ``study``, ``training`` (its place in the study) and ``home``, the study's folder.

    Returns:
        ``status``, ``signal``, and ``error`` if it failed.
    """
    study, told = task["study"], _Told()
    training = STUDIES[study].trainings()[task["training"]]
    try:
        with caught_signals(told, display.note):
            status = _train(study, training, Path(task["home"]) / training.folder, told.word)
    except (TrainingError, SettingsError, SystemExit) as error:
        return {"status": "failed", "error": str(error)}
    return {"status": status, "signal": told.signal}


@dataclass
class _Told:
    """What a training is told."""

    signal: int | None = None

    def word(self) -> Word:
        return "continue" if self.signal is None else "stop"


def _identity(training: Training) -> dict[str, Any]:
    """What a result says of the training that it is of."""
    identity = {
        "label": training.label,
        "algo": training.config.algorithm.name,
        "seed": training.seed,
        "config": training.config.model_dump(mode="json"),
    }
    if training.function is not None:
        source = FUNCTIONS[training.function][1]
        identity["function"] = hashlib.sha256(source.encode()).hexdigest()[:16]
    return identity


def _finished(training: Training, folder: Path) -> dict[str, Any] | None:
    """The result of a training that has finished, else None.

    Raises:
        SystemExit: the result in its folder is damaged, or of a training with other settings.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        document: dict[str, Any] = read_json(path, _RESULT_BYTES)
        if not {"label", "algo", "seed", "config"} <= document.keys():
            raise BoundsError("it does not say of which training it is")
        differing = list(differing_settings(document, _identity(training), _MAY_DIFFER))
    except (BoundsError, AttributeError) as error:
        raise SystemExit(f"'{path}' is damaged: remove it, to train anew ({error})") from None
    if differing:
        raise SystemExit(
            f"'{folder}' is of another training: {'; '.join(differing)}: move it away, to train"
            " anew, or choose another folder with --home"
        )
    return document


def _document(training: Training, result: TrainResult) -> dict[str, Any]:
    return {
        **_identity(training),
        "learnable_parameters": result.learnable_parameters,
        "env_steps": result.env_steps,
        "wall_s": round(result.wall_s, 1),
        **_evaluated(result.evaluations),
    }


def _evaluated(evaluations: Sequence[Evaluated]) -> dict[str, Any]:
    last = evaluations[-1]
    document = {
        "evaluations": [[e.env_steps, round(e.mean, 6)] for e in evaluations],
        "last_returns": [round(value, 6) for value in last.returns],
    }
    metrics = {
        name: [
            [e.env_steps, round(fmean(e.metrics[name]), 6)]
            for e in evaluations
            if name in e.metrics
        ]
        for name in last.metrics
    }
    return {**document, "metrics": metrics} if metrics else document


def collect(
    study: Study, home: Path, published: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What there is of a study, in its order; what has not finished says so (``unfinished``).

    Args:
        study: whose trainings are looked for.
        home: folder of checkpoints and results.
        published: results of the study's page, for trainings that were finished elsewhere.
    """
    found = []
    for training in study.trainings():
        folder = home / training.folder
        document = (
            _finished(training, folder) or _among(training, published) or _so_far(training, folder)
        )
        found += [] if document is None else [document]
    return found


def _among(training: Training, published: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The finished result of a training with exactly these settings."""
    identity = _identity(training)
    for document in published:
        if document.get("unfinished") or not identity.keys() <= document.keys():
            continue
        if not any(differing_settings(document, identity, _MAY_DIFFER)):
            return document
    return None


def _published(name: str) -> list[dict[str, Any]]:
    path = PAGES / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _so_far(training: Training, folder: Path) -> dict[str, Any] | None:
    """What a training's newest checkpoint tells of it."""
    if latest_checkpoint(folder) is None:
        return None
    try:
        with open_checkpoint(folder) as saved:
            facts = read_facts(saved.facts)
            kept = part_of(saved.tensors("evaluated."), "evaluated")
            evaluations = with_metrics(facts.evaluated(), kept)
    except (CheckpointError, ValueError):
        return None
    asked = training.config.on(load_card(training.task).env.kind).model_dump()
    others = differing_settings(facts.config.model_dump(), asked, MAY_DIFFER)
    if not evaluations or facts.seed != training.seed or any(others):
        return None
    progress = {"unfinished": True, "env_steps": facts.env_steps, "wall_s": round(facts.wall_s, 1)}
    return {**_identity(training), **progress, **_evaluated(evaluations)}


def run(name: str, home: Path, choice: ExecutorChoice, at_once: int) -> int:
    """Finish a study's trainings, and bring its page up to date after each.

    Args:
        name: of the study.
        home: folder of checkpoints and results.
        choice: who trains.
        at_once: trainings at a time, where the executor asks for that.

    Returns:
        The exit code.
    """
    study, home = STUDIES[name], home.resolve() / name
    published = _published(name)
    write_page(name, study, collect(study, home, published), PAGES)
    trainings = study.trainings()
    missing = [
        place
        for place, t in enumerate(trainings)
        if not (home / t.folder / RESULT).is_file() and _among(t, published) is None
    ]
    done = len(trainings) - len(missing)
    print(f"{name}: {done} of {len(trainings)} trainings are finished", flush=True)
    home.mkdir(parents=True, exist_ok=True)
    how = Surroundings(choice.options, home, at_once, 1, make_display("none"))
    executor = open_executor(choice.name, how)
    queue = TaskQueue(executor, _warn)
    for place in missing:
        title = f"{trainings[place].label}, seed {trainings[place].seed}"
        queue.add(title, task_of("study", 1, study=name, training=place, home=str(home)))
    try:
        return _finish(queue, [trainings[place] for place in missing], study, home, published)
    except KeyboardInterrupt:
        queue.stop()
        _warn("interrupted: the same command goes on")
        return 130
    finally:
        executor.close()


def _finish(
    queue: TaskQueue,
    missing: Sequence[Training],
    study: Study,
    home: Path,
    published: Sequence[dict[str, Any]],
) -> int:
    """Wait for the trainings in a queue; the exit code."""
    begun, failed = time.monotonic(), False
    while queue.left:
        queue.begin()
        ended = list(queue.ended())
        for place, answer in ended:
            title = f"{missing[place].label}, seed {missing[place].seed}"
            if answer["status"] != "finished":
                failed = True
                _warn(f"{title}: {answer['error'] or answer['status']}")
                continue
            spent = (time.monotonic() - begun) / 60
            print(f"{title}: done ({spent:.0f} min)", flush=True)
            write_page(home.name, study, collect(study, home, published), PAGES)
        if not ended:
            time.sleep(WAIT_S)
    return int(failed)


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--home", type=Path, default=ROOT / "runs" / "studies")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--executor", choices=sorted(EXECUTORS), default="processes")
    parser.add_argument("--with", dest="options", metavar="KEY=VALUE", action="append", default=[])
    given = parser.parse_args(arguments)
    options = dict(word.partition("=")[::2] for word in given.options)
    choice = ExecutorChoice(given.executor, options)
    try:
        return run(given.study, given.home, choice, given.workers)
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
