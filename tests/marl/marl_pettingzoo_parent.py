"""A parent that is to be killed: prints its workers' process ids, then steps their environments."""

from __future__ import annotations

import sys
import threading

import psutil

from marl.envs.workers.memory import Layout
from marl.envs.workers.pool import Program, WorkerPool


def work(factory: str) -> None:
    """Never ends by itself."""
    program = Program("marl.envs.workers.instance:instances_of", factory)
    pool = WorkerPool(program, 2, 2, 60)
    pool.build()
    layout = Layout.of_batch(2, 3, 4, obs=3, state=8, real="float64")
    handle = layout.create()
    layout.arrays(handle)["active"][:] = True
    pool.attach(layout, handle, state="flat", mean=False)
    pool.ask("reset")
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    while True:
        pool.ask("reset")
        pool.ask("step")
        pool.ask("step")


if __name__ == "__main__":
    if sys.argv[2] == "main":
        work(sys.argv[1])
    else:
        thread = threading.Thread(target=work, args=sys.argv[1:2])
        thread.start()
        thread.join()
