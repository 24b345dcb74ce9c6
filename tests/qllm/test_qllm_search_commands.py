"""Replay, resume, approval, starting points and prompts, by command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from qllm.cli.main import run
from qllm.store.schema import Candidate, ChatMessage
from qllm.store.store import open_store
from synth.sampler import Sampler

pytestmark = pytest.mark.long

TASK = "matrix/climbing"
SEARCH = [
    "evaluation.every=200",
    "evaluation.episodes=4",
    "sandbox.examples=10",
    "synth.rounds=2",
    "synth.candidates=2",
    "synth.pilot_steps=200",
    "synth.pilot_seeds=1",
    "--display",
    "none",
    "--json",
]
MINE = (
    "def tfcaf(state):\n"
    "    return torch.full((state.shape[0], 2), 1.25), torch.zeros(state.shape[0], 1)\n"
)


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def searched(tmp_path: Path, _warm: None, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """``--home`` of a store whose run 1 is a finished search."""
    home = ["--home", str(tmp_path / "h")]
    assert run([*home, "synth", TASK, *SEARCH, "--gate", "auto"]) == 0
    capsys.readouterr()
    return home


def silent(*_: object, **__: object) -> None:
    raise AssertionError("a model was asked")


def test_a_replay_needs_no_model_and_no_pilot_and_comes_to_the_same(
    searched: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Sampler, "complete", silent)
    monkeypatch.setattr("qllm.jobs.pilot.TrainingPilot.__call__", silent)
    assert run([*searched, "replay", "1", "--display", "none", "--json"]) == 0
    again = document(capsys)
    assert (again["run"], again["replay_of"], again["differences"]) == (2, 1, [])
    with open_store(Path(searched[1]), readonly=True) as store:
        before, after = store.synthesis.candidates(1), store.synthesis.candidates(2)
        assert [(c.source, c.verdict, c.graph_hash) for c in before] == [
            (c.source, c.verdict, c.graph_hash) for c in after
        ]
        first, second = store.runs.get(1).result, store.runs.get(2).result
    assert first is not None
    assert second is not None
    assert {**first["selected"], "candidate": 0} == {**second["selected"], "candidate": 0}
    assert first["gate"] == second["gate"]


def test_a_replay_can_train_its_pilots_again(
    searched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*searched, "replay", "1", "--measure", "--display", "none"]) == 0
    assert "are the same" in capsys.readouterr().out


def test_a_replay_that_comes_to_something_else_fails_and_says_where(
    searched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with open_store(Path(searched[1])) as store, store.database.write() as session:
        session.execute(update(Candidate).where(Candidate.id == 1).values(graph_hash="other"))
    assert run([*searched, "replay", "1", "--display", "none"]) == 1
    out, err = capsys.readouterr()
    assert "candidate 1.1: graph_hash was other" in out
    assert "differs from run 1" in err


def test_a_replay_of_traffic_that_does_not_fit_is_one_clear_line(
    searched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with open_store(Path(searched[1])) as store, store.database.write() as session:
        session.execute(
            update(ChatMessage)
            .where(ChatMessage.role == "assistant")
            .values(request={"key": "x", "index": 0, "n": 1, "finish_reason": "stop"})
        )
    assert run([*searched, "replay", "1", "--display", "none"]) == 1
    err = capsys.readouterr().err
    assert "no recorded reply" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", ["7", "1"])
def test_only_a_finished_search_can_be_replayed(
    number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "h")]
    words = ["train", TASK, "--steps", "100", "evaluation.episodes=1", "--display", "none"]
    assert run([*home, *words]) == 0
    capsys.readouterr()
    assert run([*home, "replay", number]) in (1, 2)
    err = capsys.readouterr().err
    assert "no run 7" in err or "only a synth or run holds a search" in err


@pytest.mark.usefixtures("_warm")
def test_a_search_can_start_from_a_file_and_from_a_candidate(
    searched: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    words = ["synth", TASK, *SEARCH, "--from", str(mine), "--from", "1", "synth.rounds=1"]
    assert run([*searched, *words]) == 0
    found = document(capsys)
    assert found["candidates"] >= 4  # two are given and two written, and what is refused is mended
    with open_store(Path(searched[1]), readonly=True) as store:
        rows = {(c.round, c.slot): c for c in store.synthesis.candidates(found["run"])}
        assert rows[0, 2].source == MINE
        assert rows[0, 3].source == store.synthesis.candidate(1).source
        opening = store.synthesis.messages(found["run"], "r0")
        assert opening[2].content == MINE
    mine.unlink()  # a resume and a replay have their own copy
    assert run([*searched, "replay", str(found["run"]), "--display", "none"]) == 0


@pytest.mark.usefixtures("_warm")
def test_a_candidate_keeps_the_gate_that_it_was_accepted_under(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    against = tmp_path / "against.py"
    against.write_text(
        "def tfcaf(agent_qs, state):\n    return agent_qs[:, 0:1] - 0.5 * agent_qs[:, 1:2]\n"
    )
    home = ["--home", str(tmp_path / "h")]
    words = ["synth.rounds=1", "synth.candidates=1", "gate.mode=relax"]
    assert run([*home, "synth", TASK, *SEARCH, "--from", str(against), *words]) == 0
    with open_store(tmp_path / "h", readonly=True) as store:
        number = next(
            c.id for c in store.synthesis.candidates(1) if c.source == against.read_text()
        )
    capsys.readouterr()
    out = ["--out", str(tmp_path / "x.png"), "sandbox.examples=10"]
    explain = ["explain", str(number), "--task", TASK, *out]
    assert run([*home, *explain]) == 0
    assert "gate relax" in capsys.readouterr().out
    assert run([*home, *explain, "--gate", "enforce"]) == 1, "a gate that is asked for counts"
    assert "add `gate.mode=relax`" in capsys.readouterr().err
    train = ["train", TASK, "--algo", "qllm", "--tfcaf", str(number), "--steps", "100"]
    assert run([*home, *train, "sandbox.examples=10", "--display", "none"]) == 1
    assert "was accepted under gate.mode=relax" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [("999", "no candidate 999"), ("nowhere.py", "cannot be read"), (".", "cannot be read")],
)
def test_a_start_that_is_not_there_leaves_no_run_behind(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "h")]
    assert run([*home, "synth", TASK, *SEARCH, "--from", given]) == 2
    assert said in capsys.readouterr().err
    with open_store(tmp_path / "h", readonly=True) as store:
        assert store.runs.listed() == []


class Background(threading.Thread):
    """A command in a thread of its own; signals are left to the main thread."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(daemon=True)
        self.words, self.code = words, -1

    def run(self) -> None:
        """Run it."""
        self.code = run(self.words)


