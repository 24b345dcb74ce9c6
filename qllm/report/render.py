"""A report as one HTML file without network access, scripts or trust in its contents.

Three things keep a model's text from acting: every value that the template prints goes through
``safe`` and is then escaped; the file's content policy allows its own style block and nothing
else; and no value is ever printed into a URL, an attribute that could carry one, or the style.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from prompts.cards import TaskCard
from qllm import units
from qllm.drafts import drafted
from qllm.facts import phrases
from qllm.facts.candidates import CandidateFacts, candidate_facts
from qllm.facts.compared import Comparison
from qllm.facts.pilots import drawn
from qllm.report import summary
from qllm.report.credit_picture import credit_svg
from qllm.report.credit_picture import words as credit_words
from qllm.report.data import Report
from qllm.report.plots import learning_curves, pilot_curves
from qllm.store.numbers import run_name
from qllm.store.schema import Candidate
from qllm.text import safe
from sandbox.report import CheckReport

_HERE = Path(__file__).parent


_MOST_HIGHLIGHTED = 60_000
"""Characters; longer text is shown plainly, since highlighting it would cost seconds."""


def _highlighted(code: str) -> Markup:
    """``code`` in spans of Pygments' short classes, characters that hide or act made visible."""
    shown = safe(code, newlines=True, tabs=True).strip("\n")
    if len(shown) > _MOST_HIGHLIGHTED:
        return escape(shown)
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(shown, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))


def _finalize(value: object) -> object:
    # Runs on everything that the template prints, so that no place can forget it.
    return value if isinstance(value, Markup) else safe(str(value), newlines=True, tabs=True)


def _anchor(label: str) -> str:
    """A label as part of an element's id; whatever is not a plain word becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", label)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


@cache
def _style() -> str:
    return (_HERE / "report.css").read_text(encoding="utf-8")


def _policy(style: str) -> str:
    """The content policy: this style block, and nothing else at all."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        run_name=run_name,
        count=units.count,
        whole=units.whole,
        number=units.number,
        interval=units.interval,
        duration=units.duration,
        plural=units.plural,
        weights=phrases.weights,
        values=phrases.values,
        meaning=phrases.meaning,
        highlighted=_highlighted,
        when=_when,
        anchor=_anchor,
    )
    environment.globals.update(
        linear_words=phrases.linear,
        tokens_words=summary.tokens_words,
        gate_words=summary.gate_words,
        gate_reason=summary.gate_reason,
        pilot_words=summary.pilot_words,
    )
    return environment


def render(report: Report) -> str:
    """The report as HTML. The same report gives the same text."""
    reference, differences = summary.differences(report.rows)
    context: dict[str, Any] = {
        "report": report,
        "run": report.run,
        "task": report.task,
        "synthesis": report.synthesis,
        "chosen": report.synthesis.chosen if report.synthesis is not None else None,
        "summary": summary.summary(report),
        "row_notes": list(summary.row_notes(report)),
        "has_pilots": any(r.pilot_steps != 0 for r in report.rows),
        "curves": learning_curves(report.curves),
        "metric_curves": [
            learning_curves(group, f"metric{place}")
            for place, group in enumerate(report.metric_curves)
        ],
        "metrics": list(dict.fromkeys(name for row in report.rows for name in row.metrics)),
        "credit_picture": credit_svg(report.episode) if report.episode is not None else "",
        "credit_words": credit_words(report.episode) if report.episode is not None else [],
        "pilots": report.synthesis.pilot_rows if report.synthesis else (),
        "pilot_curves": pilot_curves(
            drawn(report.synthesis.pilot_rows) if report.synthesis else ()
        ),
        "reference": reference,
        "differences": differences,
    }
    return _rendered("report.html.j2", context)


def _rendered(template: str, context: dict[str, Any]) -> str:
    style = _style()
    framed = {**context, "style": Markup(style), "policy": _policy(style)}
    return _environment().get_template(template).render(framed)


def write_report(report: Report, path: Path) -> Path:
    """Write the report to ``path``, whole or not at all; returns the path.

    Raises:
        OSError: the folder cannot be made or written.
    """
    return _written(path, render(report))


def render_comparison(compared: Comparison, reports: Sequence[Report]) -> str:
    """The comparison of several runs as HTML, with the folded parts of their own reports."""
    context: dict[str, Any] = {
        "compared": compared,
        "reports": [_with_own_anchors(report) for report in reports],
        "findings": summary.findings(compared),
        "command": summary.comparison_command(compared),
        "has_pilots": any(e.pilot_steps != 0 for e in compared.entries),
        "many_tasks": len({run.task for run in compared.runs}) > 1,
        "curves": learning_curves(compared.curves),
        "metrics": list(dict.fromkeys(name for e in compared.entries for name in e.metrics)),
    }
    return _rendered("compare.html.j2", context)


def _with_own_anchors(report: Report) -> Report:
    """Candidates called by their run, too: those of two runs have the same labels."""
    if report.synthesis is None:
        return report

    candidates = tuple(
        replace(c, label=f"{report.run.id}: {c.label}") for c in report.synthesis.candidates
    )
    return replace(report, synthesis=replace(report.synthesis, candidates=candidates))


def write_comparison(compared: Comparison, reports: Sequence[Report], path: Path) -> Path:
    """Write a comparison to ``path``, whole or not at all; returns the path.

    Raises:
        OSError: the folder cannot be made or written.
    """
    return _written(path, render_comparison(compared, reports))


def _checked(name: str, report: CheckReport) -> CandidateFacts:
    """A checked file as a report shows a candidate."""
    row = Candidate(
        id=0,
        run_id=0,
        round=0,
        slot=0,
        repair=0,
        attempt=0,
        source=report.source,
        graph_hash=report.graph_hash,
        stage=report.stage,
        verdict=report.verdict,
        rule=report.rule,
        report=report.to_json(),
    )
    return replace(candidate_facts(row), label=name)


def write_checks(path: Path, checked: Sequence[tuple[str, CheckReport]], card: TaskCard) -> Path:
    """Write the page of ``qllm check``: each file's verdict, findings, source and mathematics.

    Raises:
        OSError: the file cannot be written.
    """
    layers = checked[-1][1].layers if checked else {}
    context = {
        "title": f"Checks for {card.name}",
        "candidates": [_checked(name, report) for name, report in checked],
        "layers": layers,
    }
    return _written(path, _rendered("check.html.j2", context))


def _written(path: Path, text: str) -> Path:
    with drafted(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
