"""The machine: resources, jobs, model servers, and the findings of ``qllm doctor``."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qllm.facts.runs import RunFacts, run_columns
from qllm.paths import resolve_home
from qllm.spawn import tail
from qllm.store.schema import Run
from qllm.store.states import ACTIVE
from qllm.store.store import Store
from qllm.tui.jobs import own_process
from qllm.tui.reading.usage import Usage, read_usage

_LOG_LINES = 12
_LOG_BYTES = 16_384


@dataclass(frozen=True)
class Job:
    """An active job."""

    run: int
    kind: str
    task: str
    status: str
    usage: Usage
    rate: float | None
    """Environment steps per second."""


@dataclass(frozen=True)
class JobsQuery:
    """The active jobs."""

    def read(self, store: Store, memory: dict[str, Any]) -> tuple[Job, ...]:
        """Newest first."""
        query = run_columns().where(Run.parent_id.is_(None), Run.status.in_(ACTIVE))
        with store.database.read() as session:
            found: list[Any] = list(session.execute(query.order_by(Run.id.desc())))
        jobs = []
        for row in found:
            run = RunFacts.of(row)
            if run.active:
                usage = read_usage(row, run.status, memory.setdefault(f"run {run.id}", {}))
                jobs.append(Job(run.id, run.kind, run.task, run.status, usage, row.env_steps_per_s))
        return tuple(jobs)


@dataclass(frozen=True)
class ModelLine:
    """A registered model, and its server if one runs."""

    name: str
    backend: str
    where: str
    served: bool = False
    healthy: bool = False
    url: str = ""
    running: int | None = None
    """Replies that are being written."""
    waiting: int | None = None
    tokens_per_s: float | None = None
    """Written since the last look."""
    log: tuple[str, ...] = ()
    """The last lines of its log, as they are."""

    @property
    def state(self) -> str:
        """One word."""
        if self.backend != "vllm":
            return "elsewhere" if "://" in self.where else "in process"
        if not self.served:
            return "stopped"
        return "ready" if self.healthy else "starting"


@dataclass(frozen=True)
class Machine:
    """Resources of the machine and their use."""

    cores: int
    cpu: float
    """Share of all cores in use, 0 to 1."""
    load: float
    memory_used: int
    memory_total: int
    disk_used: int
    disk_total: int
    disk_where: str
    models: tuple[ModelLine, ...] = ()
    models_problem: str = ""


@dataclass
class MachineReader:
    """Reads the machine, in a thread since servers are queried over HTTP."""

    home: Path | None
    _written: dict[str, tuple[float, int]] = field(default_factory=dict)
    """By model, when its tokens were counted last, and how many there were."""

    def read(self) -> Machine:
        import psutil

        memory = psutil.virtual_memory()
        folder = resolve_home(self.home)
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        disk = psutil.disk_usage(str(folder))
        models, problem = self._models()
        return Machine(
            cores=len(os.sched_getaffinity(0)),
            cpu=psutil.cpu_percent() / 100,
            load=os.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            disk_used=disk.used,
            disk_total=disk.total,
            disk_where=str(folder),
            models=models,
            models_problem=problem,
        )

    def _models(self) -> tuple[tuple[ModelLine, ...], str]:
        from models.protocol import ModelError
        from qllm.jobs.models import registry

        try:
            entries = registry().entries()
        except (ModelError, OSError) as error:
            return (), str(error)
        return tuple(self._model(e.name, e.backend, e.where) for e in entries), ""

    def _model(self, name: str, backend: str, where: str) -> ModelLine:
        from models.protocol import ModelError
        from models.vllm.calls import Calls
        from models.vllm.state import read_state
        from qllm.paths import server_dir

        if backend != "vllm":
            return ModelLine(name, backend, where)
        folder = server_dir(name)
        lines = tail(folder / "server.log", _LOG_BYTES)
        log = tuple(line for line in lines if line.strip())[-_LOG_LINES:]
        state = read_state(folder)
        if state is None or not state.is_running():
            return ModelLine(name, backend, where, log=log)
        url = f"http://127.0.0.1:{state.port}/v1"
        calls = Calls(state.port, state.key)
        if not calls.healthy(1.0):
            return ModelLine(name, backend, where, served=True, url=url, log=log)
        try:
            metrics = calls.metrics()
        except ModelError:
            return ModelLine(name, backend, where, True, True, url, log=log)
        rate = self._rate(name, metrics.generation_tokens)
        return ModelLine(
            name, backend, where, True, True, url, metrics.running, metrics.waiting, rate, log
        )

    def _rate(self, name: str, written: int) -> float | None:
        now = time.monotonic()
        before = self._written.get(name)
        self._written[name] = (now, written)
        if before is None or written < before[1] or now <= before[0]:
            return None
        return (written - before[1]) / (now - before[0])


@dataclass(frozen=True)
class Findings:
    """Findings of ``qllm doctor``."""

    checks: tuple[tuple[str, str, str], ...] = ()
    """Name, ``ok``, ``warn`` or ``fail``, and what was found."""
    layers: tuple[tuple[str, str], ...] = ()
    """Isolation layers of a candidate's process, and ``on`` or why not."""
    trials: tuple[tuple[str, bool, str], ...] = ()
    """Attempted escapes, whether the sandbox held, and the messages."""
    problem: str = ""


class Doctor:
    """``qllm doctor`` in a process of its own, since it needs torch and tries the sandbox out."""

    def __init__(self, home: Path | None) -> None:
        words = ["doctor", "--json", *([] if home is None else ["--home", str(home)])]
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 (it is read when the process ends)
        self._process = subprocess.Popen(
            own_process(words),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def found(self) -> Findings | None:
        """Its findings; ``None`` while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._out.seek(0)
        try:
            return read_findings(json.loads(self._out.read()))
        except (ValueError, KeyError, TypeError):
            return Findings(problem=f"qllm doctor ended with exit code {code}")


def read_findings(document: dict[str, Any]) -> Findings:
    """The findings in what ``qllm doctor --json`` prints."""
    return Findings(
        checks=tuple((c["name"], c["status"], c["detail"]) for c in document["checks"]),
        layers=tuple((str(name), str(state)) for name, state in document["layers"].items()),
        trials=tuple((t["tried"], bool(t["held"]), t["said"]) for t in document["trials"]),
    )
