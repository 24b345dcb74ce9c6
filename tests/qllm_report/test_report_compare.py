"""Several runs in one report: the numbers, the settings that differ, and nothing that acts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_fixture import full_report
from test_report_collect import CONFIG, create, train
from test_report_render import HOSTILE, Page, hostile

from marl.statistics import paired_difference
from qllm.cli.main import run as qllm
from qllm.facts.compared import Comparison, compare_runs
from qllm.report.collect import collect
from qllm.report.render import render_comparison
from qllm.store.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs", url=f"sqlite:///{tmp_path / 'runs' / 'qllm.db'}") as store:
        yield store


def comparison(store: Store, algos: dict[str, tuple[float, ...]], **config: Any) -> int:
    """A finished comparison; by algorithm, each seed's last return."""
    run_id = create(store, "compare", config={**CONFIG, **config})
    store.runs.begin(run_id)
    for algo, returns in algos.items():
        for seed, value in enumerate(returns):
            train(store, run_id, algo, seed, [(0, [0.0, 0.0]), (100, [value, value])])
    store.runs.finish(run_id, "finished")
    return run_id


@pytest.fixture
def two(store: Store) -> Comparison:
    first = comparison(store, {"vdn": (1.0, 2.0), "qmix": (4.0, 6.0)})
    second = comparison(store, {"qmix": (9.0, 8.0)}, steps=500)
    return compare_runs(store, [first, second])


def test_entries_are_the_algorithms_of_each_run(two: Comparison) -> None:
    assert [e.label for e in two.entries] == ["#1 vdn", "#1 qmix", f"#{two.runs[1].id} qmix"]
    vdn, qmix, other = two.entries
    assert (vdn.mean, qmix.mean, other.mean) == (1.5, 5, 8.5)
    assert qmix.seeds == 2
    assert qmix.ci is not None
    assert [c.algo for c in two.curves] == [e.label for e in two.entries]


def test_each_is_held_against_the_plain_sum_seed_by_seed(two: Comparison) -> None:
    vdn, qmix, _ = two.entries
    assert two.reference == vdn.label
    assert vdn.difference is None
    assert qmix.difference == paired_difference({0: 4.0, 1: 6.0}, {0: 1.0, 1: 2.0})


def test_another_reference_can_be_chosen(store: Store, two: Comparison) -> None:
    ids, label = [run.id for run in two.runs], two.entries[2].label
    again = compare_runs(store, ids, reference=label)
    assert again.reference == label
    assert again.entries[2].difference is None
    assert again.entries[0].difference is not None
    assert again.entries[0].difference.mean == -7


def test_only_settings_that_differ_are_listed(two: Comparison) -> None:
    assert [(s.path, s.values) for s in two.settings] == [("steps", ("", "500"))]
    assert two.same > 3


def test_runs_on_different_tasks_have_no_difference(store: Store) -> None:
    first = comparison(store, {"vdn": (1.0,)})
    other = store.runs.create(
        "compare", "matrix/climbing-3p", config=CONFIG, command="qllm", versions={}
    )
    store.runs.begin(other)
    train(store, other, "vdn", 0, [(100, [3.0])])
    store.runs.finish(other, "finished")
    found = compare_runs(store, [first, other])
    assert all(entry.difference is None or entry.run == first for entry in found.entries)
    assert any("different tasks" in note for note in found.notes)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"steps": 500}, "trained for different numbers of steps: #1 –, #2 500"),
        ({"preset": "paper"}, "have different presets: #1 –, #2 paper"),
    ],
)
def test_a_comparison_of_unlike_runs_says_so_in_its_first_line(
    store: Store, config: dict[str, Any], told: str
) -> None:
    ids = [comparison(store, {"vdn": (1.0, 2.0)}), comparison(store, {"vdn": (3.0, 5.0)}, **config)]
    found = compare_runs(store, ids)
    assert told in found.notes[0]
    lead = Page(render_comparison(found, [])).words.split("Results")[0]
    assert lead.index(told) < lead.index("With the same seed")
    same = compare_runs(store, [ids[0], comparison(store, {"qmix": (3.0, 5.0)})])
    assert same.unlike == ()


def test_runs_that_have_trained_nothing_are_compared_without_numbers(store: Store) -> None:
    ids = [create(store), create(store, "compare")]
    found = compare_runs(store, ids)
    assert found.entries == ()
    assert "trained anything" in found.notes[0]
    assert "2 runs compared" in render_comparison(found, [])


def test_the_page_shows_numbers_settings_and_what_is_folded(two: Comparison) -> None:
    whole = full_report()
    reports = [replace(whole, run=replace(whole.run, id=run.id)) for run in two.runs]
    page = Page(render_comparison(two, reports))
    for piece in ("2 runs compared", "the reference", "#1 qmix minus #1 vdn", "steps", "500"):
        assert piece in page.words
    assert "1: 1.1" in page.words
    assert "What the coder was told" in page.words
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert {h.removeprefix("#") for h in page.attributes("href")} <= set(ids)


def test_it_names_only_the_runs_that_are_compared(two: Comparison) -> None:
    words = Page(render_comparison(two, [])).words
    ids = {str(run.id) for run in two.runs}
    assert set(re.findall(r"#(\d+)", words)) == ids
    assert set(re.findall(r"[Rr]un (\d+)", words)) <= ids
    assert f"Runs {', '.join(str(run.id) for run in two.runs)} on matrix/climbing" in words


