"""Run by a test: trains in forked children, killing them at random moments until one finishes.

Usage: marl_kill_runs.py FOLDER ALGORITHM SEED. Prints how many children were killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from marl_toys import PlainSum, climbing, small_config

from marl.checkpoint import latest_checkpoint
from marl.trainer import Trainer


def train(folder: Path, algorithm: str) -> None:
    """What a job does: resume if there is something to resume, else start."""
    config = small_config(
        steps=1_000, checkpoint_every=1, algorithm={"name": algorithm}, evaluation={"every": 100}
    )
    credit = PlainSum() if algorithm == "qllm" else None
    if latest_checkpoint(folder) is None:
        trainer = Trainer(climbing(5), config, 1, credit=credit, run_dir=folder)
    else:
        trainer = Trainer.resume(climbing(5), config, 1, run_dir=folder, credit=credit)
    trainer.run()


def main(folder: Path, algorithm: str, seed: int) -> None:
    torch.set_num_threads(1)
    luck, killed = random.Random(seed), 0
    while True:
        child = os.fork()
        if child == 0:
            try:
                train(folder, algorithm)
            except BaseException:  # noqa: BLE001 - a forked child must never return into the loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if killed < 5:
            time.sleep(luck.uniform(0.02, 0.3))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            continue
        print(killed)
        sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
