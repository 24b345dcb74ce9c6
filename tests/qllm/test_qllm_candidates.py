"""``qllm candidates``: the archive of accepted candidates over all runs of a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prompts.cards import load_card
from qllm.cli.main import run
from qllm.facts.candidates import accepted_candidates, tasks_with_candidates
from qllm.store.store import Store, open_store
from sandbox.checker import Sandbox
from sandbox.config import GateConfig

TASK = "matrix/climbing"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store that the commands read as well."""
    home = tmp_path / "home"
    monkeypatch.setenv("QLLM_HOME", str(home))
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("COLUMNS", "140")
    with open_store(home) as opened:
        yield opened


def report(graph_hash: str | None, code: str = "def tfcaf(state): ...") -> dict[str, Any]:
    """A check's report, as far as the archive reads it."""
    accepted = graph_hash is not None
    return {
        "verdict": "accepted" if accepted else "rejected",
        "stage": "done" if accepted else "policy",
        "rule": None if accepted else "policy.while",
        "graph_hash": graph_hash,
        "signature": "weights",
        "gate": "enforce (abs)",
        "igm": "by-gate",
        "finite": "proved",
        "linear_in_q": True,
        "code": code,
        "graph": None,
    }


def synthesis(
    store: Store, hashes: list[str | None], *, task: str = TASK, selected: int | None = None
) -> tuple[int, list[int]]:
    """A run of one round with these candidates; returns its id and theirs."""
    run_id = store.runs.create(
        "synth", task, config={"task": task}, command="qllm synth", versions={}
    )
    attempt = store.runs.begin(run_id)
    store.synthesis.begin_round(run_id, attempt, 0)
    ids = [
        store.synthesis.record_candidate(
            run_id, attempt, (0, slot, 0), source="s", report=report(graph, f"# {graph}\n")
        )
        for slot, graph in enumerate(hashes)
    ]
    chosen = None if selected is None else ids[selected]
    store.synthesis.end_round(run_id, 0, selected_candidate_id=chosen, reason="best", advice="")
    return run_id, ids


