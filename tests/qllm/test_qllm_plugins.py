"""Environments and model backends of other packages: the page's examples as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from installed_plugins import install

from bench.check import FUNCTIONS
from marl.envs.kinds import ENVIRONMENTS, is_engine
from marl.envs.registry import make_env
from marl.settings.env import EnvConfig, env_class, env_classes
from prompts.cards import load_card
from qllm.cli.main import run
from qllm.config.build import build_config, from_stored
from qllm.jobs.models import BACKENDS
from qllm.jobs.states import errand
from qllm.tui.form import answer

pytestmark = pytest.mark.long

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
TEXT = PAGE.read_text(encoding="utf-8")
ENVIRONMENT, BACKEND = re.findall(r"```python\n(.*?)```", TEXT, re.S)
(CARD,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
POINTS = dict(re.findall(r'^(\w+) = "(\w+:\w+)"$', TEXT, re.M))


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "runs"))
    monkeypatch.setenv("QLLM_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's environment, installed, and its card."""
    points = {"corridor": POINTS["corridor"]}
    install(monkeypatch, tmp_path, ENVIRONMENTS, points, {"corridor": ENVIRONMENT})
    path = tmp_path / "corridor.yaml"
    path.write_text(CARD, encoding="utf-8")
    return str(path)


# -- environments ----------------------------------------------------------------------------------


def test_the_pages_environment_is_short() -> None:
    assert ENVIRONMENT.count("\n") < 50


def test_the_pages_environment_keeps_the_rules(card: str) -> None:
    task = load_card(card)
    settings = env_class("corridor").model_validate({"slip": 0.5})
    few, many = (make_env(task, count, 7, config=settings) for count in (3, 9))
    seen = few.reset()
    assert seen.state.equal(many.reset().state[:3])  # nothing depends on how many there are
    actions = torch.randint(3, (9, 2), generator=torch.Generator().manual_seed(0))
    saved = few.state_dict()
    for _ in range(task.horizon):
        step, other = few.step(actions[:3]), many.step(actions)
        assert step.state.equal(other.state[:3])
        assert 0 <= float(step.state.min()) <= float(step.state.max()) <= 6
    assert few.done.all()
    again = make_env(task, 3, 7, config=settings)
    again.load_state_dict(saved)
    for _ in range(task.horizon):
        last = again.step(actions[:3])
    assert last.state.equal(step.state)


