"""Reports in a real browser: they show, ask nobody for anything, complain of nothing, run nothing.

The browser's own log of requests and its console are read, and a page that does all of this shows
that they would be seen.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_fixture import full_report
from test_report_render import hostile

from marl.statistics import Difference
from qllm.facts.compared import ComparedRun, Comparison, Differing, Entry
from qllm.report.data import Report
from qllm.report.render import render, render_comparison

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium here (apt-get install chromium)"),
    pytest.mark.timeout(180),
]

_ACTS = """<script>document.title = "ran"; console.error("it complains")</script>
<img src="http://intruder.invalid/pixel.png" onerror="document.title = 'ran'">
<a href="javascript:alert(1)">x</a><style>@import "http://intruder.invalid/style.css";</style>"""


_MEASURES = """<script>document.title = [...document.querySelectorAll(".scroll")].filter(
e => e.scrollWidth > e.clientWidth).map(e => e.innerText.slice(0, 40)).join("; ") || "fits"
</script>"""


@dataclass(frozen=True)
class Shown:
    """What became of a page in the browser."""

    dom: str
    console: list[str]
    requests: list[str]
    """Addresses that the page asked for, besides its own file."""

    @property
    def words(self) -> str:
        """Its text."""
        parts: list[str] = []
        parser = HTMLParser()
        parser.handle_data = parts.append  # type: ignore[method-assign]
        parser.feed(self.dom)
        return " ".join(" ".join(parts).split())


def show(html: str, folder: Path) -> Shown:
    """Open a page, wait for it, and read what happened."""
    page, log = folder / "page.html", folder / "net.json"
    page.write_text(html, encoding="utf-8", errors="surrogatepass")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        "--net-log-capture-mode=IncludeSensitive",
        "--enable-logging=stderr",
        "--virtual-time-budget=2000",
        "--window-size=1280,800",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Shown(done.stdout, console, _requests(log))


def _requests(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8")
    try:
        document = json.loads(text)
    except ValueError:  # the browser was too quick to end the list
        document = json.loads(text.rstrip().rstrip(",") + "]}")
    asked = (event.get("params", {}).get("url", "") for event in document["events"])
    return sorted({url for url in asked if "intruder.invalid" in url})


def comparison() -> Comparison:
    curve = full_report().curves[0]
    entries = (
        Entry(1, "vdn", "#1 vdn", "matrix/climbing", "finished", 3, 1.0, (0.5, 1.5), 1.0, (0, 2)),
        Entry(
            2,
            "qllm",
            "#2 qllm",
            "matrix/climbing",
            "finished",
            3,
            difference=Difference(2.0, (1.0, 3.0), 3),
            curve=curve,
        ),
    )
    runs = tuple(
        ComparedRun(i, "run", "matrix/climbing", "finished", "qllm run matrix/climbing", 0.0)
        for i in (1, 2)
    )
    settings = (Differing("steps", ("1", "2")),)
    return Comparison(runs, entries, "#1 vdn", "as chosen", settings, 90, "Line: IQM.")


def acting(report: Report) -> Report:
    """A report whose candidates' replies try to act."""
    assert report.synthesis is not None
    changed: Report = hostile(report, _ACTS)
    return changed


def test_a_page_that_acts_is_seen_to_act(tmp_path: Path) -> None:
    shown = show(f"<!doctype html><title>plain</title><body>{_ACTS}", tmp_path)
    assert "<title>ran</title>" in shown.dom
    assert any("it complains" in line for line in shown.console)
    assert len(shown.requests) == 2


def test_a_report_shows_and_asks_nobody(tmp_path: Path) -> None:
    shown = show(render(full_report()), tmp_path)
    for piece in ("Results", "What was generated", "Transcripts", "The function at work"):
        assert piece in shown.words
    assert shown.console == []
    assert shown.requests == []


def test_a_comparison_shows_and_asks_nobody(tmp_path: Path) -> None:
    shown = show(render_comparison(comparison(), [full_report()]), tmp_path)
    for piece in ("2 runs compared", "the reference", "Where the settings differ", "Transcripts"):
        assert piece in shown.words
    assert shown.console == []
    assert shown.requests == []


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_what_a_model_wrote_does_nothing(kind: str, tmp_path: Path) -> None:
    report = acting(full_report())
    compared: Comparison = hostile(comparison(), _ACTS)
    html = render(report) if kind == "report" else render_comparison(compared, [report])
    shown = show(html, tmp_path)
    assert "intruder.invalid/pixel.png" in shown.words
    assert "<title>ran</title>" not in shown.dom
    assert "<script" not in shown.dom
    assert shown.console == []
    assert shown.requests == []


@pytest.mark.parametrize("kind", ["report", "comparison"])
def test_the_tables_fit_a_usual_screen(kind: str, tmp_path: Path) -> None:
    report = full_report()
    html = render(report) if kind == "report" else render_comparison(comparison(), [report])
    html = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", html, flags=re.IGNORECASE)
    shown = show(html.replace("</body>", f"{_MEASURES}</body>"), tmp_path)
    assert "<title>fits</title>" in shown.dom
