"""Run every attack against the language wall, the operating-system wall, and both.

``python tests/sandbox/attacks/attack_runner.py [NAME ...]`` prints the table as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
for folder in (ROOT, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import psutil  # noqa: E402
from sandbox_small_graphs import judge_here  # noqa: E402

from prompts.cards import load_card  # noqa: E402
from sandbox.config import GateConfig, SandboxConfig  # noqa: E402
from sandbox.graph import GraphError  # noqa: E402
from sandbox.isolation import host  # noqa: E402
from sandbox.isolation.lockdown import Limits  # noqa: E402
from sandbox.reading import read_graph  # noqa: E402

Wall = Literal["policy", "system", "both"]
WALLS: tuple[Wall, ...] = ("policy", "system", "both")
SECRET = "s3cret-c4nary"
BOMB_CPU_S, CPU_S = 1.0, 6.0
MEMORY_MB = 512
CARD = load_card("matrix/climbing")
TASK = {
    "kind": "check",
    "n_agents": CARD.n_agents,
    "state_dim": CARD.state_dim,
    "schema_hash": CARD.schema_hash(),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one attack at one wall."""

    attack: str
    wall: Wall
    ended: str
    """How the child ended: a rule, ``exported`` or ``finished``."""
    effects: tuple[str, ...]
    """What the attack brought about that it must not."""
    seconds: float
    peak_mb: int | None
    """Most memory the child held, where it was still there to be asked."""


def attacks() -> dict[str, str]:
    """Every attack's source by its name, with places for what it aims at."""
    found = {p.stem: p.read_text(encoding="utf-8") for p in sorted(HERE.glob("*.attack"))}
    for path in sorted(HERE.glob("*.py")):
        if path.stem.startswith("bomb_"):
            spec = importlib.util.spec_from_file_location(f"attack_source_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found[path.stem] = module.source()
    return dict(sorted(found.items()))


def _one_port() -> tuple[socket.socket, socket.socket, int]:
    """A UDP and a TCP socket on the same free port, which another program may take in between."""
    for _ in range(50):
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.bind(("127.0.0.1", 0))
        port = tcp.getsockname()[1]
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(("127.0.0.1", port))
            tcp.listen()
        except OSError:
            tcp.close()
            udp.close()
            continue
        return udp, tcp, port
    raise RuntimeError("no port is free for both UDP and TCP")


class Target:
    """Things outside that an attack must not reach: files, ports, a process."""

    def __init__(self, folder: Path, victim: subprocess.Popen[bytes]) -> None:
        self.folder, self.victim = folder, victim
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "secret.txt").write_text(SECRET[:12])
        (folder / "secret.txt").chmod(0o666)
        (folder / "payload.pt").write_bytes(
            b"cos\nmkdir\n(S'" + str(folder / "made").encode() + b"'\ntR."
        )
        self.before = self._files()
        self.udp, self.tcp, self.port = _one_port()
        for s in (self.udp, self.tcp):
            s.setblocking(False)

    def _files(self) -> dict[str, bytes | None]:
        return {
            p.name: p.read_bytes() if p.is_file() else None for p in sorted(self.folder.iterdir())
        }

    def aim(self, source: str) -> str:
        """The source with this target filled in."""
        for place, value in (
            ("@DIR@", str(self.folder)),
            ("@PORT@", str(self.port)),
            ("@VICTIM@", str(self.victim.pid)),
        ):
            source = source.replace(place, value)
        return source

    def effects(self) -> list[str]:
        """What happened to it."""
        found = []
        after = self._files()
        if after != self.before:
            names = sorted(k for k in after.keys() | self.before.keys())
            found += [f"file {k}" for k in names if after.get(k, 0) != self.before.get(k, 0)]
        for kind, s in (("udp", self.udp), ("tcp", self.tcp)):
            try:
                s.recv(64) if kind == "udp" else s.accept()
                found.append(f"{kind} reached")
            except OSError:
                pass
        if self.victim.poll() is not None:
            found.append("another process was ended")
        return found

    def close(self) -> None:
        """Give the ports back."""
        self.udp.close()
        self.tcp.close()


