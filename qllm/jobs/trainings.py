"""The trainings of a run: one per algorithm and seed, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Callable

from marl.checkpoint import latest_checkpoint
from marl.device import DTYPES, resolve_device
from marl.errors import CheckpointError, SettingsError, TrainingError
from marl.events import TrainResult
from marl.memory import is_out_of_memory
from marl.preflight import preflight
from marl.trainer import Trainer
from prompts.cards import TaskCard
from qllm.config.build import from_stored
from qllm.config.tree import RunConfig
from qllm.errors import UsageError, WorkError
from qllm.export.kinds import require_trackers
from qllm.export.live import TrainingLogs
from qllm.jobs.credit import (
    Credit,
    TrainedCredit,
    find_credit,
    trains_with_credit,
    watched_credit,
)
from qllm.jobs.initial import kept_initial
from qllm.jobs.parallel import failure_line, run_parallel
from qllm.jobs.sandboxes import Sandboxes
from qllm.jobs.session import Session
from qllm.jobs.training_recorder import TrainingRecorder
from qllm.jobs.versions import versions
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.states import ACTIVE
from qllm.store.store import Store

_KEPT = (
    "env_steps", "updates", "env_steps_per_s", "wall_s", "learnable_parameters", "reward_scale",
)  # fmt: skip
"""Fields of `TrainResult` that a training's run keeps."""
FROM_SCRATCH = -1
"""A new attempt without a checkpoint supersedes everything, the evaluation at step 0 included."""

ORPHANS_S = 30.0
"""Seconds that a resumed run waits for processes of its killed job to save their trainings."""


def create_trainings(session: Session, parent_id: int, config: RunConfig, card: TaskCard) -> None:
    """Queue the trainings that a run does not have yet, one for every algorithm and seed.

    Those that train with a credit function share the run's.
    """
    parent = session.store.runs.get(parent_id)
    there = {(run.algo, run.seed) for run in session.store.runs.trainings(parent_id)}
    for label in config.labels:
        for seed in config.seeds:
            if (label, seed) in there:
                continue
            own = config.for_training(label, seed)
            session.store.runs.create(
                "train",
                card.name,
                config=own.model_dump(mode="json"),
                command=parent.command,
                versions=versions(),
                parent_id=parent_id,
                algo=label,
                seed=seed,
                total_steps=config.steps,
                inputs=parent.inputs if own.algorithm.uses_credit else {},
            )
    total = sum(run.total_steps for run in session.store.runs.trainings(parent_id))
    session.store.runs.progress(parent_id, env_steps=0, total_steps=total)


def checked_credit(
    store: Store | None,
    sandboxes: Sandboxes,
    config: RunConfig,
    card: TaskCard,
    *,
    here: bool = True,
) -> Credit | None:
    """The credit function of trainings, if any of them has one, once all of them can begin.

    Args:
        store, sandboxes: as `find_credit` has them.
        here: as `check_trainings` has it.

    Raises:
        UsageError: they cannot.
        WorkError: the credit function was rejected, or the sandbox is not available here.
    """
    credit = find_credit(store, config, card, sandboxes) if config.credited else None
    check_trainings(card, config, credit, here=here)
    return credit


def check_trainings(
    card: TaskCard, config: RunConfig, credit: Credit | None, *, here: bool = True
) -> None:
    """`marl.preflight.preflight` of a run's trainings, and of their logs.

    Args:
        here: whether they are done on this machine; else its device and memory do not count.

    Raises:
        UsageError: no such device or environment, an algorithm that does not fit the task, a replay
            that does not fit the memory, or a package that a log needs is not installed.
    """
    require_trackers(config.log)
    trained = [config.for_training(label, config.seeds[0]) for label in config.labels]
    try:
        preflight(
            card,
            [training.train_config() for training in trained],
            resolve_device(config.device if here else "cpu"),
            DTYPES[config.dtype],
            None if credit is None else credit.graph,
            at_once=min(config.parallel, len(config.labels) * len(config.seeds)) if here else 0,
            playing=config.env,
        )
    except SettingsError as error:
        raise UsageError(str(error)) from None


def run_trainings(
    session: Session, parent_id: int, card: TaskCard, credit: TrainedCredit | None, parallel: int
) -> list[str]:
    """Run the unfinished trainings of a run; returns the failures, a line each.

    A training that fails does not keep the others from running. When the run is told to stop, the
    current trainings save a checkpoint and the rest stay queued.

    Args:
        parallel: how many at once. One at a time runs in this process, several in their own.
    """
    left = _unfinished(session, parent_id)
    session.store.runs.add_up(parent_id)
    if min(parallel, len(left)) > 1:
        return run_parallel(session, parent_id, left, parallel, credit)
    failures: list[str] = []
    for child in left:
        session.control.training()
        if session.control.stopping(parent_id):
            break
        try:
            run_training(
                session, parent_id, child, card, credit if trains_with_credit(child) else None
            )
        except WorkError as error:
            failures.append(failure_line(child, str(error)))
            session.display.note(failures[-1], "error")
    return failures


