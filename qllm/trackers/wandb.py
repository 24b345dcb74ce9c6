"""Weights & Biases, offline unless told otherwise.

A row belongs to a step, and steps only go up. So an offline attempt writes everything anew, in
place of the files of earlier ones. An online one goes on in the same W&B run and leaves out what
that has: of steps that are done again after a resume, the first row stays.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from typing import Any

from qllm.trackers.points import Point, scalars
from qllm.trackers.protocol import Status, TrackedRun

INIT_TIMEOUT_S = 30.0
"""Seconds that W&B's servers have to answer."""


class WandbTracker:
    """Rows of scalars by environment steps (W&B's ``step``), each with ``wall_s``."""

    def begin(self, run: TrackedRun) -> None:
        """Begin W&B's run, or go on with it; its id is the training's ``uid``."""
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode: Any = run.settings.wandb_mode or os.environ.get("WANDB_MODE") or "offline"
        online = mode not in ("offline", "dryrun")
        if not online:
            for earlier in (run.folder / "wandb").glob(f"offline-run-*-{run.uid}"):
                shutil.rmtree(earlier, ignore_errors=True)
        self._run: Any = wandb.init(
            project=run.settings.project or os.environ.get("WANDB_PROJECT") or "qllm",
            id=run.uid,
            name=run.title,
            group=run.group,
            tags=[run.task, run.algo],
            dir=str(run.folder),
            config={
                **run.config,
                "algo": run.algo,
                "qllm_run": run.name,
                "versions": dict(run.versions),
            },
            mode=mode,
            resume="allow" if online else None,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_TIMEOUT_S),
        )
        self._from = self._run.step if online and self._run.resumed else 0
        self.add(run.points)

    def add(self, points: Sequence[Point]) -> None:
        for env_steps, row in itertools.groupby(scalars(points), key=lambda s: s.env_steps):
            if env_steps >= self._from:
                values: dict[str, float] = {}
                for scalar in row:
                    values |= {scalar.tag: scalar.value, "wall_s": scalar.wall_s}
                self._run.log(values, step=env_steps)

    def finish(self, status: Status) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=1 if status == "failed" else 0)
