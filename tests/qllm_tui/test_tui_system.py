"""The machine, jobs, model servers, what works: read, steered, and how it looks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable
from tui_driving import drive, seen, until
from tui_store import IDS

from models.entries import ModelEntry
from models.registry import ModelRegistry
from models.vllm.processes import started_at
from models.vllm.state import ServerState, write_state
from qllm.jobs import models
from qllm.paths import server_dir
from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.jobs import start_job
from qllm.tui.reading.system import (
    Doctor,
    Findings,
    JobsQuery,
    Machine,
    MachineReader,
    ModelLine,
    read_findings,
)
from qllm.tui.reading.usage import Usage
from qllm.tui.screens import system
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.system import SystemScreen

SIZES = [(120, 36), (80, 24), (60, 15)]

FINDINGS = Findings(
    checks=(
        ("python", "ok", "3.11.7 on Linux x86_64, 2 processors"),
        ("torch", "ok", "2.13.0; NVIDIA H100"),
        ("vllm", "warn", "not installed: [bold]serves[/bold] models"),
        ("store", "fail", "it is locked"),
    ),
    layers=(("seccomp", "on"), ("landlock", "the kernel has none")),
    trials=(("read a file", True, "refused"), ("open a socket", False, "it\x1b[31m could")),
)
GIB = 2**30
MACHINE = Machine(
    cores=8,
    cpu=0.34,
    load=2.7,
    memory_used=40 * GIB,
    memory_total=128 * GIB,
    disk_used=92 * GIB,
    disk_total=100 * GIB,
    disk_where="/data",
    models=(
        ModelLine("qwen", "vllm", "/models/qwen", log=("an old line",)),
        ModelLine(
            "coder",
            "vllm",
            "/models/coder",
            served=True,
            healthy=True,
            url="http://127.0.0.1:8123/v1",
            running=3,
            waiting=1,
            tokens_per_s=812.0,
            log=("INFO ready", "WARN [red]slow[/red] \x1b[2J"),
        ),
        ModelLine("small", "transformers", "/models/small"),
    ),
)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """The store's home, on a machine that does not change, whose doctor has spoken."""
    monkeypatch.setattr(system, "_found", {str(home): FINDINGS})
    monkeypatch.setattr(MachineReader, "read", lambda self: MACHINE)
    return home


async def opened(app: QllmApp, pilot: Pilot[None]) -> SystemScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = SystemScreen()
    await app.push_screen(screen)
    await until(pilot, lambda: screen.machine is not None and bool(screen._jobs))
    await pilot.pause()
    return screen


def told(app: QllmApp, words: str) -> bool:
    """Whether a notification says this."""
    return any(words in note.message for note in app._notifications)


def test_the_jobs_that_work_are_read_with_what_they_use(home: Path) -> None:
    with open_store(home, readonly=True) as store:
        jobs = {job.run: job for job in JobsQuery().read(store, {})}
    assert set(jobs) == {IDS.paused, IDS.waiting, IDS.running}
    assert jobs[IDS.paused].status == "paused"
    usage = jobs[IDS.running].usage
    assert (usage.host, usage.here) == ("elsewhere", False)


def test_a_job_of_this_machine_shows_cores_and_memory(tmp_path: Path) -> None:
    memory: dict[str, Any] = {}
    with open_store(tmp_path) as store:
        run = store.runs.create("train", "matrix/climbing", config={}, command="", versions={})
        store.runs.begin(run)
        JobsQuery().read(store, memory)
        until_ = time.process_time() + 0.2
        while time.process_time() < until_:
            pass
        (job,) = JobsQuery().read(store, memory)
    assert isinstance(job.usage, Usage)
    assert job.usage.pid == os.getpid()
    assert job.usage.host == socket.gethostname()
    assert job.usage.memory is not None
    assert job.usage.memory > 10_000_000
    assert job.usage.cpu is not None
    assert job.usage.cpu > 0.0


def test_the_machine_says_what_it_has(tmp_path: Path) -> None:
    machine = MachineReader(tmp_path / "not" / "there").read()
    assert machine.cores >= 1
    assert 0 < machine.memory_used < machine.memory_total
    assert 0 < machine.disk_used < machine.disk_total
    assert machine.disk_where == str(tmp_path)
    assert machine.models == ()


