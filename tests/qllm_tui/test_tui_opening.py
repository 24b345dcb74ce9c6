"""A new screen is styled once, for the terminal's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from tui_screens import drive, until

from qllm.tui.app import QllmApp
from qllm.tui.screens.run import RunScreen


@pytest.mark.parametrize(
    ("size", "classes"), [((120, 36), {"-wide", "-tall"}), ((79, 20), {"-narrow", "-short"})]
)
def test_what_was_just_mounted_is_not_styled_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], classes: set[str]
) -> None:
    styled: list[set[str]] = []

    def style(self: RunScreen, animate: bool = True) -> None:
        styled.append(set(self.classes))

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        monkeypatch.setattr(RunScreen, "update_node_styles", style)
        app.open_run(1, "run")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.size == size)
        await pilot.pause(0.2)
        assert set(app.screen.classes) == classes
        assert styled == []
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: styled == [{"-normal", "-tall"}])

    drive(home, steps, size)
