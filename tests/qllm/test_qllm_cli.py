"""The command line: speed of help, one-line errors, exit codes, pure JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qllm.cli import checking, options
from qllm.cli.main import run
from qllm.config.layers import override_layer
from qllm.jobs.versions import versions

ROOT = Path(__file__).parents[2]
QUICK = ["--steps", "800", "evaluation.every=400", "evaluation.episodes=4", "--display", "none"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )


HEAVY = {"torch", "sqlalchemy", "textual", "numpy", "rich", "yaml", "jinja2", "alembic"}


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], HEAVY | {"pydantic"}),
        (["train", "--help"], HEAVY),  # typer itself reads option values with pydantic
    ],
)
def test_help_imports_nothing_heavy(words: list[str], heavy: set[str]) -> None:
    done = _python(
        "import sys\n"
        "from qllm.cli.main import run\n"
        f"assert run({words}) == 0\n"
        f"print('heavy:', sorted(set({sorted(heavy)}) & sys.modules.keys()))\n"
    )
    assert done.stdout.endswith("heavy: []\n"), done.stdout + done.stderr


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    names = "run synth check train compare tasks models runs report export resume stop doctor bench"
    for name in names.split():
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "no such command 'trian': did you mean 'train'?"),
        (["train", "--sed", "1"], "--seeds"),
        (["train"], "task: needs a value"),
        (["train", "matrix/climing"], "did you mean matrix/climbing"),
        (["train", "matrix/climbing", "--algo", "vdm"], "did you mean vdn"),
        (["train", "matrix/climbing", "lerner.lr=1"], "did you mean learner.lr"),
        (["train", "matrix/climbing", "--steps", "0"], "steps=0"),
        (["train", "matrix/climbing", "--steps", "many"], "--steps"),
        (["train", "matrix/climbing", "--config", "none.yaml"], "cannot be read"),
        (["train", "matrix/climbing", "--algo", "qllm"], "needs a credit function"),
        (["train", "matrix/climbing", "--algo", "qllm", "--tfcaf", "f.py"], "no such file"),
        (["train", "matrix/climbing", "--algo", "qllm", "--tfcaf", "7"], "no candidate 7"),
        (["train", "matrix/climbing", "device=cuda:99"], "cuda:99"),
        (["compare", "matrix/climbing", "--algos", "vdn,vdm"], "did you mean vdn"),
        (["synth", "matrix/climbing", "--coder", "gtp"], "no such coder"),
        (["check", "none.py", "--task", "matrix/climbing"], "no such file"),
        (["tasks", "matrix/climing"], "did you mean matrix/climbing"),
        (["bench", "lerner"], "no such command 'lerner'"),
        (["runs", "3"], "no run store"),
        (["stop", "3"], "no run store"),
        (["resume", "3"], "no run store"),
        (["report", "3"], "no run store"),
        (["export", "3"], "no run store"),
        (["export", "3", "--format", "xlsx"], "'xlsx' is not one of"),
        (["train", "matrix/climbing", "log=jsnol"], "did you mean jsonl?"),
        (["train", "matrix/climbing", "log=jsonl,jsonl"], "a log appears twice"),
        (["train", "matrix/climbing", "steps=2000", "--steps", "3k"], "steps is given twice, as 3"),
        (["train", "matrix/climbing", "task=mpe/tag"], "task is given twice"),
        (["train", "matrix/climbing", "--algo", "qmix", "--tfcaf", "f.py"], "add --algo qllm"),
        (["compare", "matrix/climbing", "--gate", "relax"], "add --algos qllm,..."),
        (["bench", "learner", "--algo", "vdn", "--tfcaf", "f.py"], "add --algo qllm"),
        (["train", "matrix/climbing", "synth.rounds=3"], "`qllm run` and `qllm synth` do"),
        (["synth", "matrix/climbing", "seeds=3"], "`qllm synth` does not read it"),
        (
            ["check", "f.py", "--task", "matrix/climbing", "steps=3"],
            "`qllm check` does not read it",
        ),
        (["explain", "f.py", "--task", "matrix/climbing", "seeds=3"], "`qllm explain` does not"),
        (["bench", "check", "steps=3"], "`qllm bench check` does not read it; it reads sandbox.*"),
        (["bench", "env", "learner.lr=3"], "`qllm bench env` does not read it"),
        (["run", "matrix/climbing", "tfcaf=f.py"], "`qllm run` does not read it"),
        (["train", "matrix/climbing", "--step", "1"], "did you mean --steps?"),
        (["runs", "--lim", "3"], "did you mean --limit?"),
        (["--debgu", "runs"], "did you mean --debug?"),
        (["train", "lfb/8x8"], "did you mean lbf/8x8-2p-2f-coop-2s?"),
        (["explain", "1"], "no run store"),
        (["run"], "such as matrix/climbing (`qllm tasks` lists them)"),
        (["explain", "mine.py"], "Name it with --task"),
        (["explain", "f.py", "--seed", "x"], "'--seed': must be a whole number ("),
        (["bench", "tui", "--seconds", "x"], "'--seconds': must be a number ("),
        (["prompts"], "missing command"),
        (["prompts", "show", "matrix/climbing", "synth.prompts=none"], "no folder of prompts at"),
        (["report", "1", "--out", "/"], "'/' is a folder: give the file to write"),
        (["check", "f.py", "--task", "matrix/climbing", "--html", "/"], "'/' is a folder"),
        (["--home", __file__, "runs"], "is a file: give a folder for the runs"),
        (["synth", "matrix/climbing", "synth.prompts=none"], "no folder of prompts at"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("qllm: ")
    assert err.count("\n") == 1


def test_the_same_value_may_be_given_twice() -> None:
    assert override_layer(["steps=3k", "seeds=0-1"], {"steps": 3000, "seeds": "0,1"}).values == {
        "steps": "3k", "seeds": [0, 1],
    }  # fmt: skip


@pytest.mark.parametrize("words", [[], ["--home", "here"], ["--debug"]])
def test_without_a_command_a_terminal_gets_the_app(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[Path | None] = []
    monkeypatch.setattr("qllm.cli.tui.on_a_terminal", lambda: False)
    assert run(words) == 0
    assert "Commands:" in capsys.readouterr().out
    monkeypatch.setattr("qllm.cli.tui.on_a_terminal", lambda: True)
    monkeypatch.setattr("qllm.cli.tui.tui", lambda: opened.append(options.given.home) or 0)
    assert run(words) == 0
    assert opened == [Path("here") if "here" in words else None]


def test_a_folder_is_checked_without_what_tools_keep_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = "mine.py .venv/a.py env/lib/b.py node_modules/c/d.py .git/e.py sub/f.py sub/.g/h.py"
    for name in [*inside.split(), "env/pyvenv.cfg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "gone")
    found = checking._files(tmp_path)
    assert "nowhere.py' is left out" in capsys.readouterr().err
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["mine.py", "sub/f.py"]


def test_a_check_imports_no_store_and_no_plots() -> None:
    done = _python("import sys, qllm.cli.checking as c\nprint('sqlalchemy' in sys.modules)")
    assert done.stdout == "False\n"


def test_looking_creates_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs"]) == 0
    assert "no runs" in capsys.readouterr().out
    assert run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nodriver://me:secret@h/db"])
def test_a_wrong_database_is_one_clear_line_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QLLM_DB", url)
    assert run(["train", "matrix/climbing", *QUICK]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "secret" not in err


def test_the_version_needs_no_installed_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"qllm {versions()['qllm']}\n"


def test_the_distribution_has_a_name_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "qllm-marl"
    assert set(project["scripts"]) == {"qllm"}


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="climing"):
        run(["--debug", "tasks", "matrix/climing"])


def test_an_unexpected_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError("a bug\x1b[31m")

    monkeypatch.setattr("prompts.cards.list_tasks", broken)
    assert run(["tasks"]) == 1
    err = capsys.readouterr().err
    assert "internal error: ZeroDivisionError" in err
    assert "--debug" in err
    assert "\x1b" not in err


def test_tasks_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "--json"]) == 0
    assert "matrix/climbing" in json.loads(capsys.readouterr().out)
    assert run(["tasks", "matrix/penalty-25"]) == 0
    assert "last_action" in capsys.readouterr().out
    assert run(["models"]) == 0
    assert "not an LLM" in capsys.readouterr().out


def test_a_card_lists_what_a_function_may_take_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "mpe/spread-3"]) == 0
    assert "agent_landmarks  [B, 3 agents, 3, 2]" in capsys.readouterr().out


ROW_KEYS = {
    "run",
    "task",
    "algo",
    "seed",
    "env_steps",
    "env_steps_per_s",
    "return_mean",
    "return_iqm",
    "return_auc",
    "return_ci",
    "return_ci_over",
    "best_return_mean",
    "learnable_parameters",
    "wall_s",
    "pilot_steps",
}


def test_train_prints_one_json_document_with_a_row_per_seed_and_an_aggregate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["train", "matrix/climbing", "--seeds", "3,5", "--json", *QUICK]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    rows = document["rows"]
    assert [row["seed"] for row in rows] == [3, 5, None]
    assert all(set(row) >= ROW_KEYS for row in rows)
    assert [row["return_ci_over"] for row in rows] == ["episodes", "episodes", "seeds"]
    assert rows[2]["run"] == document["run"]
    assert rows[2]["env_steps"] == sum(row["env_steps"] for row in rows[:2])
    assert Path(document["report_path"]).is_file()
    assert err == ""


def test_compare_trains_every_algorithm_and_keeps_a_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["compare", "matrix/climbing", "--algos", "vdn,qmix", "--seeds", "0", "--json", *QUICK]
    assert run([*words, "algorithm.mixing_dim=4"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["algo"] for row in document["rows"]] == ["vdn", "vdn", "qmix", "qmix"]
    assert document["rows"][1]["return_ci"] is None, "one seed has no interval over seeds"
    assert Path(document["report_path"]).is_file()


def test_what_a_run_was_given_can_be_fed_back_and_gives_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "matrix/climbing", "learner.lr=2e-3", "--json", *QUICK]) == 0
    first = json.loads(capsys.readouterr().out)
    config = tmp_path / "home" / str(first["run"]) / "config.yaml"
    assert run(["train", "--config", str(config), "--json", "--display", "none"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["rows"][0]["return_mean"] == first["rows"][0]["return_mean"]
    assert run(["runs", str(first["run"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["learner"]["lr"] == 2e-3


def test_people_get_a_table_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "matrix/climbing", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "vdn" in out
    assert "steps/s" in out
    assert run(["runs"]) == 0
    assert "finished" in capsys.readouterr().out


def test_home_may_stand_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    assert run(["--home", elsewhere, "train", "matrix/climbing", *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs", "--home", elsewhere, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_stopping_or_resuming_what_has_ended_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "matrix/climbing", *QUICK]) == 0
    capsys.readouterr()
    assert run(["stop", "1"]) == 2
    assert "has ended already (finished)" in capsys.readouterr().err
    assert run(["resume", "1"]) == 2
    assert "has finished" in capsys.readouterr().err
    assert run(["resume", "99"]) == 2
    assert "the newest run is 1" in capsys.readouterr().err


def test_a_training_that_fails_exits_1_and_keeps_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from marl.errors import TrainingError
    from marl.trainer import Trainer

    good = Trainer.run

    def failing(self: Trainer) -> object:
        if self.seed == 1:
            raise TrainingError("loss is NaN in update 3 at step 600: training stopped")
        return good(self)

    monkeypatch.setattr(Trainer, "run", failing)
    assert run(["train", "matrix/climbing", "--seeds", "0,1,2", "--json", *QUICK]) == 1
    out, err = capsys.readouterr()
    rows = json.loads(out)["rows"]
    assert [row["status"] for row in rows] == ["finished", "failed", "finished", "unfinished"]
    assert rows[3]["seeds"] == 2
    assert "1 of 3 trainings failed" in err
    assert "loss is NaN" in err
    monkeypatch.undo()


def test_bench_prints_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "env", "--num-envs", "4", "--seconds", "0.02", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["task"] == "matrix/climbing"
    assert row["env_steps_per_s"] > 0
    assert run(["bench", "learner", "--rollouts", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"env_steps_per_s", "updates_per_s", "breakdown"} <= set(document)


def test_bench_learner_keeps_its_batch_whatever_the_preset_and_prints_the_ratio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["bench", "learner", "--rollouts", "2", "agent.hidden=8"]
    assert run([*words, "preset=epymarl"]) == 0
    assert "  0.125 updates per episode, 64 episodes each" in capsys.readouterr().out
    assert run([*words, "learner.batch_size=16", "learner.updates_per_rollout=4"]) == 0
    assert "  0.5 updates per episode, 16 episodes each" in capsys.readouterr().out


def test_a_training_whose_numbers_go_wrong_names_its_credit_function(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "even.py"
    source.write_text("def tfcaf(state):\n    return state * 0 + 1.0, state[:, :1] * 0\n")
    words = ["train", "matrix/climbing", "--algo", "qllm", "--tfcaf", str(source), *QUICK]
    assert run([*words, "--steps", "2000", "learner.lr=1e30"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "is not finite in update" in said
    assert f"(credit function: {source})" in said
    (batch,) = (tmp_path / "home").glob("*/nonfinite-*.safetensors")
    assert str(batch) in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "1", "--format", "cvs"], "'--format': 'cvs' is not one of 'csv', 'jsonl'"),
        (["train", "matrix/climbing", "--steps", "x"], "'--steps': 'x' is no whole number"),
        (["compare", "matrix/climbing", "--parallel", "0"], "'--parallel': must be greater"),
    ],
)
def test_a_wrong_option_value_is_said_in_our_words(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Value error" not in message
