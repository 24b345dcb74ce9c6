"""The trainings of a run: one child per algorithm and seed, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl.algorithms.base import TaskSizes
from marl.algorithms.registry import make_mixer
from marl.checkpoint import latest_checkpoint
from marl.device import resolve_device
from marl.envs.registry import make_env
from marl.errors import TrainingError
from marl.events import TrainResult
from marl.trainer import Trainer
from prompts.cards import TaskCard
from qllm.config.build import from_stored
from qllm.config.tree import RunConfig
from qllm.errors import WorkError
from qllm.jobs.credit import Credit
from qllm.jobs.session import Session
from qllm.jobs.training_bridge import TrainingRecorder
from qllm.jobs.versions import versions
from qllm.store.schema import Run

if TYPE_CHECKING:
    from marl.algorithms.registry import AlgorithmConfig

FROM_SCRATCH = -1
"""A new attempt without a checkpoint supersedes everything, the evaluation at step 0 included."""


def create_trainings(
    session: Session,
    parent_id: int,
    config: RunConfig,
    card: TaskCard,
    algorithms: Sequence[AlgorithmConfig],
) -> None:
    """Queue a training for every algorithm and seed; qllm's share the run's credit function."""
    given = session.store.runs.get(parent_id).inputs
    for algorithm in algorithms:
        for seed in config.seeds:
            own = config.for_training(algorithm, seed)
            session.store.runs.create(
                "train",
                card.name,
                config=own.model_dump(mode="json"),
                command=session.command,
                versions=versions(),
                parent_id=parent_id,
                algo=algorithm.name,
                seed=seed,
                total_steps=config.steps,
                inputs=given if algorithm.name == "qllm" else {},
            )
    children = session.store.runs.children(parent_id)
    session.store.runs.progress(
        parent_id, env_steps=0, total_steps=sum(child.total_steps for child in children)
    )


def preflight(
    card: TaskCard, config: RunConfig, algorithms: Sequence[AlgorithmConfig], credit: Credit | None
) -> None:
    """Find out what the settings alone cannot say, before any run exists.

    Raises:
        SettingsError: no such device or environment, or an algorithm that does not fit the task.
    """
    from sandbox.runtime import CreditFunction

    device = resolve_device(config.device)
    make_env(card, 1, 0, device, config=config.env).close()
    for algorithm in algorithms:
        if algorithm.name != "qllm":
            make_mixer(algorithm, TaskSizes.of(card))
        elif credit is not None:  # else its function is yet to be found
            make_mixer(algorithm, TaskSizes.of(card), CreditFunction(credit.graph))


def run_trainings(
    session: Session, parent_id: int, card: TaskCard, credit: Credit | None
) -> list[str]:
    """Run what has not finished of a run's trainings; returns what went wrong, a line each.

    A training that fails does not keep the others from running. When the run is told to stop, the
    current training saves a checkpoint and the rest stay queued.
    """
    failures: list[str] = []
    store = session.store
    for child in store.runs.children(parent_id):
        if child.kind != "train" or child.status == "finished":
            continue
        session.control.training()
        if session.control.stopping(parent_id):
            break
        try:
            _run_one(session, parent_id, child, card, credit if child.algo == "qllm" else None)
        except WorkError as error:
            failures.append(f"run {child.id} ({child.algo}, seed {child.seed}): {error}")
            session.display.note(failures[-1], "error")
    return failures


def _run_one(
    session: Session, parent_id: int, child: Run, card: TaskCard, credit: Credit | None
) -> None:
    from sandbox.runtime import CreditFunction

    store, folder = session.store, session.store.run_dir(child.id)
    config = from_stored(child.config)
    recorder = TrainingRecorder(store, child.id, parent_id)
    function = CreditFunction(credit.graph) if credit is not None else None
    control = session.control.training
    trainer: Trainer | None = None
    if latest_checkpoint(folder) is not None:
        # Read before the attempt begins, which has to know where it goes on.
        try:
            trainer = Trainer.resume(
                folder, card=card, credit=function, emit=recorder, control=control
            )
        except TrainingError as error:
            raise WorkError(str(error), child.id) from None
    start = trainer.env_steps if trainer else FROM_SCRATCH if child.attempt else 0
    with session.working(child.id, resumed_at=start) as attempt:
        title = f"{child.algo}, seed {child.seed}"
        with session.display.begin(title, config.steps, done=max(0, start)) as bar:
            recorder.attach(attempt, bar)
            if trainer is None:
                trainer = Trainer(
                    card,
                    config.train_config(),
                    config.seeds[0],
                    credit=function,
                    run_dir=folder,
                    emit=recorder,
                    control=control,
                )
            result = trainer.run()
            bar.finish(_outcome(result))
        recorder.finished(result)
        store.runs.finish(
            child.id,
            result.status,
            result={
                "env_steps": result.env_steps,
                "env_steps_per_s": result.env_steps_per_s,
                "wall_s": result.wall_s,
                "learnable_parameters": result.learnable_parameters,
            },
        )


def _outcome(result: TrainResult) -> str:
    if result.status == "stopped":
        return f"stopped at step {result.env_steps}"
    last = result.evaluations[-1].mean
    return f"return {last:.1f}"
