"""What a form offers comes from the configuration, and means what the command line means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qllm.cli import work
from qllm.cli.main import run as qllm
from qllm.config.build import build_config
from qllm.config.commands import trained_by
from qllm.config.keys import walk
from qllm.config.tree import RunConfig
from qllm.tui.form import answer
from qllm.tui.form.fields import (
    FIRST,
    MORE,
    SHORT,
    STORY,
    Command,
    changed,
    reads,
    words,
)

OFFER = answer.offer()


def test_every_setting_can_be_set() -> None:
    paths = {key.path for key in walk(RunConfig)} | {"algorithm"}
    paths -= {"task", "algorithm.name", "env.kind"}
    assert {setting.path for setting in OFFER.settings} == paths
    assert all(setting.about for setting in OFFER.settings if "." not in setting.path)


@pytest.mark.parametrize("command", list(FIRST))
def test_settings_are_first_or_more_or_listed_or_of_no_use(command: Command) -> None:
    shown = [*FIRST[command], *MORE[command]]
    others = {s.path for s in OFFER.others(command)}
    assert [s.path for s in OFFER.settings_of(shown)] == shown
    assert len(set(shown)) == len(shown)
    assert not set(shown) & others
    unread = {s.path for s in OFFER.settings if not reads(command, s.path)}
    assert {*shown, *others, *unread} == {s.path for s in OFFER.settings}
    assert STORY[command]
    assert set(shown) <= set(SHORT)


def _found(command: Command, typed: str, values: dict[str, str] | None = None) -> list[str]:
    return [setting.path for setting in OFFER.found(command, typed, values or {})]


def test_a_search_finds_names_meanings_choices_and_values() -> None:
    assert _found("run", "learner lr") == ["learner.lr", "own"]
    assert "synth.halving" in _found("run", "successive")
    assert _found("run", "SAMPLER") == ["synth.coder"]
    assert "gate.mode" in _found("run", "enforce")
    assert "steps" in _found("run", "20000")
    assert _found("run", "4711", {"steps": "4711"}) == ["steps"]
    assert _found("run", "no such thing") == []
    assert OFFER.read_by("no such thing") == ()
    assert OFFER.read_by("tfcaf certificate") == ("train", "compare")


def test_kinds_of_settings_follow_their_types() -> None:
    gate, halving, lr = map(OFFER.setting, ("gate.mode", "synth.halving", "learner.lr"))
    assert gate is not None
    assert (gate.kind, gate.choices) == ("choice", ("enforce", "relax", "auto"))
    assert halving is not None
    assert (halving.kind, halving.default) == ("switch", "true")
    assert lr is not None
    assert (lr.kind, lr.default) == ("text", "0.003")


def test_tasks_have_titles_and_families_their_numbers() -> None:
    tasks = {task.name: task for task in OFFER.tasks}
    assert tasks["matrix/climbing"].title == "Climbing game"
    family = tasks["matrix/penalty-{k}"]
    assert family.family is not None
    assert (family.family.low, family.family.high) == (0, 100)
    assert family.called("25") == "matrix/penalty-25"
    assert family.title == "Penalty game with penalty k"
    assert tasks["football/3-vs-1"].plays


def test_a_task_is_offered_the_settings_of_its_kind_alone() -> None:
    def shown(task: str) -> set[str]:
        offer = OFFER.resolved(answer.check("train", task, []).defaults)
        return {s.path for s in offer.others("train") if s.path.startswith("env.")}

    both = {"env.num_envs", "env.time_limit"}
    assert shown("matrix/climbing") == {*both, "env.observe"}
    assert shown("mpe/tag") == {*both, "env.opponent", "env.opponent_numbering"}
    assert shown("lbf/8x8-2p-2f-coop-2s") == both
    observe = OFFER.setting("env.observe")
    assert observe is not None
    assert observe.of == ("tasks of kind matrix",)
    offer = OFFER.resolved(answer.check("train", "mpe/tag", []).defaults)
    assert changed(offer, "train", {"env.observe": "joint", "steps": "9"}) == (("steps", "9"),)


def test_only_what_was_changed_and_is_read_is_sent() -> None:
    values = {
        "steps": "500",
        "gate.mode": "enforce",
        "synth.halving": "true",
        "tfcaf": "7",
        "synth.start": "12, it's.py",
        "seeds": " ",
    }
    found = changed(OFFER, "run", values)
    assert dict(found) == {
        "steps": "500", "gate.mode": "enforce", "synth.halving": "true",
        "synth.start": "['12', 'it''s.py']",
    }  # fmt: skip
    said = words("run", "matrix/climbing", found)
    assert said[:2] == ("run", "matrix/climbing")
    assert "synth.start=['12', 'it''s.py']" in said
    checked = answer.check("run", "matrix/climbing", said[2:])
    assert checked.problem == ""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"steps": "500", "seeds": "3,4", "synth.rounds": "1", "learner.lr": "1e-4"},
        {
            "preset": "epymarl",
            "algorithms": "qmix,coma",
            "own": "{qmix: {algorithm: {mixing_dim: 8}}}",
        },
    ],
)
@pytest.mark.parametrize("command", list(FIRST))
def test_it_means_what_the_command_line_means(
    command: Command, values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        "qllm.jobs.runner.start", lambda _, kind, config, **more: given.append(config)
    )

    def do(job: Any, **_: object) -> int:
        job(None)
        return 0

    monkeypatch.setattr(work, "do", do)
    said = words(command, "matrix/climbing", changed(OFFER, command, values))
    assert qllm(said) == 0
    here = build_config(overrides=said[2:], flags={"task": said[1]}, **trained_by(command))
    assert given == [here]
    assert answer.check(command, said[1], said[2:]).problem == ""
    filled, note = answer.like(command, here.model_dump(mode="json"))
    assert note == ""
    again = words(command, filled.task, changed(OFFER, command, filled.values))
    given.clear()
    assert qllm(again) == 0
    assert given == [here]


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("matrix/climbing", ["steps=0"], "steps"),
        ("matrix/climbing", ["synth.codr=sampler"], "did you mean synth.coder"),
        ("matrix/climbin", [], "unknown task"),
        ("football/academy-3-vs-1", [], "football/3-vs-1 (its new name"),
        ("", [], "task: choose one"),
        ("matrix/climbing", ["steps=[1"], "no YAML"),
    ],
)
def test_refusals_are_those_of_the_command_line(
    task: str,
    settings: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer.check("train", task, settings)
    assert said in found.problem
    assert "command line" not in found.problem  # there is none in a form
    assert qllm(["train", *([task] if task else []), *settings, "--home", str(tmp_path)]) == 2
    if task:
        printed = capsys.readouterr().err.replace(" (on the command line)", "")
        assert found.problem in printed


def test_numbers_are_written_as_they_are_read() -> None:
    settings = ["steps=1e6", "learner.lr=1", "seeds=[0,1]", "algorithm.mixing_dim=1e2"]
    yaml = answer.check("train", "matrix/climbing", [*settings, "algorithm=qmix"]).yaml
    assert "steps: 1000000\n" in yaml
    assert "lr: 1\n" in yaml
    assert "mixing_dim: 100\n" in yaml


def test_the_yaml_is_a_file_for_config(tmp_path: Path) -> None:
    settings = ["steps=500", "synth.coder=sampler", "algorithms=vdn,qmix"]
    path = tmp_path / "settings.yaml"
    path.write_text(answer.check("run", "matrix/climbing", settings).yaml)
    flags = {"task": "matrix/climbing"}
    same = build_config(overrides=settings, flags=flags, compared=("qllm",))
    assert build_config(file=path, compared=("qllm",)) == same


def test_neither_the_form_nor_the_screens_import_torch_or_the_configuration() -> None:
    code = (
        "import sys, qllm.tui.screens.launch, qllm.tui.screens.compare, qllm.tui.screens.system;"
        "print([m for m in ('torch', 'qllm.config.tree', 'transformers') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