def pilot(store: Store, run_id: int, graph: str, mean: float | None, steps: int) -> None:
    """A pilot's score of a function."""
    store.synthesis.record_verdict(
        run_id,
        1,
        "pilot",
        f"{graph}-{steps}",
        score=mean,
        reason={"graph_hash": graph, "steps": steps, "seeds": [7, 8], "final_mean": mean},
    )


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command prints with --json."""
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_accepted_candidates_of_all_runs_are_listed_the_best_measured_first(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first, ids = synthesis(store, ["a" * 64, None, "b" * 64], selected=0)
    second, more = synthesis(store, ["c" * 64])
    synthesis(store, ["d" * 64], task="mpe/spread-3")
    pilot(store, first, "a" * 64, 10.0, 200)
    pilot(store, first, "a" * 64, 5.0, 400)
    pilot(store, second, "c" * 64, 90.0, 200)
    pilot(store, first, "b" * 64, 20.0, 400)
    listed = document(capsys, "candidates", TASK)
    # Longer pilots come first, whatever shorter ones promise; the longest of each counts.
    assert [c["candidate"] for c in listed] == [ids[2], ids[0], more[0]]
    assert [c["pilot_mean"] for c in listed] == [20.0, 5.0, 90.0]
    assert [c["pilot_steps"] for c in listed] == [400, 400, 200]
    assert [c["run"] for c in listed] == [first, first, second]
    assert [c["place"] for c in listed] == ["1.3", "1.1", "1.1"]
    assert [c["selected"] for c in listed] == [False, True, False]
    assert [c["decided"] for c in listed] == [False, False, False], "no interval was measured"
    assert run(["candidates", TASK]) == 0
    out = capsys.readouterr().out
    assert "1.1 taken (undecided)" in out
    assert "400 x 2" in out
    assert "reward per episode" in out
    assert tasks_with_candidates(store) == [TASK, "mpe/spread-3"]


def test_a_function_that_was_written_twice_stands_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ids = synthesis(store, ["a" * 64, "a" * 64])
    second, more = synthesis(store, ["a" * 64])
    assert [(c["candidate"], c["times"]) for c in document(capsys, "candidates", TASK)] == [
        (ids[0], 3)
    ]
    every = document(capsys, "candidates", TASK, "--all")
    assert {c["candidate"] for c in every} == {*ids, *more}
    pilot(store, second, "a" * 64, 3.0, 100)
    assert document(capsys, "candidates", TASK)[0]["candidate"] == more[0]  # the measured copy


def test_what_a_resumed_run_superseded_is_left_out(store: Store) -> None:
    run_id, ids = synthesis(store, ["a" * 64])
    attempt = store.runs.begin(run_id)
    store.synthesis.record_candidate(
        run_id, attempt, (0, 0, 0), source="s", report=report("b" * 64)
    )
    (found,) = accepted_candidates(store, TASK)
    assert (found.facts.id, found.facts.graph_hash) == (ids[0], "b" * 64)


def test_two_candidates_are_compared(
    store: Store, warm_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = store.runs.create(
        "synth", TASK, config={"task": TASK}, command="qllm synth", versions={}
    )
    attempt = store.runs.begin(run_id)
    source = "def tfcaf(state):\n    x = torch.ones_like(state) * {}\n    return x, state[:, 0:1]\n"
    ids = []
    for slot, number in enumerate(("2.0", "3.0", "3.0 * 1.0")):
        found = warm_sandbox.check(source.format(number), load_card(TASK), GateConfig(), ())
        assert found.accepted
        ids.append(
            store.synthesis.record_candidate(
                run_id, attempt, (0, slot, 0), source=found.source, report=found.to_json()
            )
        )
    different = document(capsys, "candidates", TASK, "--diff", str(ids[0]), str(ids[1]))
    assert different["same_function"] is False
    assert "-weight of agent 0 = 2" in different["mathematics"]
    assert "+weight of agent 0 = 3" in different["mathematics"]
    assert "+    x = torch.ones_like(state) * 3.0" in different["source"]
    same = document(capsys, "candidates", TASK, "--diff", str(ids[1]), str(ids[2]))
    assert same["mathematics"] == []
    assert same["source"] != []
    shown = document(capsys, "candidates", TASK, "--show", str(ids[0]))
    assert shown["mathematics"].startswith("weight of agent 0 = 2")
    assert run(["candidates", TASK, "--show", str(ids[0])]) == 0
    out = capsys.readouterr().out
    assert "torch.ones_like" in out
    assert "IGM: by-gate" in out
    assert run(["candidates", TASK, "--diff", f"{ids[0]},{ids[0]}"]) == 0
    assert "they compute the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["matrix/climing"], "did you mean matrix/climbing"),
        ([TASK, "--show", "77"], "candidate 77 is no accepted candidate of matrix/climbing"),
        ([TASK, "--show", "2"], "candidate 2 is no accepted candidate"),
        ([TASK, "--diff", "1", "77"], "candidate 77"),
        ([TASK, "--diff", "1"], "such as 1,3 (not '1')"),
        ([TASK, "--diff", "1,x"], "such as 1,3 (not '1,x')"),
        ([TASK, "1"], "such as 1,3 (not '1')"),
        ([TASK, "--diff", "1", "1", "--show", "1"], "either --show or --diff"),
        ([], "missing"),
    ],
)
def test_wrong_use_is_one_clear_line(
    store: Store, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesis(store, ["a" * 64, None])
    assert run(["candidates", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_task_without_candidates_says_how_to_get_some(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["candidates", TASK]) == 0
    assert "qllm synth matrix/climbing" in capsys.readouterr().out
    assert document(capsys, "candidates", TASK) == []


def test_candidates_of_a_task_whose_card_is_gone_are_still_listed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    _, ids = synthesis(store, ["a" * 64], task="my/own-task")
    listed = document(capsys, "candidates", "my/own-task")
    assert [c["candidate"] for c in listed] == ids
    assert run(["candidates", "my/own-task", "--show", str(ids[0])]) == 0


def test_a_candidate_knows_its_task(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    _, ids = synthesis(store, ["a" * 64], task="my/own-task")
    assert run(["explain", str(ids[0])]) == 2
    assert "unknown task 'my/own-task'" in capsys.readouterr().err


def test_what_a_model_wrote_cannot_act_on_the_terminal(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = synthesis(store, [])
    evil = store.synthesis.record_candidate(
        run_id, 1, (0, 0, 0), source="s", report=report("a" * 64, "x = 1  # \x1b[2J\u202e")
    )
    assert run(["candidates", TASK, "--show", str(evil)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
