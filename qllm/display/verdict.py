"""The verdict of ``qllm check`` on one file, for a terminal."""

from __future__ import annotations

from typing import Any

from qllm.text import one_line, rich_text
from sandbox.report import CheckReport

_GLYPHS = {"proved": "✓ proved", "pass": "✓ pass", "warn": "! warn", "fail": "✗ fail"}
_STYLES = {"proved": "green", "pass": "green", "warn": "yellow", "fail": "bold red"}


def show_verdict(name: str, report: CheckReport) -> None:
    """One line, the feedback, and for what reached the properties their table, on stdout."""
    from rich.console import Console

    console = Console(highlight=False)
    style = "bold green" if report.accepted else "bold red"
    console.print(rich_text(_headline(name, report), style), soft_wrap=True)
    for line in report.feedback.strip().splitlines():
        # Indented where it is wrapped, too: no candidate's text begins a line of the report.
        for part in rich_text(line).wrap(console, max(20, console.width - 2)):
            part.rstrip()
            console.print("  ", part, sep="", soft_wrap=True)
    if report.properties:
        console.print(_table(report))
    if report.mathematics:
        console.print(rich_text(report.mathematics, newlines=True), soft_wrap=True)


def _headline(name: str, report: CheckReport) -> str:
    if not report.accepted:
        return (
            f"rejected  {one_line(name)}: at stage {report.stage} ({report.rule},"
            f" {report.elapsed_s:.1f} s)"
        )
    linear = "linear in q" if report.linear_in_q else "not shown to be linear in q"
    return (
        f"accepted  {one_line(name)}: {report.signature} form, {linear}, IGM {report.igm},"
        f" finite {report.finite} ({report.elapsed_s:.1f} s)"
    )


def _table(report: CheckReport) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("property", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("examples", justify="right")
    for p in report.properties:
        table.add_row(
            rich_text(p.name),
            rich_text(_GLYPHS[p.status], _STYLES[p.status]),
            str(p.examples) if p.examples else "–",
        )
    return table
