"""The picture of a function at work in a run's report, and what leaves it out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from report_fixture import full_report

from prompts.cards import load_card
from qllm.report.credit_episode import credit_episode
from qllm.report.render import render
from qllm.store.store import Store, open_store
from sandbox.certificate import save_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import GateConfig

TASK = "matrix/climbing"
SOURCE = "def tfcaf(state):\n    return 1.0 + state[:, 0:2] ** 2, state[:, 0:1]\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(tmp_path / "runs", url=f"sqlite:///{tmp_path / 'qllm.db'}") as opened:
        yield opened


@pytest.fixture
def run_id(store: Store, warm_sandbox: Sandbox) -> int:
    """A run that was given a function, with its certificate in its folder."""
    card = load_card(TASK)
    report = warm_sandbox.check(SOURCE, card, GateConfig(), ())
    given = {"tfcaf": "credit.tfcaf.json", "name": "f.py", "graph_hash": report.graph_hash}
    config = {"task": TASK}
    number = store.runs.create(
        "train", TASK, config=config, command="qllm train", versions={}, inputs=given
    )
    folder = store.make_run_dir(number)
    save_tfcaf(folder, report, card).rename(folder / "credit.tfcaf.json")
    return number


def test_the_picture_and_its_words_stand_in_the_page() -> None:
    html = render(full_report())
    section = html[html.index('<section id="at-work">') :]
    section = section[: section.index("</section>")]
    assert '<svg class="whole"' in section
    assert 'aria-label="Credit weights along an episode of matrix/climbing' in section
    assert "Played: greedy qllm agents of run 13" in section
    assert "style=" not in section
    assert "#0072b2" not in section  # colours are classes, so that a dark page can change them
    assert '<a href="#at-work">' in html
    without = render(replace(full_report(), episode=None))
    assert "at-work" not in without


def test_a_function_without_trained_agents_is_shown_under_random_play(
    store: Store, run_id: int
) -> None:
    episode = credit_episode(store, store.runs.family(run_id))
    assert episode is not None
    assert "random play" in episode.policy
    assert episode.function == "f.py"
    assert episode.linear_in_q
    assert [s.name for s in episode.slices] == ["last_action"]


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"graph": {}}',
        "[" * 100_000,
        "a pipe",
        '{"graph": {"nodes": "x"}, "claims": 3}',
        "gone",
        "huge",
    ],
)
def test_a_certificate_that_cannot_be_used_leaves_the_picture_out(
    store: Store, run_id: int, damage: str
) -> None:
    path = store.run_dir(run_id) / "credit.tfcaf.json"
    if damage == "gone":
        path.unlink()
    elif damage == "a pipe":
        path.unlink()
        os.mkfifo(path)
    elif damage == "huge":
        text = path.read_text()
        document = json.loads(text)
        graph = json.dumps(document["graph"])
        assert "2" in graph
        path.write_text(json.dumps({**document, "graph": json.loads(graph.replace("2", "999999"))}))
    else:
        path.write_text(damage)
    assert credit_episode(store, store.runs.family(run_id)) is None


def test_a_run_without_a_function_has_no_picture(store: Store) -> None:
    number = store.runs.create("train", TASK, config={"task": TASK}, command="x", versions={})
    assert credit_episode(store, store.runs.family(number)) is None