def test_the_pages_environment_is_learned_and_set_like_any_other(
    card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", card, "--algo", "vdn", "env.slip=0.1", "preset=equal", "learner.lr=5e-3"]
    brief = ["agent.hidden=32", "exploration.anneal_steps=3000", "evaluation.every=6000"]
    assert run([*words, *brief, "steps=6000", "learner.updates_per_rollout=4", "--json"]) == 0
    (row, *_) = json.loads(capsys.readouterr().out)["rows"]
    assert row["return_mean"] > 0.95
    assert run([*words, "env.slipp=1"]) == 2
    assert "did you mean env.slip?" in capsys.readouterr().err
    assert run([*words, "env.observe=joint"]) == 2
    assert "observe is for tasks of kind matrix, not" in capsys.readouterr().err


def test_its_settings_are_stored_and_offered_for_its_tasks_alone(card: str) -> None:
    config = build_config(overrides=["env.slip=0.25"], flags={"task": card})
    assert from_stored(config.model_dump(mode="json")) == config
    offer = answer.offer.__wrapped__()  # not as cached before the package was there
    slip = offer.setting("env.slip")
    assert slip is not None
    assert slip.of == ("tasks of kind corridor",)
    for task, shown in ((card, True), ("matrix/climbing", False)):
        here = offer.resolved(answer.check("train", task, []).defaults)
        assert ("env.slip" in {s.path for s in here.others("train")}) == shown


def test_an_environment_without_settings_of_its_own_is_named_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ENVIRONMENT.replace("config.slip", "0.0").replace(
        "class Corridor(BatchedEnv):", "class Corridor(BatchedEnv):\n    engine = True\n"
    )
    install(monkeypatch, tmp_path, ENVIRONMENTS, {"corridor": "bare:Corridor"}, {"bare": source})
    (tmp_path / "corridor.yaml").write_text(CARD, encoding="utf-8")
    task = load_card(str(tmp_path / "corridor.yaml"))
    assert env_class("corridor") is EnvConfig
    assert is_engine(task)
    assert errand(task, build_config(flags={"task": str(tmp_path / "corridor.yaml")})) is None
    assert make_env(task, 2, 0).reset().state.shape == (2, 2)


@pytest.mark.parametrize(
    ("point", "source", "said"),
    [
        ("gone:Corridor", None, "does not load: ModuleNotFoundError: No module named 'gone'"),
        ("broken:make", "make = 3\n", "makes no environment: it cannot be called"),
        (
            "misnamed:Settings",
            "from marl.settings import EnvConfig\nclass Settings(EnvConfig): ...\n",
            "is of kind '': give both the same name",
        ),
        (
            "empty:Settings",
            "from marl.settings import EnvConfig\nclass Settings(EnvConfig):\n"
            "    kind: str = 'corridor'\n",
            "has no implementation",
        ),
    ],
)
def test_an_environment_that_fails_is_one_line_when_its_task_is_asked_for(
    point: str,
    source: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    modules = {} if source is None else {point.partition(":")[0]: source}
    install(monkeypatch, tmp_path, ENVIRONMENTS, {"corridor": point}, modules)
    (tmp_path / "corridor.yaml").write_text(CARD, encoding="utf-8")
    assert run(["train", "corridor.yaml"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"environment 'corridor' of package 'demo-plugins' ({point}) {said}" in err
    assert "corridor" not in env_classes()
    assert run(["train", "matrix/climbing", "--dry-run"]) == 0


def test_a_kind_that_is_taken_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, tmp_path, ENVIRONMENTS, {"matrix": "mine:Game"})
    assert run(["train", "matrix/climbing"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "'matrix' is one of this package's own, and package 'demo-plugins'" in err


# -- backends --------------------------------------------------------------------------------------


def test_the_pages_backend_writes_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = {"replies": POINTS["replies"]}
    install(monkeypatch, tmp_path, BACKENDS, points, {"replies": BACKEND})
    _, source = FUNCTIONS["pay_table"]
    (tmp_path / "replies.txt").write_text(f"```python\n{source}```\n", encoding="utf-8")
    assert run(["models", "add", "canned", "replies.txt", "--backend", "replies"]) == 0
    assert "it was not looked at" in capsys.readouterr().out
    assert run(["models", "show", "canned"]) == 0
    assert run(["models", "serve", "canned"]) == 2
    capsys.readouterr()
    search = ["synth", "matrix/climbing", "--coder", "canned", "--evaluator", "first", "--json"]
    assert run([*search, "synth.rounds=1", "synth.candidates=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["accepted"], found["coder"]["name"]) == (1, "canned")


def test_a_backend_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = {"replies": "replies:nothing", "vllm": "replies:open_replies"}
    install(monkeypatch, tmp_path, BACKENDS, points, {"replies": BACKEND})
    (tmp_path / "replies.txt").write_text("hello")
    for backend, said in (
        ("replies", "backend 'replies' of package 'demo-plugins' (replies:nothing) does not load"),
        ("vllm", "backend 'vllm' is one of this package's own"),
        ("replis", "there is no backend 'replis'"),
    ):
        assert run(["models", "add", "canned", "replies.txt", "--backend", backend]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err


def test_a_model_whose_backend_has_gone_is_still_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models.yaml").write_text("canned: {backend: replies, path: replies.txt}\n")
    assert run(["models"]) == 0
    assert "canned" in capsys.readouterr().out
    assert run(["synth", "matrix/climbing", "--coder", "canned"]) == 2
    assert "model 'canned': there is no backend 'replies'" in capsys.readouterr().err
    assert run(["models", "remove", "canned"]) == 0
