"""`check`, `synth` and `run` with the real sandbox, and training what they found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.jobs.pilot import TrainingPilot
from qllm.store.store import open_store
from synth.sampler import Sampler

pytestmark = pytest.mark.long

TASK = "matrix/climbing"
QUICK = [
    "--steps",
    "400",
    "evaluation.every=200",
    "evaluation.episodes=4",
    "sandbox.examples=10",
    "--display",
    "none",
    "--json",
]
WRITTEN = [
    "synth.seed=5",  # one of the seeds with a reply that is refused
    "synth.rounds=1",
    "synth.candidates=2",
    "synth.pilot_steps=200",
    "synth.pilot_seeds=1",
]
SEARCH = [*(word for word in QUICK if word not in ("--steps", "400")), *WRITTEN]
GOOD = (
    "def tfcaf(state):\n    return torch.ones(state.shape[0], 2), torch.zeros(state.shape[0], 1)\n"
)
FALLING = "def tfcaf(agent_qs, state):\n    return -agent_qs.sum(1, keepdim=True)\n"


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def whole(home: Path) -> dict[str, object]:
    """One whole `qllm run`, which several tests look at."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["--home", str(home), "run", TASK, "--seeds", "0", *QUICK, *WRITTEN])
    assert code == 0, err.getvalue()
    document: dict[str, object] = json.loads(out.getvalue())
    return document


def test_run_goes_the_whole_way(whole: dict[str, object]) -> None:
    assert whole["status"] == "finished"
    assert whole["candidates"] == 3  # one is refused, and mended in its conversation
    assert whole["accepted"] == 2
    assert whole["gate"] == "enforce"
    assert whole["coder"] == {"name": "sampler", "is_llm": False}
    rows = whole["rows"]
    assert isinstance(rows, list)
    assert [(r["algo"], r["seed"]) for r in rows] == [
        ("qllm", 0),
        ("qllm", None),
        ("vdn", 0),
        ("vdn", None),
    ]
    assert whole["selected"] is not None
    assert whole["decided"] is False, "one seed decides nothing"
    assert isinstance(whole["pilot_updates"], int)
    assert whole["pilot_steps"] == 600  # VDN and every function that was accepted
    assert [r["pilot_steps"] for r in rows] == [whole["pilot_steps"]] * 2 + [0] * 2
    report = Path(str(whole["report_path"]))
    assert "qllm" in report.read_text(encoding="utf-8")


def test_everything_is_in_the_store(whole: dict[str, object], home: Path) -> None:
    with open_store(home, readonly=True) as store:
        run_id = int(str(whole["run"]))
        messages = store.synthesis.messages(run_id)
        assert {m.role for m in messages} >= {"system", "user", "assistant"}
        assert not any(m.streaming for m in messages)
        replies = [m for m in messages if m.role == "assistant" and m.request]
        assert all(m.completion_tokens for m in replies)
        assert all(m.model == "sampler" for m in replies)
        verdicts = {v.kind for v in store.synthesis.verdicts(run_id)}
        assert verdicts == {"gate", "note", "pilot", "piloting", "selection"}
        (round_,) = store.synthesis.rounds(run_id)
        assert round_.status == "finished"
        assert round_.selected_candidate_id == whole["selected"]["candidate"]  # type: ignore[index]


