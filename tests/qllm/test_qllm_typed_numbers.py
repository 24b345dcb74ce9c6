"""Numbers as people type them, and one warning where a run is short for its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.cards import load_card
from qllm.cli.main import run
from qllm.config.build import build_config
from qllm.config.errors import ConfigError
from qllm.jobs.advice import advice
from qllm.units import typed_number, typed_range


@pytest.mark.parametrize(
    ("text", "value"),
    [("20k", 20_000), ("2M", 2_000_000), ("1e6", 1_000_000), ("1.5k", 1_500), ("20_000", 20_000),
     ("3e-4", 3e-4), ("-3", -3), ("2x", None), ("k", None), ("1e400", None), ("", None)],
)  # fmt: skip
def test_numbers_may_be_typed_short(text: str, value: float | None) -> None:
    assert typed_number(text) == value


def test_a_range_has_both_its_ends() -> None:
    assert typed_range("0-4") == [0, 1, 2, 3, 4]
    assert typed_range("4-0") is typed_range("0-99999999") is typed_range("0-x") is None


def test_settings_take_short_numbers_and_ranges(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("seeds: 0-1\nexploration: {anneal_steps: 5k}\nlog_every: 2k\n")
    config = build_config(
        file=file,
        overrides=["evaluation.every=10k", "own.vdn.learner={batch_size: 1k, replay_capacity: 1k}"],
        flags={"task": "matrix/climbing", "seeds": "0-2,7", "steps": "2M"},
    )
    assert config.seeds == (0, 1, 2, 7)
    assert (config.steps, config.evaluation.every, config.log_every) == (2_000_000, 10_000, 2_000)
    assert (config.exploration.anneal_steps, config.learner.batch_size) == (5_000, 1_000)


@pytest.mark.parametrize("word", ["steps=2x", "seeds=0-x", "seeds=5-1", "seeds=0-99999999"])
def test_what_is_no_number_is_refused_in_its_place(word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(ConfigError, match=f"^{key}=.*: must be"):
        build_config(overrides=[word], flags={"task": "matrix/climbing"})


def test_a_short_run_is_warned_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", str(tmp_path), "--steps", "0.2k", "--display", "plain"]
    assert run(["train", "matrix/climbing", *words, "evaluation.every=50k"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    (line,) = said
    assert "200 steps are few for these settings: evaluation.every=50000 evaluates only" in line
    assert "exploration.anneal_steps=10000 leaves epsilon at 0.981, not at 0.050" in line


def test_fitting_settings_and_one_thread_need_no_advice() -> None:
    card = load_card("matrix/climbing")
    config = build_config(flags={"task": card.name})
    assert list(advice(config, card)) == []
    (line,) = advice(build_config(flags={"task": card.name, "threads": 2}), card)
    assert line.startswith("threads=2: ")
