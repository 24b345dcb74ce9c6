"""Algorithms of other packages: the page's examples as they stand there, and plug-ins that fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from installed_plugins import install

from marl.errors import SettingsError
from marl.settings.registry import ALGORITHMS
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import load_card
from qllm.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "algorithms" / "your-own.md"
MISNAMED = "from marl.settings import AlgorithmSettings\nclass Settings(AlgorithmSettings): ...\n"
BROKEN = {
    "broken": ("broken:Settings", "import no_such_module_of_mine\n"),
    "vdn": ("mine:Settings", ""),
    "other": ("other:Settings", "class Settings: ...\n"),
    "misnamed": ("misnamed:Settings", MISNAMED),
}


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The page's examples, installed."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    points = dict(re.findall(r'^(\w+) = "(\w+:\w+)"$', text, re.M))
    sources = dict(zip(points, blocks, strict=True))
    install(monkeypatch, tmp_path, ALGORITHMS, points, sources)
    return sources


def test_the_pages_examples_are_short(examples: dict[str, str]) -> None:
    assert examples["softmin"].count("\n") < 35
    assert examples["reinforce"].count("\n") < 100


@pytest.mark.parametrize("name", ["softmin", "reinforce"])
def test_the_pages_examples_learn(name: str, examples: dict[str, str]) -> None:
    card = load_card("matrix/penalty-0").model_copy(update={"horizon": 5})
    config = TrainConfig.model_validate(
        {
            "steps": 4_000,
            "algorithm": {"name": name},
            "learner": {"lr": 0.01},
            "device": "cpu",
            "agent": {"hidden": 32},
            "exploration": {"anneal_steps": 2_000},
            "evaluation": {"every": 4_000, "episodes": 1},
        }
    )
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    assert Trainer(card, config, 0).run().evaluations[-1].mean == 50


def test_the_command_line_trains_it_with_its_own_settings(
    examples: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(tmp_path / "runs"), "train", "matrix/penalty-0", "--algo", "softmin"]
    short = ["steps=200", "evaluation.every=200", "algorithm.temperature=1"]
    assert run([*words, *short]) == 0
    assert "softmin" in capsys.readouterr().out
    assert run([*words, "algorithm.temprature=1"]) == 2
    assert "algorithm.temperature" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "does not load: ModuleNotFoundError: No module named 'no_such_module_of_mine'"),
        ("vdn", "registers another one under that name"),
        ("other", "is no subclass of AlgorithmSettings"),
        ("misnamed", "give both the same name"),
    ],
)
def test_a_plugin_that_fails_is_one_line_when_it_is_asked_for(
    name: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = {name: value for name, (value, _) in BROKEN.items()}
    modules = {value.partition(":")[0]: source for value, source in BROKEN.values()}
    install(monkeypatch, tmp_path, ALGORITHMS, points, modules)
    with pytest.raises(SettingsError, match=re.escape(said)):
        ALGORITHMS[name]
    assert name not in list(ALGORITHMS)
    words = ["--home", str(tmp_path / "runs"), "train", "matrix/penalty-0"]
    assert run([*words, "--algo", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert "qmix" in list(ALGORITHMS)


def test_two_packages_with_one_name_are_both_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = ("one-package", "other-package")
    install(monkeypatch, tmp_path, ALGORITHMS, {"mine": "mine:Settings"}, packages=packages)
    with pytest.raises(SettingsError, match=r"'one-package'.* and by package 'other-package'"):
        ALGORITHMS["mine"]