@pytest.mark.usefixtures("_warm")
def test_a_candidate_a_certificate_and_a_source_can_be_trained(
    whole: dict[str, object], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = tmp_path / "mine.tfcaf.json"
    shutil.copy(home / str(whole["run"]) / "credit.tfcaf.json", certificate)
    source = tmp_path / "mine.py"
    source.write_text(GOOD)
    candidate = str(whole["selected"]["candidate"])  # type: ignore[index]
    returns = []
    for named in (candidate, str(certificate), str(source)):
        words = ["--home", str(home), "train", TASK, "--algo", "qllm", "--tfcaf", named, *QUICK]
        assert run(words) == 0, capsys.readouterr().err
        rows = json.loads(capsys.readouterr().out)["rows"]
        returns.append((rows[0]["return_mean"], rows[0]["pilot_steps"]))
    assert returns[0][0] == returns[1][0], "the same function trains alike"
    assert [steps for _, steps in returns] == [whole["pilot_steps"], None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "no JSON"), ('{"format": "x"}', "is not a"), (None, "another gate")],
)
def test_a_wrong_certificate_is_one_clear_line(
    whole: dict[str, object],
    home: Path,
    tmp_path: Path,
    text: str | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    certificate = tmp_path / "wrong.tfcaf.json"
    if text is None:
        shutil.copy(home / str(whole["run"]) / "credit.tfcaf.json", certificate)
    else:
        certificate.write_text(text)
    words = ["--home", str(home), "train", TASK, "--algo", "qllm", "--tfcaf", str(certificate)]
    assert run([*words, "--gate", "relax"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


@pytest.mark.usefixtures("_warm")
def test_a_rejected_function_is_not_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "falling.py"
    source.write_text(FALLING)
    words = ["--home", str(tmp_path / "h"), "train", TASK, "--algo", "qllm"]
    assert run([*words, "--tfcaf", str(source), "sandbox.examples=10"]) == 1
    assert "was rejected" in capsys.readouterr().err


@pytest.mark.usefixtures("_warm")
def test_check_tells_accepted_from_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, falling = tmp_path / "good.py", tmp_path / "sub" / "falling.py"
    falling.parent.mkdir()
    good.write_text(GOOD)
    falling.write_text(FALLING)
    options = ["--task", TASK, "sandbox.examples=10"]

    assert run(["check", str(good), *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["stage"], document["igm"]) == (
        "accepted",
        "done",
        "by-gate",
    )
    keys = "verdict stage signature gate igm finite linear_in_q properties graph_hash feedback"
    assert {*keys.split(), "elapsed_s", "layers"} <= set(document)

    assert run(["check", str(tmp_path), *options, "--json"]) == 1
    documents = json.loads(capsys.readouterr().out)
    assert [d["verdict"] for d in documents] == ["accepted", "rejected"]
    assert documents[1]["igm"] == "violated"
    assert "agent_qs" in documents[1]["feedback"]

    assert run(["check", str(falling), *options, "--gate", "relax"]) == 0
    assert "accepted" in capsys.readouterr().out


@pytest.mark.usefixtures("_warm")
def test_an_interrupted_synthesis_asks_and_pilots_nothing_twice(
    home: Path,
    whole: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pilot = TrainingPilot._score
    begun: list[str] = []

    def interrupted(self: TrainingPilot, request, *rest):  # type: ignore[no-untyped-def]
        begun.append(request.key)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return pilot(self, request, *rest)

    mine = ["--home", str(tmp_path / "h")]
    monkeypatch.setattr(TrainingPilot, "_score", interrupted)
    assert run([*mine, "synth", TASK, *SEARCH]) == 130
    assert "qllm resume 1" in capsys.readouterr().err

    def silent(*_: object, **__: object) -> None:
        raise AssertionError("the coder was asked again")

    monkeypatch.setattr(Sampler, "complete", silent)
    assert run([*mine, "resume", "1", "--display", "none", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert begun[0] == "vdn"
    assert begun[1] == begun[2], "only the interrupted pilot is begun again"
    assert len(begun) == len(set(begun)) + 1
    assert "What was generated" in Path(document["report_path"]).read_text(encoding="utf-8")
    assert document["selected"]["graph_hash"] == whole["selected"]["graph_hash"]  # type: ignore[index]
    with open_store(tmp_path / "h", readonly=True) as store:
        assert store.runs.get(1).attempt == 2
        assert sorted(c.id for c in store.synthesis.candidates(1)) == [1, 2, 3]


@pytest.mark.usefixtures("_warm")
def test_a_run_without_any_accepted_candidate_exits_1_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Sampler, "_reply", lambda *_: f"Sorry.\n```python\n{FALLING}```\n")
    words = ["--home", str(tmp_path / "h"), "run", TASK, *QUICK, *WRITTEN, "synth.repairs=0"]
    assert run(words) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["status"], document["selected"], document["rows"]) == ("failed", None, [])
    assert document["accepted"] == 0
    assert sum(document["rejections"].values()) == 2
    assert "none of 2 candidates" in err
    assert Path(document["report_path"]).is_file()