class _Metrics(BaseHTTPRequestHandler):
    written = 1_000.0

    def do_GET(self) -> None:
        type(self).written += 500
        lines = (
            "vllm:num_requests_running 2.0",
            "vllm:num_requests_waiting 1.0",
            f"vllm:generation_tokens_total {self.written}",
        )
        body = "\n".join(lines).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registered model whose server this very process is."""
    registry = ModelRegistry(tmp_path / "models.yaml")
    registry.add(ModelEntry(name="coder", backend="vllm", path="/models/coder"))
    registry.add(ModelEntry(name="small", backend="transformers", path="/models/small"))
    monkeypatch.setattr(models, "models_file", lambda: registry.file)
    monkeypatch.setenv("QLLM_SERVERS", str(tmp_path / "servers"))
    folder = server_dir("coder")
    folder.mkdir(parents=True)
    (folder / "server.log").write_text("\n".join(f"line {i}" for i in range(40)))
    me, started = os.getpid(), started_at(os.getpid())
    assert started is not None
    with HTTPServer(("127.0.0.1", 0), _Metrics) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_port
        write_state(folder, ServerState("x", "coder", port, "k", me, started, me, started, True))
        yield f"http://127.0.0.1:{port}/v1"
        server.shutdown()


def test_a_server_is_seen_with_its_speed_and_the_end_of_its_log(
    served: str, tmp_path: Path
) -> None:
    reader = MachineReader(tmp_path)
    first = reader.read().models[0]
    again = reader.read().models[0]
    assert (first.state, first.url, first.tokens_per_s) == ("ready", served, None)
    assert (again.running, again.waiting) == (2, 1)
    assert again.tokens_per_s is not None
    assert again.tokens_per_s > 0
    assert again.log[-1] == "line 39"
    assert len(again.log) == 12
    assert reader.read().models[1].state == "in process"


def test_a_server_that_ended_is_stopped(served: str, tmp_path: Path) -> None:
    state = ServerState("x", "coder", 1, "k", 2**22 - 3, 1.0, 2**22 - 3, 1.0, True)
    write_state(server_dir("coder"), state)
    assert MachineReader(tmp_path).read().models[0].state == "stopped"


def test_a_broken_registry_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("coder: [")
    monkeypatch.setattr(models, "models_file", lambda: file)
    assert str(file) in MachineReader(tmp_path).read().models_problem


def test_findings_are_read_from_what_doctor_prints() -> None:
    found = read_findings(
        {
            "checks": [{"name": "torch", "status": "ok", "detail": "2.13"}],
            "layers": {"seccomp": "on"},
            "trials": [{"tried": "read a file", "held": True, "said": "refused"}],
        }
    )
    assert found.checks == (("torch", "ok", "2.13"),)
    assert found.layers == (("seccomp", "on"),)
    assert found.trials == (("read a file", True, "refused"),)


@pytest.mark.slow
def test_the_doctor_is_asked_in_a_process_of_its_own(tmp_path: Path) -> None:
    doctor = Doctor(tmp_path)
    until_ = time.monotonic() + 100
    while (found := doctor.found()) is None:
        assert time.monotonic() < until_
        time.sleep(0.1)
    assert found.problem == ""
    assert "torch" in {name for name, _, _ in found.checks}
    assert found.layers


def test_everything_is_shown_and_nothing_of_it_acts(still: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        shown = seen(screen)
        for piece in (
            "34%",
            "8 cores",
            "✓ torch",
            "! vllm",
            "[bold]serves[/bold]",
            "✗ store",
            "landlock",
            "held 1 of 2",
            "it␛[31m could",
            "▶ ready",
            "■ stopped",
            "in process",
            "812",
        ):
            assert piece in shown, piece
        assert "\x1b" not in shown

    drive(still, steps)


def test_the_log_is_that_of_the_model_under_the_cursor(still: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#models", DataTable).focus()
        assert "an old line" in seen(screen)
        await pilot.press("down")
        await until(pilot, lambda: "WARN [red]slow[/red] ␛[2J" in seen(screen))

    drive(still, steps)


def test_servers_are_started_and_stopped_by_jobs_of_their_own(
    still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, ...]] = []

    def noted(words: Any, home: Path | None) -> Any:
        started.append(tuple(words))
        return start_job(["--version"], home)

    monkeypatch.setattr("qllm.tui.control.start_job", noted)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#models", DataTable).focus()
        await pilot.press("s", "down", "x", "down", "s")
        await until(
            pilot, lambda: any("no server of ours" in n.message for n in app._notifications)
        )
        await until(pilot, lambda: any("qwen: qllm " in n.message for n in app._notifications))

    drive(still, steps)
    assert started == [("models", "serve", "qwen"), ("models", "stop", "coder")]


def test_enter_opens_the_job_and_d_asks_the_doctor_again(
    still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    class Again:
        def __init__(self, home: Path | None) -> None:
            asked.append(home)

        def found(self) -> Findings:
            return Findings(problem="it came to nothing")

    monkeypatch.setattr(system, "Doctor", Again)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("d")
        await until(pilot, lambda: "✗ it came to nothing" in seen(screen))
        screen.query_one("#jobs", DataTable).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))

    drive(still, steps)
    assert asked == [still]


def test_without_a_store_the_machine_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_found", {str(tmp_path): FINDINGS})

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        screen = SystemScreen()
        await app.push_screen(screen)
        await until(pilot, lambda: screen.machine is not None)
        await until(pilot, lambda: "none is running" in seen(screen))

    drive(tmp_path, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_how_it_looks(still: Path, snap_compare: Any, size: tuple[int, int]) -> None:
    async def before(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, QllmApp)
        await opened(pilot.app, pilot)

    app = QllmApp(still)
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=before)
