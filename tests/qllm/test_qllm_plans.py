"""Plans: pieces done anywhere, in any order, become what one process would have made."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import TIMES, everything, recorded
from safetensors.torch import load_file
from sqlalchemy import update

from marl.checkpoint import latest_checkpoint
from models.vllm.locks import FolderLock
from qllm.cli.main import run
from qllm.jobs.job_control import JobControl
from qllm.plans.plan import read_plan
from qllm.store.schema import Evaluation, Run
from qllm.store.store import Store, open_store

SOURCE = """
def tfcaf(state):
    weights = torch.ones(state.shape[0], 2)
    return weights, torch.zeros(state.shape[0], 1)
"""
WHAT = ["matrix/climbing", "--seeds", "0,1", "--steps", "600"]
SETTINGS = [
    "log_every=200",
    "evaluation.every=200",
    "evaluation.episodes=4",
    "learner.batch_size=8",
    "agent.hidden=8",
    "sandbox.examples=10",
]

pytestmark = pytest.mark.usefixtures("_warm")


@pytest.fixture
def plan(tmp_path: Path, home: Path) -> Path:
    """A plan of one algorithm without a credit function, two pieces."""
    path = tmp_path / "plan.json"
    words = ["plan", *WHAT, "--algo", "vdn", *SETTINGS, "--out", str(path)]
    assert run(["--home", str(home), *words]) == 0
    return path


Act = Callable[..., int]


@pytest.fixture
def act(home: Path) -> Act:
    """Runs a command in the home folder."""
    return lambda *words: run(["--home", str(home), *map(str, words)])


def _rewrite(plan: Path, change: Callable[[dict[str, Any]], None], *, sign: bool = False) -> None:
    """Change a plan's file; ``sign``: with a hash that fits."""
    document = json.loads(plan.read_text())
    change(document)
    if sign:
        rest = {key: value for key, value in document.items() if key != "hash"}
        text = json.dumps(rest, sort_keys=True)
        document["hash"] = hashlib.sha256(text.encode()).hexdigest()
    plan.write_text(json.dumps(document))


def _rows(store: Store) -> list[dict[str, Any]]:
    rows = store.runs.get(1).result["rows"]  # type: ignore[index]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_the_pieces_become_what_one_process_compares(
    tmp_path: Path, home: Path, act: Act, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    source, plan = tmp_path / "even.py", tmp_path / "plan.json"
    source.write_text(SOURCE)
    both = [*WHAT, "--algos", "vdn,qllm", "--tfcaf", str(source), *SETTINGS]
    whole = tmp_path / "whole"
    assert run(["--home", str(whole), "compare", *both]) == 0
    assert act("plan", *both, "--out", plan) == 0
    source.unlink()  # the plan holds the function

    with monkeypatch.context() as patch:  # stopped after a few rollouts, and resumed
        asked = iter(["continue"] * 4)
        patch.setattr(JobControl, "training", lambda _: next(asked, "stop"))
        assert act("worker", plan, "--index", 3) == 1
    assert act("worker", plan, "--index", 3) == 0
    assert act("worker", plan, "--index", 1) == 0
    capsys.readouterr()
    assert act("merge", plan) == 1
    said = capsys.readouterr().err
    assert "piece 0 (vdn, seed 0) not begun; piece 2 (qllm, seed 0) not begun" in said
    assert act("worker", plan, "--index", 2) == 0
    assert act("worker", plan, "--index", 0) == 0
    assert act("merge", plan) == 0

    with open_store(home) as merged, open_store(whole) as one:
        assert recorded(merged) == recorded(one)
        assert len(recorded(one)) == 4
        assert all(metrics for _, _, metrics in recorded(one))
        assert _rows(merged) == _rows(one)
        assert [t.id for t in merged.runs.trainings(1)] == [t.id for t in one.runs.trainings(1)]
        assert merged.runs.get(1).kind == one.runs.get(1).kind == "compare"
        assert merged.runs.get(1).config == one.runs.get(1).config
        assert merged.runs.trainings(1)[3].attempt == 2
        for training in one.runs.trainings(1):
            mine, other = (latest_checkpoint(s.run_dir(training.id)) for s in (merged, one))
            assert mine is not None
            assert other is not None
            tensors = load_file(mine / "tensors.safetensors")
            for name, tensor in load_file(other / "tensors.safetensors").items():
                assert tensors[name].equal(tensor), name
        certificate = "credit.tfcaf.json"
        assert (merged.run_dir(1) / certificate).read_bytes() == (
            one.run_dir(1) / certificate
        ).read_bytes()
        before = everything(merged)
        assert act("merge", plan) == 0
        assert act("worker", plan, "--index", 3) == 0
        assert everything(merged) == before


def test_a_plan_is_the_same_wherever_it_is_made(plan: Path, tmp_path: Path, act: Act) -> None:
    again = tmp_path / "again.json"
    assert act("plan", *WHAT, "--algo", "vdn", *SETTINGS, "--out", again) == 0
    assert again.read_bytes() == plan.read_bytes()
    assert [(p.index, p.label, p.seed) for p in read_plan(plan).pieces] == [
        (0, "vdn", 0),
        (1, "vdn", 1),
    ]


