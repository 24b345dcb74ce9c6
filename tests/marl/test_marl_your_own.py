"""Algorithms of other packages: the page's examples as they stand there, and plug-ins that fail."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from marl.errors import SettingsError
from marl.settings.registry import ALGORITHMS, GROUP, OWN
from marl.settings.train import TrainConfig
from marl.trainer import Trainer
from prompts.cards import load_card
from qllm.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "algorithms" / "your-own.md"
BROKEN = {
    "broken": ("broken:Settings", "import no_such_module_of_mine\n"),
    "vdn": ("mine:Settings", ""),
    "other": ("other:Settings", "class Settings: ...\n"),
    "misnamed": (
        "misnamed:Settings",
        "from marl.settings import AlgorithmSettings\nclass Settings(AlgorithmSettings): ...\n",
    ),
}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, modules: dict[str, Any]) -> None:
    """Put modules on the path, and their settings among the entry points."""
    points = {}
    for name, (value, source) in modules.items():
        (folder / f"{value.partition(':')[0]}.py").write_text(source)
        points[name] = EntryPoint(name, value, GROUP)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(ALGORITHMS.__dict__, "_plugins", points)
    monkeypatch.setitem(ALGORITHMS.__dict__, "_loaded", dict(OWN))


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The page's examples, installed."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    points = re.findall(r'^(\w+) = "(\w+:\w+)"$', PAGE.read_text(encoding="utf-8"), re.M)
    modules = {n: (value, source) for (n, value), source in zip(points, blocks, strict=True)}
    install(monkeypatch, tmp_path, modules)
    return {name: source for name, (_, source) in modules.items()}


def test_the_pages_examples_are_short(examples: dict[str, str]) -> None:
    assert examples["softmin"].count("\n") < 35
    assert examples["reinforce"].count("\n") < 100


@pytest.mark.parametrize("name", ["softmin", "reinforce"])
def test_the_pages_examples_learn(name: str, examples: dict[str, str]) -> None:
    card = load_card("matrix/penalty-0").model_copy(update={"horizon": 5})
    config = TrainConfig.model_validate(
        {
            "steps": 4_000,
            "algorithm": {"name": name, "lr": 0.01},
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
    install(monkeypatch, tmp_path, BROKEN)
    with pytest.raises(SettingsError, match=re.escape(said)):
        ALGORITHMS[name]
    assert name not in list(ALGORITHMS)
    words = ["--home", str(tmp_path / "runs"), "train", "matrix/penalty-0"]
    assert run([*words, "--algo", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert "qmix" in list(ALGORITHMS)
