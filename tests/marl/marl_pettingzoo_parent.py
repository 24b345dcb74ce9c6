"""A parent that is to be killed: prints its workers' process ids, then steps their environments."""

from __future__ import annotations

import sys

import psutil

from marl.envs.workers.memory import Layout
from marl.envs.workers.pool import WorkerPool

if __name__ == "__main__":
    pool = WorkerPool(sys.argv[1], 2, 2, 60)
    pool.build()
    layout = Layout.of_batch(2, 3, 4, obs=3, state=8, real="float64")
    handle = layout.create()
    layout.arrays(handle)["active"][:] = True
    pool.attach(layout, handle, own_state=False, mean=False)
    pool.ask("reset")
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    while True:
        pool.ask("reset")
        pool.ask("step")
        pool.ask("step")
