"""Pictures of a report and of the terminal app's main screens, as the README shows them.

    python scripts/screenshots.py HOME docs/images [PICTURE...]

HOME is a folder of runs. Where it has none, the demonstration and a comparison are run first, which
takes minutes. Each picture of the app is written as SVG, and as PNG where a browser (chromium) is
installed; the report's needs one.
"""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from textual.pilot import Pilot

from qllm.store.store import open_store
from qllm.tui.app import QllmApp

SIZE = (120, 36)
REPORT_SIZE = (1290, 1510)
QUIET_S, PATIENCE_S = 3.0, 90.0
"""A screen is whole when it stays the same for so long, at most after the latter."""
COLOURS = 128

KEYS = {"tui-synthesis": ("end",)}
"""What is pressed before a picture is taken: the last candidate was repaired after a rejection."""
COMPARISON = ("compare", "matrix/climbing-weather", "--algos", "qmix,iql", "--seeds", "0,1,2")

Steps = Callable[[QllmApp], object]


def make_runs(home: Path) -> None:
    """Run the demonstration, and two more algorithms on its task."""
    from demo import COMMAND

    at_home = [sys.executable, "-m", "qllm.cli.main", "--home", str(home.resolve())]
    folder = Path(__file__).resolve().parents[1]  # the demonstration starts from a file here
    for words in (COMMAND.split(), [*COMPARISON, "--steps", "10000"]):
        subprocess.run([*at_home, *words], check=True, cwd=folder)


async def _settled(pilot: Pilot[None]) -> None:
    """Wait until the threads that read the store have told everything."""
    seen, since = "", 0.0
    for _ in range(round(PATIENCE_S)):
        await pilot.pause(1.0)
        drawn = pilot.app.export_screenshot()
        since, seen = (since + 1.0 if drawn == seen else 0.0), drawn
        if since >= QUIET_S:
            return


async def _take(home: Path, path: Path, push: Steps, keys: tuple[str, ...]) -> None:
    app = QllmApp(home)
    async with app.run_test(size=SIZE) as pilot:
        await _settled(pilot)
        push(app)
        await _settled(pilot)
        for key in keys:
            await pilot.press(key)
            await _settled(pilot)
        path.write_text(app.export_screenshot(title="qllm"), encoding="utf-8")


def _photograph(page: Path, png: Path, size: tuple[int, int], scale: float) -> Path:
    """A page as a browser shows it, in few colours; the page itself where there is no browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return page
    width, height = size
    options = ["--headless", "--no-sandbox", "--hide-scrollbars"]
    options.append(f"--force-device-scale-factor={scale}")
    words = [*options, f"--window-size={width},{height}", f"--screenshot={png}", page.as_uri()]
    subprocess.run([browser, *words], check=True, capture_output=True)
    with Image.open(png) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(png, optimize=True)
    return png


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an SVG."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text(encoding="utf-8"))
    assert box is not None
    return math.ceil(float(box[1])), math.ceil(float(box[2]))


def main(home: Path, folder: Path, wanted: list[str]) -> None:
    """Take the wanted pictures; without any, those that the documentation shows."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (home / "qllm.db").exists():
        make_runs(home)
    with open_store(home, readonly=True) as store:
        listed = store.runs.listed(top_level=True)
        run = next(r for r in listed if r.kind == "run")
        report = store.run_dir(run.id).resolve() / "report.html"
        rows = store.synthesis.candidates(run.id)
        rejected = next((c.id for c in rows if c.verdict == "rejected"), rows[0].id)
        chosen = next(r.selected_candidate_id for r in reversed(store.synthesis.rounds(run.id)))
        compared = tuple(r.id for r in listed if r.kind in ("run", "compare"))[:2]
    screens: dict[str, Steps] = {
        "tui-runs": lambda app: None,
        "tui-run": lambda app: app.open_run(run.id, "run"),
        "tui-synthesis": lambda app: app.open_run(run.id, "synth"),
        "tui-rejected": lambda app: app.open_candidate(rejected),
        "tui-candidate": lambda app: app.open_candidate(chosen or rejected),
        "tui-compare": lambda app: app.open_comparison(compared),
        "tui-launch": lambda app: app.action_launch(),
        "tui-system": lambda app: app.action_system(),
    }
    shown = [name for name in ("report", *screens) if (folder / f"{name}.png").exists()]
    for name in wanted or shown or ["report", *screens]:
        png = folder.resolve() / f"{name}.png"
        if name == "report":
            print(_photograph(report, png, REPORT_SIZE, 1.0))
            continue
        svg = png.with_suffix(".svg")
        asyncio.run(_take(home, svg, screens[name], KEYS.get(name, ())))
        made = _photograph(svg, png, _size(svg), 0.8)
        print(made)
        if made == png:
            svg.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