def test_it_says_what_the_reference_is_and_why(store: Store, two: Comparison) -> None:
    words = Page(render_comparison(two, [])).words
    assert "minus that of #1 vdn (the plain sum with most finished seeds)" in words
    ids = [run.id for run in two.runs]
    chosen = compare_runs(store, ids, reference=two.entries[2].label)
    assert chosen.reference_why == "as chosen"
    command = f"qllm report --compare {ids[0]} {ids[1]} --reference '{chosen.reference}'"
    assert command in Page(render_comparison(chosen, [])).words
    others = comparison(store, {"qmix": (1.0, 2.0)})
    found = compare_runs(store, [others, ids[1]])
    assert (found.reference, found.reference_why) == (
        f"#{others} qmix",
        "the one with most finished seeds",
    )
    lone = comparison(store, {"vdn": (1.0,)})
    assert compare_runs(store, [lone, ids[0]]).reference == two.reference


def test_one_seed_each_says_that_several_are_needed_and_how(store: Store) -> None:
    ids = [comparison(store, {algo: (1.0,)}) for algo in ("vdn", "qmix")]
    found = compare_runs(store, ids)
    assert found.notes[0].startswith("One finished seed each")
    assert "--seeds 0,1,2,3,4" in found.notes[0]
    several = comparison(store, {"iql": (1.0, 2.0)})
    mixed = compare_runs(store, [*ids, several])
    assert f"Only one finished seed in #{ids[0]} vdn, #{ids[1]} qmix" in mixed.notes[0]
    assert "ne finished seed" not in " ".join(compare_runs(store, [several]).notes)


def test_runs_without_a_seed_in_common_are_named(store: Store) -> None:
    first = comparison(store, {"vdn": (1.0, 2.0)})
    other = create(store, "compare")
    store.runs.begin(other)
    for seed in (7, 8):
        train(store, other, "qmix", seed, [(100, [3.0])])
    store.runs.finish(other, "finished")
    found = compare_runs(store, [first, other])
    assert found.cautions == (
        f"No seed in common with #{first} vdn, so no difference: #{other} qmix.",
    )
    assert found.cautions[0] in Page(render_comparison(found, [])).words


def test_a_report_without_functions_loads_no_torch(store: Store, two: Comparison) -> None:
    ids = [str(run.id) for run in two.runs]
    code = (
        "import sys; from qllm.cli.main import run; code = run(sys.argv[1:]);"
        " sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    home = ["--home", str(store.home)]
    for words in (["--compare", *ids], ids[:1]):
        done = subprocess.run([sys.executable, "-c", code, "report", *words, *home], check=False)
        assert done.returncode == 0


def test_whatever_a_model_or_a_file_wrote_stays_text_in_a_comparison(two: Comparison) -> None:
    page = Page(render_comparison(hostile(two), [hostile(full_report())]))
    clean = Page(render_comparison(two, [full_report()]))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags} | {"br"}
    assert page.style == clean.style
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert HOSTILE[:8] not in render_comparison(hostile(two), [])


@pytest.mark.parametrize("name", [HOSTILE, "a&b", "$x^2$", "x" * 300, "../../etc", "=1+1", ""])
def test_odd_names_of_algorithms_and_tasks_stay_text(store: Store, name: str) -> None:
    run_id = store.runs.create(
        "compare", f"task{name}", config={f"key{name}": name}, command=f"qllm {name}", versions={}
    )
    store.runs.begin(run_id)
    train(store, run_id, f"algo{name}", 0, [(0, [1.0]), (100, [3.0])])
    store.runs.finish(run_id, "failed", error=f"error{name}")
    found = compare_runs(store, [run_id, comparison(store, {"vdn": (1.0,)})])
    html = render_comparison(found, [collect(store, run.id) for run in found.runs])
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert "onerror" not in {attribute for _, attrs in page.tags for attribute in attrs}
    assert all(href.startswith("#") for href in page.attributes("href"))
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    assert not {"\x1b", "\u202e", "\u200b", "\x00"} & set(html)
    assert found.entries[0].algo in [curve.algo.partition(" ")[2] for curve in found.curves]


def test_the_command_writes_one_file(
    store: Store, two: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [str(run.id) for run in two.runs]
    home = str(tmp_path / "runs")
    assert qllm(["report", "--compare", *ids, "--home", home, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    path = Path(document["report_path"])
    assert path.name == f"compare-{'-'.join(ids)}.html"
    assert path.parent == tmp_path / "runs"
    assert "2 runs compared" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", "1"], "two runs at least"),
        (["--compare", "1", "1"], "two runs at least"),
        (["1", "2"], "only with --compare"),
        (["--compare", "1", "777"], "no run 777"),
        (["--compare", "1", "2", "--reference", "#1 iql"], "choose among '#1 vdn', '#1 qmix'"),
        (["1", "--reference", "#1 vdn"], "goes with --compare"),
    ],
)
def test_wrong_use_is_one_clear_line(
    store: Store,
    two: Comparison,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    assert qllm(["report", *words, "--home", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
