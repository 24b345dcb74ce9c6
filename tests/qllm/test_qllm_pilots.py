"""How long pilots are, what they cost, and what is said of choices that they do not decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompts.cards import load_card
from qllm.cli.main import run
from qllm.config.build import build_config
from qllm.jobs.pilot import pilot_cost, pilot_plan, seconds_per_update
from qllm.jobs.search_context import trains_on_gpu
from qllm.store.store import open_store
from synth.pilot import PilotPlan

pytestmark = pytest.mark.long


def plan(task: str, **settings: object) -> PilotPlan:
    words = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    return pilot_plan(build_config(overrides=[f"task={task}", *words]), load_card(task))


@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-2s", "mpe/spread-3", "mpe/tag"])
@pytest.mark.parametrize("preset", ["equal", "epymarl", "paper"])
def test_pilots_have_a_thousand_updates_whatever_the_task(task: str, preset: str) -> None:
    found = plan(task, preset=preset)
    assert 1_000 <= found.updates < 1_100
    assert found.warning == ""


def test_pilots_are_never_longer_than_the_training_and_say_that_they_are_short() -> None:
    found = plan("lbf/8x8-2p-2f-coop-2s", steps=20_000)
    assert found.steps == 20_000
    assert found.updates < 1_000
    assert f"{found.updates:,} updates" in found.warning
    assert plan("matrix/climbing").updates >= 1_000, "up to two updates an episode"


def test_fewer_updates_are_a_choice_that_is_warned_of() -> None:
    found = plan("mpe/spread-3", synth__pilot_updates=64)
    assert (found.updates, found.steps) == (64, (3 + 8) * 8 * 25)
    assert "says little" in found.warning


def test_explicit_steps_keep_the_trainings_own_ratio_of_updates() -> None:
    """What used to be the default: 6 updates in level-based foraging, 18 in spread."""
    before = {"learner__updates_per_rollout": 1, "learner__batch_size": 64}
    lbf = plan("lbf/8x8-2p-2f-coop-2s", synth__pilot_steps=5_000, **before)
    spread = plan("mpe/spread-3", synth__pilot_steps=5_000, **before)
    assert (lbf.steps, lbf.updates, lbf.updates_per_rollout) == (5_000, 6, 1)
    assert spread.updates == 18
    assert lbf.warning
    assert spread.warning


def test_the_cost_counts_every_pilot_of_the_search() -> None:
    config = build_config(overrides=["task=mpe/spread-3", "synth.rounds=2", "synth.candidates=4"])
    said = pilot_cost(PilotPlan(10_000, 1_000, 8), config.synth, update_s=0.1)
    assert "8 functions and the plain sum x 3 seeds x 10,000 environment steps" in said
    assert "(about 1,000 updates each): about 270k steps, roughly 45m 00s" in said


QUICK = [
    *("steps=2000", "evaluation.every=1000", "agent.hidden=8", "learner.batch_size=8"),
    *("sandbox.examples=10", "evaluation.final_episodes=20", "evaluation.episodes=4"),
]
SEARCH = ["synth.rounds=1", "synth.candidates=2", "synth.pilot_updates=16", "--coder", "sampler"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object], str]:
    """A search in level-based foraging, whose pilots are far too short."""
    import contextlib
    import io

    home, out, err = tmp_path_factory.mktemp("home"), io.StringIO(), io.StringIO()
    words = ["--home", str(home), "synth", "lbf/8x8-2p-2f-coop-2s", *QUICK, *SEARCH]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert run([*words, "--json", "--display", "plain"]) == 0, err.getvalue()
    document: dict[str, object] = json.loads(out.getvalue())
    return home, document, err.getvalue()


def test_a_search_that_tells_nothing_apart_says_undecided(
    found: tuple[Path, dict[str, object], str],
) -> None:
    _, document, said = found
    assert document["decided"] is False
    assert str(document["reason"]).startswith("undecided: ")
    assert document["selected"] is not None
    assert isinstance(document["pilot_updates"], int)
    assert 16 <= document["pilot_updates"] < 1_000
    assert "warning: pilots of about" in said
    assert said.index("pilots: up to 2 functions and the plain sum") < said.index("round 1 of 1")
    assert "is selected" not in said


def test_the_report_of_an_undecided_search_shows_differences_and_cost(
    found: tuple[Path, dict[str, object], str],
) -> None:
    home, document, _ = found
    page = (home / str(document["run"]) / "report.html").read_text(encoding="utf-8")
    assert "was taken, undecided" in page
    assert "was selected" not in page
    assert "taken, undecided</span>" in page
    assert "paired by seed after the same steps" in page
    assert f"{document['pilot_steps']:,} environment steps" in page


def test_seconds_per_update_are_those_of_the_newest_training_of_the_task(tmp_path: Path) -> None:
    words = ["--home", str(tmp_path), "train", "matrix/climbing", *QUICK, "--display", "none"]
    assert run(words) == 0
    with open_store(tmp_path, readonly=True) as store:
        per_update = seconds_per_update(store, "matrix/climbing")
        assert per_update is not None
        assert per_update > 0
        assert seconds_per_update(store, "mpe/spread-3") is None


def test_models_make_room_for_trainings_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [trains_on_gpu(device) for device in ("cpu", "auto", "cuda:0")] == [False, False, True]
