"""How long the sandbox takes to judge a function.

The functions are the files under ``bench/functions/``, one folder for each family of tasks, written
as a good coder would write them. A file's docstring begins with its task and a colon, and then says
the idea: ``mpe/spread-6: agents in a crowd say little``. A file's name, without its suffix, is the
function's name, unique over all folders. The whole file is what the sandbox is given.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from prompts.cards import TaskCard, load_card
from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig
from sandbox.report import CheckReport

FOLDER = Path(__file__).parent / "functions"
REPEATS = 3
FORKS = 21
"""Children whose time is taken for the overhead."""

_BARE_FORKS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from sandbox.isolation.zygote import warm_up
warm_up()
for _ in range(int(sys.argv[2])):
    begun = time.perf_counter()
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - begun)
"""


class FunctionFileError(ValueError):
    """A file of the benchmark does not follow the convention above."""


def read_functions(folder: Path = FOLDER) -> dict[str, tuple[str, str]]:
    """Task and source of every function below a folder, by name.

    Raises:
        FunctionFileError: a file does not say its task, or two have the same name.
    """
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        task, colon, _ = (ast.get_docstring(ast.parse(source)) or "").partition(":")
        if not colon or "/" not in task or " " in task:
            raise FunctionFileError(
                f"'{path}': begin its docstring with its task, such as 'matrix/climbing: ...'"
            )
        if path.stem in found:
            raise FunctionFileError(f"'{path}': there is another function called {path.stem}")
        found[path.stem] = (task, source)
    return found


FUNCTIONS: dict[str, tuple[str, str]] = read_functions()
"""Functions by name, each with its task and its source."""


def bench_check(config: SandboxConfig, *, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """A row per function: how long a full check takes, what it found, and the cost of its child.

    Args:
        config: the sandbox's settings; ``config.examples`` is the number per property.
        repeats: checks of each function.

    Returns:
        Rows with ``function``, ``task``, ``median_s`` and ``p95_s`` of a full check,
        ``overhead_ms`` (a locked child that does nothing, less a bare fork of an equally warmed
        process), ``examples``, ``repeats``, ``igm`` and ``finite`` as the reports have them, and
        the median of each stage in ``seconds``.

    Raises:
        ValueError: ``repeats`` is less than 1.
        RuntimeError: a function is rejected.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: needs at least 1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Sandbox(config) as sandbox:
            overhead = _overhead_s(sandbox)
            # The first check in a process pays for late imports, which no later one does.
            _accepted(sandbox, "sum", *_loaded("sum"))
            return [
                _row(sandbox, name, *_loaded(name), repeats=repeats, overhead=overhead)
                for name in FUNCTIONS
            ]
    finally:
        torch.set_num_threads(threads)


def _loaded(name: str) -> tuple[TaskCard, str]:
    task, source = FUNCTIONS[name]
    return load_card(task), source


def _accepted(sandbox: Sandbox, name: str, card: TaskCard, source: str) -> CheckReport:
    report = sandbox.check(source, card)
    if not report.accepted:
        raise RuntimeError(f"the benchmark function '{name}' is rejected: {report.feedback}")
    return report


def _row(
    sandbox: Sandbox, name: str, card: TaskCard, source: str, *, repeats: int, overhead: float
) -> dict[str, Any]:
    reports = [_accepted(sandbox, name, card, source) for _ in range(repeats)]
    times = sorted(report.elapsed_s for report in reports)
    return {
        "function": name,
        "task": card.name,
        "median_s": statistics.median(times),
        "p95_s": times[min(len(times) - 1, round(0.95 * len(times)))],
        "overhead_ms": 1000 * overhead,
        "examples": sandbox.config.examples,
        "repeats": repeats,
        "igm": reports[0].igm,
        "finite": reports[0].finite,
        "seconds": {
            stage: statistics.median(report.seconds.get(stage, 0.0) for report in reports)
            for stage in reports[0].seconds
        },
    }


def _overhead_s(sandbox: Sandbox) -> float:
    """Median seconds of a locked child that does nothing, beyond those of a bare fork."""
    locked = statistics.median(_empty_child(sandbox) for _ in range(FORKS))
    return locked - statistics.median(_bare_forks())


def _empty_child(sandbox: Sandbox) -> float:
    started = time.perf_counter()
    with sandbox.zygote.child(sandbox.limits) as child:
        child.ask({"kind": "probe", "what": "nothing"})
        child.answer()
    return time.perf_counter() - started


def _bare_forks() -> list[float]:
    """Seconds that a fork and its end take in a process as warm as the sandbox's zygote.

    In a process of its own: forking this one, with its threads and its heap, would measure
    something else.
    """
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-c", _BARE_FORKS, root, str(FORKS)],
        env={"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [float(line) for line in done.stdout.split()]
