"""``qllm doctor``: checks of this machine, each by trying."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from qllm.output import echo

Finding = dict[str, Any]

OPTIONAL = {
    "vllm": "serves coder and evaluator models (pip install -e '.[vllm]', on a GPU machine)",
    "tensorboard": "log=tensorboard (pip install -e '.[tensorboard]')",
    "wandb": "log=wandb (pip install -e '.[wandb]')",
    "mlflow": "log=mlflow (pip install -e '.[mlflow]')",
}
_GLYPH = {"ok": "✓", "warn": "!", "fail": "✗"}


def examine(home: str | os.PathLike[str] | None, vllm_python: str | None = None) -> dict[str, Any]:
    """All findings: ``checks`` (name, status ok/warn/fail, detail), ``layers`` and ``trials``.

    Args:
        home: the folder of the runs; None for the usual one.
        vllm_python: Python with vLLM, for registered models that name none.
    """
    checks: list[Finding] = []
    for look in (_python, _torch, _compiler):
        checks.append(look())
    checks.append(_store(home))
    layers, trials, sandbox = _sandbox()
    checks.append(sandbox)
    checks += [*_optional(), *_offline(vllm_python), _football()]
    return {"checks": checks, "layers": layers, "trials": trials}


def healthy(findings: dict[str, Any]) -> bool:
    """Whether nothing failed (what is merely missing or slower only warns)."""
    return all(c["status"] != "fail" for c in findings["checks"])


def show(findings: dict[str, Any]) -> None:
    """The findings on stdout, for a person."""
    for c in findings["checks"]:
        echo(f"{_GLYPH[c['status']]} {c['name']:<12} {c['detail']}")
    if findings["layers"]:
        echo("", "Isolation layers of a candidate's process:")
        for name, state in findings["layers"].items():
            echo(f"  {_GLYPH['ok' if state == 'on' else 'warn']} {name:<16} {state}")
    if findings["trials"]:
        echo("", "Tried from inside it:")
        for t in findings["trials"]:
            glyph = _GLYPH["ok" if t["held"] else "fail"]
            echo(f"  {glyph} {t['tried']:<24} {t['said']}")


def _finding(name: str, status: str, detail: str) -> Finding:
    return {"name": name, "status": status, "detail": detail}


def _python() -> Finding:
    version = platform.python_version()
    good = (3, 11) <= tuple(map(int, version.split(".")[:2])) < (3, 14)
    hint = "" if good else "; QLLM needs 3.11 to 3.13"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return _finding("python", "ok" if good else "fail", f"{version} on {machine}{hint}")


def _torch() -> Finding:
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return _finding("torch", "ok", f"{torch.__version__}; {', '.join(found)}")
    detail = f"{torch.__version__}; no GPU, everything runs on the CPU"
    return _finding("torch", "ok", detail)


def _compiler() -> Finding:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler:
        return _finding("compiler", "ok", f"{compiler} (torch.compile on the CPU)")
    return _finding("compiler", "warn", "no C++ compiler: torch.compile on the CPU will not work")


def _store(home: str | os.PathLike[str] | None) -> Finding:
    from qllm.paths import database_url, resolve_home
    from qllm.store.errors import StoreError, StoreMissingError, redact
    from qllm.store.store import open_store

    folder = resolve_home(None if home is None else str(home))
    where = redact(database_url(folder))
    try:
        with open_store(folder, readonly=True) as store:
            return _finding("store", "ok", f"{where}; {len(store.runs.listed())} runs")
    except StoreMissingError:
        return _finding("store", "ok", f"{where}; made with the first run")
    except StoreError as error:
        return _finding("store", "fail", str(error))


_SUM = "def tfcaf(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n"


def _sandbox() -> tuple[dict[str, str], list[Finding], Finding]:
    from prompts.cards import load_card
    from sandbox.checker import Sandbox, SandboxUnavailable
    from sandbox.config import SandboxConfig
    from sandbox.trials import try_everything

    try:
        with Sandbox(SandboxConfig(allow_weaker=True)) as box:
            layers = box.layers()
            trials = [vars(t) for t in try_everything(box)]
            plain = box.check(_SUM, load_card("matrix/climbing"))
    except SandboxUnavailable as error:
        return {}, [], _finding("sandbox", "fail", str(error))
    broken = [t["tried"] for t in trials if not t["held"]]
    missing = [name for name, state in layers.items() if state != "on"]
    if broken:
        detail = f"a candidate could {', '.join(broken)}: do not check sources you do not trust"
        return layers, trials, _finding("sandbox", "fail", detail)
    if not plain.accepted:
        detail = f"it refuses even the plain sum of the agents' values: {plain.feedback}"
        return layers, trials, _finding("sandbox", "fail", " ".join(detail.split())[:300])
    if missing:
        detail = f"holds in every trial; layers not live: {', '.join(missing)}"
        return layers, trials, _finding("sandbox", "warn", detail)
    return layers, trials, _finding("sandbox", "ok", "every layer is live and held in every trial")


def _optional() -> list[Finding]:
    found = []
    for name, purpose in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            found.append(_finding(name, "warn", f"not installed: {purpose}"))
        else:
            found.append(_finding(name, "ok", _version(name)))
    return found


def _offline(python: str | None) -> list[Finding]:
    """Whether the vLLM servers of registered models start without a network."""
    from models.config import ModelsConfig
    from models.protocol import ModelError
    from models.vllm.traps import traps_of
    from qllm.jobs.models import registry

    try:
        entries = [entry for entry in registry().entries() if entry.backend == "vllm"]
    except (ModelError, OSError) as error:
        return [_finding("models", "warn", str(error))]
    if python is not None and not entries:
        detail = "no model with backend vllm is registered, so --python was not looked at"
        return [_finding("offline", "warn", detail)]
    config, clear = ModelsConfig(vllm_python=python), []
    names: dict[str, list[str]] = {}  # of the models that share a trap
    for entry in entries:
        try:
            traps = traps_of(entry, config, os.environ, Path.home())
        except ModelError as error:
            traps = [str(error)]
        for trap in traps:
            names.setdefault(trap, []).append(entry.name)
        clear += [] if traps else [entry.name]
    found = [_finding("offline", "warn", f"{', '.join(of)}: {trap}") for trap, of in names.items()]
    if clear:
        detail = f"{', '.join(clear)}: nothing is known that the server would fetch"
        found.append(_finding("offline", "ok", detail))
    return found


def _football() -> Finding:
    """Whether football can be played, by playing ten steps of it."""
    from contextlib import closing

    import torch

    from marl.envs.football.engine import VERSION
    from marl.envs.football.install import NotInstalledError, football_python
    from marl.envs.registry import make_env
    from marl.errors import SettingsError, TrainingError
    from prompts.cards import load_card

    try:
        python = football_python()
    except NotInstalledError as error:
        return _finding("football", "warn", str(error))
    card = load_card("football/pass-and-shoot")
    try:
        with closing(make_env(card, 1, 0)) as env:
            env.reset()
            for _ in range(10):
                env.step(torch.zeros(1, card.n_agents, dtype=torch.int64))
    except (SettingsError, TrainingError) as error:
        return _finding("football", "fail", f"{error}; `make football` builds it")
    return _finding("football", "ok", f"ten steps played by gfootball {VERSION} of {python}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "installed"
