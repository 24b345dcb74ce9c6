"""Pictures of the terminal app's main screens, as the README shows them.

    python scripts/screenshots.py HOME FOLDER

HOME is a folder of runs whose newest runs hold a `qllm run` and a `qllm compare`. Each picture is
written as SVG, and as PNG where a browser (chromium) is installed.
"""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from qllm.store.store import open_store
from qllm.tui.app import QllmApp

SIZE = (120, 36)
PATIENCE_S = 30.0

Steps = Callable[[Pilot[None]], Awaitable[None]]


async def _settled(pilot: Pilot[None], seconds: float = 2.0) -> None:
    """Give the thread that reads the store, and what it starts, time to answer."""
    await pilot.pause(seconds)


async def _take(home: Path, folder: Path, name: str, steps: Steps) -> None:
    app = QllmApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await _settled(pilot)
        await steps(pilot)
        path = folder.resolve() / f"{name}.svg"
        path.write_text(app.export_screenshot(title="qllm"), encoding="utf-8")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print(path)
        return
    width, height = _size(path)
    png = path.with_suffix(".png")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=0.8"]
    words = [*options, f"--window-size={width},{height}", f"--screenshot={png}", path.as_uri()]
    subprocess.run([browser, *words], check=True, capture_output=True)
    path.unlink()
    print(png)


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an SVG."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text(encoding="utf-8"))
    assert box is not None
    return math.ceil(float(box[1])), math.ceil(float(box[2]))


def main(home: Path, folder: Path) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_store(home, readonly=True) as store:
        listed = store.runs.listed(top_level=True)
        run = next(r for r in listed if r.kind == "run")
        rows = store.synthesis.candidates(run.id)
        rejected = next((c.id for c in rows if c.verdict == "rejected"), rows[0].id)
        chosen = next(r.selected_candidate_id for r in reversed(store.synthesis.rounds(run.id)))
        compared = tuple(r.id for r in listed if r.kind in ("run", "compare"))[:2]

    def opens(push: Callable[[QllmApp], object], seconds: float = 4.0) -> Steps:
        async def steps(pilot: Pilot[None]) -> None:
            assert isinstance(pilot.app, QllmApp)
            push(pilot.app)
            await _settled(pilot, seconds)

        return steps

    pictures: dict[str, Steps] = {
        "tui-runs": opens(lambda app: None),
        "tui-run": opens(lambda app: app.open_run(run.id, "run")),
        "tui-synthesis": opens(lambda app: app.open_run(run.id, "synth")),
        "tui-rejected": opens(lambda app: app.open_candidate(rejected)),
        "tui-candidate": opens(lambda app: app.open_candidate(chosen or rejected), PATIENCE_S),
        "tui-compare": opens(lambda app: app.open_comparison(compared), 8.0),
        "tui-launch": opens(lambda app: app.action_launch(), 8.0),
        "tui-system": opens(lambda app: app.action_system(), 20.0),
    }
    wanted = sys.argv[3:] or list(pictures)
    for name in wanted:
        asyncio.run(_take(home, folder, name, pictures[name]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
