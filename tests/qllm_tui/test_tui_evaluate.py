"""The app evaluates: asked for by a key, played in a process, told in a table or in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from tui_screens import drawn, drive, open_run, runs, text_of, told, until
from tui_store import IDS

from qllm.cli.main import run
from qllm.tui.app import QllmApp
from qllm.tui.jobs import Ended
from qllm.tui.reading.evaluated import read_evaluated
from qllm.tui.screens.evaluate import EvaluateScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.runs import RunsScreen

SMALL = (80, 24)


def document(**changes: Any) -> str:
    """What ``qllm evaluate --json`` prints of one training on football."""
    row = {
        "number": "7.2", "algo": "qmix", "training_seed": 1, "step": 20_000,
        "returns": [0.0, 1.0], "return_mean": 0.5, "return_mean_ci": [0.25, 0.75],
        "metric_values": {"goal_rate": [0.0, 1.0]}, "goal_rate_mean": 0.5,
        "goal_rate_mean_ci": None, **changes,
    }  # fmt: skip
    told = {"task": "football/x", "episodes": 2, "seed": 0, "rows": [row]}
    return json.dumps(told, indent=2)


def test_the_document_is_read_from_between_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"qllm: 1 of 2 trainings have played\n{document()}\nqllm: run 7.1: none\n")
    found = read_evaluated(log)
    assert found.said == "football/x: 2 greedy episodes of each training, seed 0"
    assert [(row.number, row.what, row.mean, row.low, row.high) for row in found.rows] == [
        ("7.2", "return", 0.5, 0.0, 1.0),
        ("7.2", "goal_rate", 0.5, 0.0, 1.0),
    ]
    assert found.notes == ("1 of 2 trainings have played", "run 7.1: none")
    for text in ("", "qllm: no", "{\n}\n", document(returns=[])):
        log.write_text(text)
        with pytest.raises((ValueError, KeyError)):
            read_evaluated(log)


class Playing:
    """A job in place of a process, which ends when it is told to."""

    def __init__(self, app: QllmApp, log: Path) -> None:
        self.log, self.words = log, ()
        app.start_job = self.start  # type: ignore[assignment,method-assign]

    def start(self, words: Any, ended: Any, meanwhile: Any) -> Playing:
        self.words, self.end, self.meanwhile = words, ended, meanwhile
        return self

    def last_lines(self, lines: int) -> tuple[str, ...]:
        return ("qllm: 3 of 6 trainings have played",)


async def asked(app: QllmApp, pilot: Pilot[Any]) -> EvaluateScreen:
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, EvaluateScreen))
    screen = app.screen
    assert isinstance(screen, EvaluateScreen)
    await until(pilot, lambda: isinstance(app.focused, Input))
    return screen


def test_a_run_is_asked_for_followed_and_shown_at_80x24(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(document())

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        job = Playing(app, log)
        runs(app).go_to(IDS.pipeline)
        await asked(app, pilot)
        assert "evaluate run 1: greedy episodes" in drawn(app)
        await pilot.press("end", "0", "tab", *["delete"] * 6, *"best", "enter")
        words = ("evaluate", "1", "--episodes=1000", "--checkpoint=best", "--json")
        assert job.words == words
        job.meanwhile()
        await until(pilot, lambda: "3 of 6 trainings have played" in drawn(app))
        job.end(Ended(0, ("}",)))
        await until(pilot, lambda: "goal_rate" in drawn(app))
        picture = drawn(app)
        for said in ("2 greedy episodes", "95% of mean", "[0.250, 0.750]", "7.2", "20k", "qmix"):
            assert said in picture
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))

    drive(home, steps, SMALL)


def test_one_may_leave_and_is_told_the_end(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        job = Playing(app, log)
        for ended, text, said in (
            (Ended(0, ("}",)), document(), "run 7.2: return 0.500 [0.250, 0.750]"),
            (Ended(2, ("qllm: run 1.1: no checkpoint",)), "", "run 1: run 1.1: no checkpoint"),
        ):
            runs(app).go_to(IDS.pipeline)
            await asked(app, pilot)
            await pilot.press("enter", "escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            log.write_text(text)
            job.meanwhile()
            job.end(ended)
            await until(pilot, lambda said=said: said in told(app))

    drive(home, steps, SMALL)


def test_a_search_has_nothing_to_play_and_the_palette_offers_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        def offered() -> list[str]:
            return [command.title for command in app.get_system_commands(app.screen)]

        runs(app).go_to(IDS.pipeline)
        await until(pilot, lambda: "evaluate" in offered())
        searches = [row.id for row in app.screen._all if row.kind == "synth"]  # type: ignore[attr-defined]
        runs(app).go_to(searches[0])
        await until(pilot, lambda: "evaluate" not in offered())
        await open_run(app, pilot, IDS.pipeline)
        assert "evaluate" in offered()
        await asked(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))

    drive(home, steps, SMALL)


@pytest.mark.long
def test_what_is_shown_is_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In real processes: a training, then a checkpoint that is not there."""
    monkeypatch.delenv("QLLM_DB", raising=False)
    small = ["steps=200", "agent.hidden=8", "learner.batch_size=4", "--display", "none"]
    words = ["--algo", "qmix", *small, "--home", str(tmp_path)]
    assert run(["train", "mpe/spread-3", *words]) == 0
    capsys.readouterr()
    assert run(["evaluate", "1", "--episodes", "5", "--json", "--home", str(tmp_path)]) == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        screen = await asked(app, pilot)
        screen.query_one("#episodes", Input).value = "5"
        await pilot.press("enter")
        await until(pilot, lambda: "[" in drawn(app), 120)
        assert f"{row['return_mean']:.1f}" in drawn(app)
        await pilot.press("escape")
        screen = await asked(app, pilot)
        screen.query_one("#checkpoint", Input).value = "77"
        await pilot.press("enter")
        await until(pilot, lambda: "playing" not in text_of(app, "#said"), 120)
        await until(pilot, lambda: "no checkpoint in" in text_of(app, "#said"))
        assert "\n" not in text_of(app, "#said")

    drive(tmp_path, steps, SMALL)