def proposals(home: Path, run_id: int) -> int:
    try:
        with open_store(home, readonly=True) as store:
            return len(store.synthesis.verdicts(run_id, "proposal"))
    except Exception:  # noqa: BLE001 (the store is just being made)
        return 0


def wait_for(condition: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.usefixtures("_warm")
def test_a_person_rejects_and_approves_from_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "h"
    mine = ["--home", str(home)]
    words = [*mine, "synth", TASK, *SEARCH, "synth.approve=human", "synth.evaluator=first"]
    job = Background([*words, "synth.rounds=1"])
    job.start()
    wait_for(lambda: proposals(home, 1) == 1)
    assert run([*mine, "approve", "1", "--candidate", "99"]) == 2
    assert "choose among" in capsys.readouterr().err
    assert run([*mine, "reject", "1"]) == 0
    wait_for(lambda: proposals(home, 1) == 2)
    assert run([*mine, "approve", "1", "--advice", "be bold"]) == 0
    job.join(60)
    assert job.code == 0
    with open_store(home, readonly=True) as store:
        answers = store.synthesis.verdicts(1, "approval")
        assert [a.reason["answer"] for a in answers] == ["reject", "approve"]
        assert store.synthesis.rounds(1)[0].selected_candidate_id == answers[1].candidate_id
        assert store.synthesis.rounds(1)[0].advice == "be bold"
    assert run([*mine, "approve", "1"]) == 2
    err = capsys.readouterr().err
    assert "run 1 is finished: only a running synthesis" in err
    assert "resume" not in err
    assert run([*mine, "replay", "1", "--display", "none"]) == 0, "answers are part of the record"


def test_a_search_that_is_killed_outright_goes_on_and_comes_to_the_same(
    searched: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "killed"
    words = ["--home", str(home), "synth", TASK, *SEARCH, "--gate", "auto"]
    job = subprocess.Popen(
        [sys.executable, "-m", "qllm.cli.main", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    def written() -> int:
        try:
            with open_store(home, readonly=True) as store:
                return len(store.synthesis.verdicts(1, "pilot"))
        except Exception:  # noqa: BLE001 (the store is just being made)
            return 0

    try:
        wait_for(lambda: written() >= 1)
    finally:
        job.kill()
        job.wait()
    assert run(["--home", str(home), "resume", "1", "--display", "none", "--json"]) == 0
    again = document(capsys)
    with open_store(Path(searched[1]), readonly=True) as store:
        whole = store.runs.get(1).result
    assert whole is not None
    for what in ("selected", "reason", "gate", "stages", "pilot_steps", "tokens"):
        assert again[what] == whole[what], what


def test_prompts_show_prints_what_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prompts", "show", TASK]) == 0
    text = capsys.readouterr().out
    for part in ("=== coder: system", "climb from the safe corner", "-> reward", "=== evaluator"):
        assert part in text
    assert run(["prompts", "show", TASK, "--json", "synth.constraint=strict"]) == 0
    sections = json.loads(capsys.readouterr().out)
    assert sections[-1]["title"] == "coder: grammar that replies keep to"
    assert "start:" in sections[-1]["text"]


def test_prompts_show_what_the_search_sent(
    searched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["prompts", "show", TASK, "gate.mode=auto", "--json"]) == 0
    texts = [section["text"] for section in json.loads(capsys.readouterr().out)]
    with open_store(Path(searched[1]), readonly=True) as store:
        opening = store.synthesis.messages(1, "r0")
    assert [opening[0].content, opening[1].content] == texts[:2]


@pytest.mark.usefixtures("_warm")
def test_a_users_own_prompts_are_sent(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "coder"
    folder.mkdir(parents=True)
    (folder / "system.md.j2").write_text("Write for {{ card.name }}.")
    home = ["--home", str(tmp_path / "h")]
    words = ["synth", TASK, *SEARCH, "synth.rounds=1", f"synth.prompts={tmp_path / 'mine'}"]
    assert run([*home, *words]) == 0
    with open_store(tmp_path / "h", readonly=True) as store:
        assert store.synthesis.messages(1, "r0")[0].content == f"Write for {TASK}.\n"


def test_the_gate_auto_is_for_searches_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "f.py"
    source.write_text(MINE)
    words = ["check", str(source), "sandbox.examples=10", "--task", TASK, "--gate", "auto"]
    assert run(words) == 2
    assert "only a search can decide the gate" in capsys.readouterr().err


def test_a_language_model_is_needed_where_one_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "h")]
    assert run([*home, "synth", TASK, "--evaluator", "llm"]) == 2
    assert "asks a language model, and sampler is none" in capsys.readouterr().err
    assert run([*home, "synth", TASK, "synth.constraint=grammar"]) == 2
    assert "no language model" in capsys.readouterr().err