@pytest.mark.parametrize(
    ("change", "sign", "said"),
    [
        (lambda d: d["config"].update(steps=700), False, "was edited since it was made"),
        (lambda d: d.update(versions={"qllm": "9.9"}), True, "made by version 9.9 of QLLM"),
        (lambda d: d.update(card="0" * 64), True, "card of task 'matrix/climbing' is not the one"),
        (lambda d: d["pieces"].pop(), True, "has other pieces than its settings"),
        (lambda d: d.update(format="x"), True, "is no plan: `qllm plan` writes one"),
        (lambda d: d.update(extra=1), True, "is damaged (extra)"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    plan: Path, home: Path, act: Act, capsys: Any, change: Any, sign: bool, said: str
) -> None:
    _rewrite(plan, change, sign=sign)
    for command in (["worker", plan, "--index", 0], ["merge", plan]):
        capsys.readouterr()
        assert act(*command) == 2
        shown = capsys.readouterr().err
        if command[0] == "worker" or "card" not in said:
            assert said in shown
        assert shown.count("\n") == 1
    assert not (home / "plans").exists()


def test_what_is_no_piece_is_refused(plan: Path, act: Act, capsys: Any) -> None:
    assert act("worker", plan, "--index", 2) == 2
    assert "there is no piece 2: the plan has 0 to 1" in capsys.readouterr().err
    assert act("worker", plan.with_name("none.json"), "--index", 0) == 2
    assert act("merge", plan) == 2
    assert "no piece has finished" in capsys.readouterr().err
    assert act("plan", *WHAT, "--algo", "vdn", "--algos", "vdn,qmix") == 2


def test_a_credit_function_is_proved_again(tmp_path: Path, act: Act, capsys: Any) -> None:
    source, plan = tmp_path / "even.py", tmp_path / "plan.json"
    source.write_text(SOURCE)
    planned = [*WHAT, "--algo", "qllm", "--tfcaf", source, *SETTINGS, "--out", plan]
    assert act("plan", *planned) == 0

    def exchange(document: dict[str, Any]) -> None:
        certificate = document["credit"]["certificate"]
        certificate["source"] = certificate["source"].replace("ones", "zeros")

    _rewrite(plan, exchange, sign=True)
    capsys.readouterr()
    assert act("worker", plan, "--index", 0) == 2
    assert "source that does not lead to its graph" in capsys.readouterr().err


def _elsewhere(folder: Path, beat: float) -> None:
    """Have the piece's run look as if another host were at it."""
    url = f"sqlite:///{folder / 'qllm.db'}"
    at_work = {"status": "running", "host": "elsewhere", "boot_id": "b", "pid": 1}
    with (
        open_store(folder, url=url, one_host=True) as store,
        store.database.write() as session,
    ):
        session.execute(update(Run).values(**at_work, process_started=0.0, beat=beat))


def test_a_piece_has_one_worker_at_a_time(
    plan: Path, home: Path, act: Act, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = read_plan(plan).folder(home) / "0"
    folder.mkdir(parents=True)
    with FolderLock(folder).attempt():
        assert act("worker", plan, "--index", 0) == 2
        assert "piece 0 (vdn, seed 0) is at work in another process" in capsys.readouterr().err
    monkeypatch.setattr(JobControl, "training", lambda _: "stop")
    assert act("worker", plan, "--index", 0) == 1
    monkeypatch.undo()
    monkeypatch.setattr("qllm.jobs.continuing.STALE_AFTER_S", -10.0)  # nothing is waited for
    _elsewhere(folder, time.time())
    assert act("worker", plan, "--index", 0) == 2
    assert "is at work on elsewhere" in capsys.readouterr().err
    _elsewhere(folder, time.time() - 3600)
    assert act("worker", plan, "--index", 0) == 0


def test_a_merge_names_conflicts_and_changes_nothing(
    plan: Path, home: Path, act: Act, capsys: Any
) -> None:
    assert act("worker", plan, "--index", 0) == 0
    assert act("merge", plan) == 1
    with open_store(home) as store:
        with store.database.write() as session:
            session.execute(update(Evaluation).values(returns=[1.0]))
        before = everything(store)
        assert act("worker", plan, "--index", 1) == 0
        capsys.readouterr()
        assert act("merge", plan) == 1
        said = capsys.readouterr().err
        assert "piece 0 (vdn, seed 0)" in said
        assert "has other evaluations than run 1.1: nothing was merged" in said
        assert everything(store) == before
    assert act("merge", plan, "--into", home / "other") == 0


def test_a_folder_of_another_plan_is_not_merged(
    plan: Path, home: Path, act: Act, capsys: Any
) -> None:
    assert act("worker", plan, "--index", 0) == 0
    folder = read_plan(plan).folder(home)
    (folder / "0").rename(folder / "1")
    assert act("merge", plan) == 2
    assert "is not of piece 1 (vdn, seed 1) of this plan" in capsys.readouterr().err