def _unfinished(session: Session, parent_id: int) -> list[Run]:
    """The trainings to be done, once no process works on them any more.

    The processes of a job that was killed go on until the end of their rollout, to save it.
    """

    def left() -> list[Run]:
        trainings = session.store.runs.trainings(parent_id)
        return [run for run in trainings if run.status != "finished"]

    def at_work() -> str | None:
        pids = ", ".join(str(run.pid) for run in left() if derived_status(run) in ACTIVE)
        return f"waiting for trainings that still save (processes {pids})" if pids else None

    session.wait(at_work, ORPHANS_S)
    return left()


def run_training(
    session: Session, parent_id: int, child: Run, card: TaskCard, credit: TrainedCredit | None
) -> None:
    """Do one training of a run in this process, from its newest checkpoint if there is one.

    Raises:
        WorkError: it failed; the store knows.
    """
    store = session.store
    config = from_stored(child.config)
    logs = TrainingLogs(store, child.id, config, lambda text: session.display.note(text, "warning"))
    recorder = TrainingRecorder(store, child.id, parent_id, logs, session.notice, session.evaluated)
    function = watch = None
    if credit is not None:
        function, watch = watched_credit(credit.graph, session.sandboxes.opened)
        if derived_status(child) == "died":
            session.display.note(
                f"{child.algo}, seed {child.seed}, died without a message, perhaps for lack of "
                f"memory: {credit.memory(config, card)}",
                "warning",
            )
    control = session.control.training

    def make(how: Callable[..., Trainer], *, begins: bool) -> Trainer:
        return how(
            card,
            config.train_config(),
            config.seeds[0],
            credit=function,
            credit_watch=watch,
            initial=kept_initial(child, folder, begins=begins),
            run_dir=folder,
            emit=recorder,
            control=control,
        )

    trainer: Trainer | None = None
    try:
        folder = store.make_run_dir(child.id)
        # Read before the attempt begins, which has to know where it goes on. A first attempt has
        # nothing of its own to go on from, whatever is there.
        if child.attempt and latest_checkpoint(folder) is not None:
            trainer = make(Trainer.resume, begins=False)
    except (TrainingError, SettingsError, OSError) as error:
        raise _failed(store, child.id, error) from None
    if child.attempt and child.env_steps and trainer is None:
        said = f"run {child.name}: no checkpoint is left in '{folder}', so it begins anew"
        session.display.note(said, "warning")
    start = trainer.env_steps if trainer else FROM_SCRATCH if child.attempt else 0
    with session.working(child.id, resumed_at=start) as attempt, logs:
        if trainer is not None and all(done.env_steps < start for done in trainer.evaluations):
            store.training.drop_evaluation(child.id, start)
        title = f"{child.algo}, seed {child.seed}"
        with session.display.begin(title, config.steps, done=max(0, start)) as bar:
            recorder.attach(attempt, bar)
            if trainer is None:
                trainer = make(Trainer, begins=True)
            result = _run_named(trainer, credit, config)
            bar.finish(_outcome(result))
        recorder.finished(result)
        store.runs.finish(
            child.id,
            result.status,
            result={key: getattr(result, key) for key in _KEPT},
        )


def _failed(store: Store, run_id: int, error: Exception) -> WorkError:
    """The error of a training that did not even begin, once the store has it, too."""
    if derived_status(store.runs.get(run_id)) not in ACTIVE:
        store.runs.finish(run_id, "failed", error=str(error))
    return WorkError(str(error), run_id)


def _run_named(trainer: Trainer, credit: TrainedCredit | None, config: RunConfig) -> TrainResult:
    """Run it; where its numbers or its memory go wrong, the error names the credit function."""
    try:
        return trainer.run()
    except CheckpointError:
        raise
    except TrainingError as error:
        if credit is None:
            raise
        raise TrainingError(f"{error} (credit function: {credit.name})") from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        used = f": {credit.memory(config, trainer.card)}" if credit is not None else ""
        raise TrainingError(
            f"out of memory at step {trainer.env_steps}{used}; lower learner.batch_size or "
            "env.num_envs"
        ) from None


def _outcome(result: TrainResult) -> str:
    if result.status == "stopped":
        return f"stopped at step {result.env_steps}"
    last = result.evaluations[-1].mean
    return f"return {last:.1f}"
