"""The import arrows of the house. Every import statement of every package is looked at: those at
the top, those inside functions, and those that only type checkers see.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("prompts", "sandbox", "models", "synth", "marl", "qllm", "bench")

# Who may import what of ours; a name with a dot allows that module and nothing beside it.
ALLOWED: dict[str, frozenset[str]] = {
    "prompts": frozenset(),
    "models": frozenset(),
    "sandbox": frozenset({"prompts"}),
    "synth": frozenset({"sandbox", "models", "prompts"}),
    "marl": frozenset({"sandbox.graph", "sandbox.runtime", "sandbox.config", "prompts"}),
    "qllm": frozenset({"prompts", "sandbox", "models", "synth", "marl", "bench"}),
    "bench": frozenset(
        {"prompts", "sandbox", "models", "synth", "marl", "qllm.config", "qllm.store", "qllm.spawn"}
        | {"qllm.display", "qllm.errors", "qllm.executors", "qllm.signals"}
    ),
}

# Third parties that only one place may touch, so that nothing else has to load them.
ONLY_IN = {
    "textual": "qllm.tui",
    "tensorboard": "qllm.export.tensorboard",
    "onnxruntime": "marl.onnx_step",
    "submitit": "qllm.executors.submitit",
    "ray": "qllm.executors.ray",
    "wandb": "qllm.trackers.wandb",
    "mlflow": "qllm.trackers.mlflow",
    "optuna": "qllm.sweeps",
}


class Import(NamedTuple):
    """One imported module, with where it stands."""

    path: str
    line: int
    module: str
    """The dotted module, or module and name, that the statement asks for."""


def imports(source: str, path: str) -> Iterator[Import]:
    """Every import of a source file, relative ones resolved by the file's place."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                # "from sandbox import graph" asks for sandbox.graph as "import sandbox.graph" does.
                yield Import(path, node.lineno, f"{base}.{alias.name}")
        elif isinstance(node, ast.Call) and _is_dynamic(node.func):
            for name in node.args[:1]:
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield Import(path, node.lineno, name.value)


def _is_dynamic(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else None
    name = function.id if isinstance(function, ast.Name) else name
    return name in {"import_module", "__import__"}


def _within(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def broken_arrow(found: Import) -> str | None:
    """What is wrong with an import, in a sentence; None when nothing is."""
    own = found.path.split("/")[0]
    where = f"{found.path}:{found.line} imports {found.module}"
    importer = found.path.removesuffix(".py").replace("/", ".")
    for library, place in ONLY_IN.items():
        if _within(found.module, library) and not _within(importer, place):
            return f"{where}: only {place} may import {library}"
    target = found.module.split(".")[0]
    if target not in PACKAGES or target == own:
        return None
    if any(_within(found.module, allowed) for allowed in ALLOWED[own]):
        return None
    may = ", ".join(sorted(ALLOWED[own])) or "nothing of ours"
    return f"{where}: the arrow {own} -> {target} does not exist ({own} may import {may})"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The modules that import each other in a ring, directly or through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            for target in graph.get(ahead.pop(), set()) - seen:
                seen.add(target)
                ahead.append(target)
        return seen

    ahead = {module: reached(module) for module in graph}
    rings = {
        tuple(sorted(other for other in ahead[module] if module in ahead[other]))
        for module in graph
        if module in ahead[module]
    }
    return [list(ring) for ring in sorted(rings)]


def only_for_types(source: str) -> set[int]:
    """The lines below ``if TYPE_CHECKING:``, whose imports never run."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            lines.update(range(node.lineno, (node.body[-1].end_lineno or node.lineno) + 1))
    return lines


def test_no_modules_import_each_other_in_a_ring() -> None:
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in files(package)
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        source = path.read_text(encoding="utf-8")
        for_types = only_for_types(source)
        asked = {
            found.module
            for found in imports(source, path.relative_to(ROOT).as_posix())
            if found.line not in for_types
        }
        whole = {name if name in paths else name.rpartition(".")[0] for name in asked}
        graph[module] = (whole & paths.keys()) - {module}
    assert sum(map(len, graph.values())) > len(graph), "hardly any import was found"
    assert cycles(graph) == []


def test_a_planted_ring_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert cycles(graph) == [["b", "c"]]


def files(package: str) -> list[Path]:
    """The Python files of a package."""
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    assert files(package), f"the package {package} has no files"
    broken = []
    for path in files(package):
        relative = path.relative_to(ROOT).as_posix()
        for found in imports(path.read_text(encoding="utf-8"), relative):
            complaint = broken_arrow(found)
            if complaint:
                broken.append(complaint)
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("path", "source", "line"),
    [
        ("marl/trainer.py", "import torch\nfrom sandbox.checker import Sandbox", 2),
        ("marl/trainer.py", "from sandbox import checker", 1),
        ("marl/trainer.py", "import sandbox", 1),
        ("marl/trainer.py", "def f():\n    import synth.loop", 2),
        ("marl/envs/base.py", "from ...qllm import store", 1),
        ("models/replay.py", "if TYPE_CHECKING:\n    from prompts.cards import TaskCard", 2),
        ("prompts/render.py", "from sandbox.names import names_for_prompt", 1),
        ("sandbox/checker.py", "import models.protocol as m", 1),
        ("synth/loop.py", "from marl.statistics import iqm", 1),
        ("synth/loop.py", "importlib.import_module('qllm.store')", 1),
        ("bench/env.py", "from qllm.units import count", 1),
        ("qllm/cli/main.py", "from textual.app import App", 1),
        ("marl/trainer.py", "import textual", 1),
    ],
)
def test_a_planted_bad_import_is_caught(path: str, source: str, line: int) -> None:
    complaints = [broken_arrow(found) for found in imports(source, path)]
    assert len([c for c in complaints if c]) == 1
    assert any(c and c.startswith(f"{path}:{line} ") for c in complaints)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("marl/trainer.py", "from sandbox.graph import CreditGraph\nimport sandbox.runtime"),
        ("marl/trainer.py", "from sandbox import config\nfrom prompts.cards import TaskCard"),
        ("marl/envs/matrix.py", "from ..means import Mean\nfrom .base import Env"),
        ("synth/loop.py", "import models.protocol, sandbox.report, prompts.cards"),
        ("qllm/jobs/train.py", "from marl import trainer\nfrom bench.env import measure"),
        ("qllm/tui/app.py", "from textual.app import App"),
        ("prompts/cards.py", "import modelscope, qllm_extras"),
    ],
)
def test_a_good_import_is_let_through(path: str, source: str) -> None:
    assert [broken_arrow(found) for found in imports(source, path)] == [None] * len(
        list(imports(source, path))
    )


def test_the_page_on_architecture_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_.0-9]*)`", page))
    assert len(named) > 25
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_long_files_say_why() -> None:
    for path in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 450, f"{path}: split it"
        if len(lines) > 400:
            docstring = ast.get_docstring(ast.parse("\n".join(lines))) or ""
            assert re.search(r"above\s+400\s+lines", docstring), f"{path}: say why, or split it"