class Cages:
    """A zygote for each wall and one victim, shared by all attacks."""

    def __init__(self, walls: tuple[Wall, ...] = WALLS) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="attacks-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.victim = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            env={"SECRET": SECRET},
        )
        with ThreadPoolExecutor() as pool:
            self.zygotes = dict(zip(walls, pool.map(_zygote, walls), strict=True))

    def close(self) -> None:
        """End every process and remove every file."""
        for zygote in self.zygotes.values():
            zygote.close()
        self.victim.kill()
        self.victim.wait()
        self._folder.cleanup()

    def run(self, name: str, source: str, wall: Wall, folder: str | None = None) -> Outcome:
        """Run one attack against one wall."""
        zygote = self.zygotes[wall]
        target = Target(self.folder / (folder or f"{name}-{wall}"), self.victim)
        cpu_s = BOMB_CPU_S if name.startswith("bomb") else CPU_S
        answer: dict[str, Any] = {}
        peak: int | None = None
        started = time.perf_counter()
        try:
            with zygote.child(Limits(MEMORY_MB, cpu_s)) as child:
                code = target.aim(source).encode("utf-8", "replace").decode()
                child.ask({**TASK, "code": code})
                try:
                    answer = child.answer()
                finally:
                    peak = _peak_mb(child.pid)
            ended = _ended(answer, wall)
        except host.ChildFailure as failure:
            ended = failure.rule
        seconds = time.perf_counter() - started
        effects = target.effects()
        target.close()
        if isinstance(answer, dict):
            effects += [str(e) for e in answer.get("effects", [])]
            if SECRET[:12] in str(answer) or "EFFECT" in str(answer.get("loot")):
                effects.append(f"loot: {answer.get('loot')}")
        if not zygote.alive:
            effects.append("the zygote died")
        return Outcome(name, wall, ended, tuple(effects), round(seconds, 3), peak)

    def leftovers(self) -> list[str]:
        """Processes that an attack left behind."""
        found = []
        for wall, zygote in self.zygotes.items():
            if zygote.alive:
                found += [f"{wall}: {p}" for p in psutil.Process(zygote.pid).children(True)]
        return found


def _program(kind: str) -> str:
    folders = [str(ROOT), str(HERE)]
    return f"import sys; sys.path[:0] = {folders}; import attack_cages; attack_cages.main({kind!r})"


class PolicyZygote(host.Zygote):
    """Children under the language wall alone, watched."""

    _program = _program("policy")


class SystemZygote(host.Zygote):
    """Children in all layers of the cage, running a source as ordinary Python."""

    _program = _program("system")


class BareZygote(host.Zygote):
    """Children in no layer at all, which claim that all are on, running ordinary Python."""

    _program = _program("bare")


def _zygote(wall: Wall) -> host.Zygote:
    if wall == "both":
        return host.Zygote()
    return {"policy": PolicyZygote, "system": SystemZygote}[wall]()


def _peak_mb(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    except OSError:
        pass
    return None


def _ended(answer: Any, wall: Wall) -> str:
    if not isinstance(answer, dict) or (wall == "system" and "said" not in answer):
        return "a forged reply"
    if wall == "system":
        return f"finished: {answer['said']}" if answer["said"] else "finished"
    findings = answer.get("findings")
    if findings:
        return f"{findings[0]['rule']}: {findings[0]['message'][:120]}"
    return "exported" if wall == "policy" else _judged(answer["graph"])


def _judged(graph: Any) -> str:
    """What the parent says about a graph that came out of the cage."""
    config = SandboxConfig(examples=2)
    try:
        verdict = judge_here(read_graph(graph), CARD, GateConfig(), config)
    except GraphError as error:
        return f"{error.rule}: {str(error)[:120]}"
    return f"properties.{verdict.failures[0].name}" if verdict.failures else "accepted"


def run_all(cages: Cages, names: list[str] | None = None, threads: int = 4) -> list[Outcome]:
    """Run attacks (all by default) against every wall."""
    sources = attacks()
    jobs = [(n, sources[n], w) for n in (names or sources) for w in cages.zygotes]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda job: cages.run(*job), jobs))


@contextmanager
def cages(walls: tuple[Wall, ...] = WALLS) -> Iterator[Cages]:
    """Cages that are gone afterwards."""
    made = Cages(walls)
    try:
        yield made
    finally:
        made.close()


def run_graphs() -> list[Outcome]:
    """Malformed graphs, as a child that is in an attacker's hands might send them."""
    import test_sandbox_graph_hostile as hostile

    table = []
    for path, values in hostile.BAD.items():
        for i, value in enumerate(values):
            started = time.perf_counter()
            try:
                graph = read_graph(hostile.with_(path, value))
                judge_here(graph, hostile.CARD, GateConfig(), hostile.FEW)
                ended, effects = "accepted", ("a malformed graph was accepted",)
            except GraphError as error:
                ended, effects = f"{error.rule}: {str(error)[:120]}", ()
            name = f"graph_{path.replace('/', '.')}_{i}"
            seconds = round(time.perf_counter() - started, 3)
            table.append(Outcome(name, "both", ended, effects, seconds, None))
    return table


if __name__ == "__main__":
    with cages() as opened:
        table = run_all(opened, sys.argv[1:] or None)
        table += [] if sys.argv[1:] else run_graphs()
        json.dump([asdict(o) for o in table], sys.stdout, indent=1)
        for left in opened.leftovers():
            print("LEFT BEHIND", left, file=sys.stderr)
