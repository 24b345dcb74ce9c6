"""Speed of a whole training: rollouts, learning, everything, and where the time goes."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from marl.clock import PARTS
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import TaskCard


@dataclass(frozen=True)
class _Mark:
    """A trainer's counters at one moment."""

    time: float
    env_steps: int
    updates: int
    parts: dict[str, float]

    @classmethod
    def of(cls, trainer: Trainer) -> _Mark:
        seconds = dict(trainer.clock.seconds)
        return cls(time.perf_counter(), trainer.env_steps, trainer.learner.updates, seconds)


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Processes that do nothing but keep cores busy."""
    command = [sys.executable, "-I", "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def bench_learner(
    card: TaskCard,
    config: TrainConfig,
    *,
    credit: nn.Module | None = None,
    rollouts: int = 40,
    seed: int = 0,
    beside: int = 0,
) -> dict[str, Any]:
    """Environment steps per second of a real training with these settings, learning included.

    As many rollouts as it takes to fill a batch warm everything up first; then ``rollouts`` more
    are measured, each followed by its updates. No evaluation and no checkpoint falls in between.

    Args:
        card: the task.
        config: the settings; ``steps``, ``evaluation`` and ``log_every`` are replaced.
        credit: the credit function, for QLLM.
        rollouts: how many are measured.
        seed: of the training.
        beside: processes that keep a core busy meanwhile.

    Returns:
        A row with ``task``, ``algo``, ``env_steps_per_s``, ``updates_per_s``, ``breakdown``
        (seconds for rollout, sampling, forward, backward, optimiser, other) and the settings used.
    """
    envs, batch = config.env.num_envs, config.learner.batch_size
    warm = -(-batch // envs) + 2
    endless = envs * card.horizon * (warm + rollouts) * 10
    settings = config.model_copy(
        update={
            "steps": endless,
            "log_every": endless,
            "evaluation": config.evaluation.model_copy(update={"every": endless, "episodes": 1}),
        }
    )
    marks: list[_Mark] = []
    asked = itertools.count()

    def control() -> Literal["continue", "stop"]:
        # Asked once before every rollout: the place to look at the counters.
        at = next(asked)
        if at in (warm, warm + rollouts):
            marks.append(_Mark.of(trainer))
        return "stop" if at == warm + rollouts else "continue"

    trainer = Trainer(card, settings, seed, credit=credit, control=control, synchronise=True)
    with _busy(beside):
        trainer.run()
    begin, end = marks
    seconds = end.time - begin.time
    parts = {part: end.parts.get(part, 0.0) - begin.parts.get(part, 0.0) for part in PARTS}
    return {
        "task": card.name,
        "algo": config.algorithm.name,
        "env_steps_per_s": (end.env_steps - begin.env_steps) / seconds,
        "updates_per_s": (end.updates - begin.updates) / seconds,
        "breakdown": {**parts, "other": max(0.0, seconds - sum(parts.values()))},
        "seconds": seconds,
        "env_steps": end.env_steps - begin.env_steps,
        "updates": end.updates - begin.updates,
        "device": str(trainer.device),
        "dtype": config.dtype,
        "threads": config.threads,
        "beside": beside,
        "num_envs": envs,
        "batch_size": batch,
        "updates_per_rollout": config.learner.updates_per_rollout,
        "updates_per_episode": config.learner.updates_per_rollout / envs,
        "core": config.agent.core,
        "hidden": config.agent.hidden,
        "learnable_parameters": trainer.learnable_parameters,
    }
