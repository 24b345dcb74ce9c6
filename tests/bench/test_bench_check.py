"""The hand-written credit functions: all accepted, all families, and the rows that they give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.check as module
from bench.check import FUNCTIONS, FunctionFileError, bench_check, read_functions
from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig

AT_LEAST = {
    "matrix/": 4, "lbf/": 6, "mpe/spread-": 6, "mpe/tag": 3, "mpe/adversary": 3, "football/": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def quick_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(examples=10)) as box:
        yield box


def test_the_set_covers_all_families_with_a_large_one_among_them() -> None:
    tasks = [task for task, _ in FUNCTIONS.values()]
    for family, number in AT_LEAST.items():
        assert sum(task.startswith(family) for task in tasks) >= number, family
    assert len(FUNCTIONS) >= 24
    assert max((load_card(t).n_agents, load_card(t).state_dim) for t in tasks) == (6, 216)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_hand_written_function_is_accepted(name: str, quick_sandbox: Sandbox) -> None:
    task, source = FUNCTIONS[name]
    report = quick_sandbox.check(source, load_card(task))
    assert report.accepted, report.feedback
    assert report.igm in ("by-gate", "proved", "proved-over-reals")
    assert "unused_columns" not in {p.name for p in report.properties if p.status == "warn"}


def test_both_forms_occur_in_every_family() -> None:
    forms: dict[str, set[bool]] = {}
    for task, source in FUNCTIONS.values():
        entry = [line for line in source.splitlines() if line.startswith("def ")][-1]
        family = next(f for f in AT_LEAST if task.startswith(f))
        forms.setdefault(family, set()).add("qs" in entry)
    assert forms == {family: {True, False} for family in AT_LEAST}


def test_rows_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: FUNCTIONS[name] for name in ("sum", "weights")}
    monkeypatch.setattr(module, "FUNCTIONS", few)
    rows = bench_check(SandboxConfig(examples=5), repeats=2)
    assert [(row["function"], row["task"]) for row in rows] == [
        ("sum", "matrix/climbing"),
        ("weights", "matrix/climbing"),
    ]
    for row in rows:
        assert 0 < row["median_s"] <= row["p95_s"]
        assert 0 < sum(row["seconds"].values()) <= row["p95_s"] * 2
        assert (row["examples"], row["repeats"]) == (5, 2)
        assert row["finite"] == "proved"
        assert row["overhead_ms"] < 1_000
    assert [row["igm"] for row in rows] == ["proved", "by-gate"]


def test_repeats_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bench_check(SandboxConfig(), repeats=0)


@pytest.mark.parametrize("docstring", ["", '"""no task here."""', '"""two words: an idea."""'])
def test_a_file_that_does_not_say_its_task_is_refused(tmp_path: Path, docstring: str) -> None:
    (tmp_path / "one.py").write_text(f"{docstring}\ndef tfcaf(state):\n    return state, state\n")
    with pytest.raises(FunctionFileError, match=r"one.py.*begin its docstring with its task"):
        read_functions(tmp_path)


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text('"""matrix/climbing: an idea."""\n')
    with pytest.raises(FunctionFileError, match="another function called one"):
        read_functions(tmp_path)
