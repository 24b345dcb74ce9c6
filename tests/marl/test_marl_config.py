"""The settings: frozen, documented, refusing what they do not know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from marl.settings.exploration import ExplorationConfig, epsilon_at
from marl.settings.registry import ALGORITHMS
from marl.settings.train import TrainConfig


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{path}{name}.")


def test_every_field_is_described() -> None:
    models = [("", TrainConfig), *((f"algorithm.{n}.", m) for n, m in ALGORITHMS.items())]
    for path, model in models:
        for name, field in fields(model, path):
            assert field.description, name


def test_the_algorithm_is_chosen_by_its_name_and_keeps_to_its_own_settings() -> None:
    config = TrainConfig.model_validate({"algorithm": {"name": "qmix", "mixing_dim": 8}})
    assert config.algorithm.model_dump(exclude_none=True) == {
        "name": "qmix",
        "mixing_dim": 8,
        "hypernet_dim": 64,
    }
    with pytest.raises(ValidationError, match="mixing_dim"):
        TrainConfig.model_validate({"algorithm": {"name": "vdn", "mixing_dim": 8}})
    with pytest.raises(ValidationError, match="unknown algorithm 'qmx': did you mean qmix"):
        TrainConfig.model_validate({"algorithm": {"name": "qmx"}})


@pytest.mark.parametrize(
    "change",
    [
        {"stps": 1},
        {"steps": 0},
        {"learner": {"lr": float("nan")}},
        {"learner": {"lr": -1}},
        {"learner": {"batch_size": 64, "replay_capacity": 32}},
        {"env": {"num_envs": 300}, "learner": {"replay_capacity": 200}},
        {"env": {"time_limit": "never"}},
        {"device": "tpu"},
        {"exploration": {"start": 2}},
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(change)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_settings_survive_json(name: str) -> None:
    config = TrainConfig.model_validate({"algorithm": {"name": name}, "learner": {"lr": 1 / 3}})
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainConfig().learner.lr = 1.0


def test_epsilon_falls_in_a_straight_line_and_stays() -> None:
    config = ExplorationConfig(start=1.0, finish=0.2, anneal_steps=100)
    assert [epsilon_at(config, t) for t in (0, 50, 100, 1000)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert epsilon_at(ExplorationConfig(finish=0.3, anneal_steps=0), 0) == 0.3


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("marl.settings", ("torch", "numpy", "jinja2", "yaml", "prompts.cards")),
        ("qllm.config.build", ("torch", "numpy", "jinja2", "sqlalchemy")),
    ],
)
def test_settings_load_little(imported: str, unwanted: tuple[str, ...]) -> None:
    told = f"import sys, {imported}; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_says_what_is_wrong_without_torch() -> None:
    told = (
        "import sys; from qllm.cli.main import run;"
        "print(run(['train', 'matrix/climbing', 'learner.lrr=1']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 False"
