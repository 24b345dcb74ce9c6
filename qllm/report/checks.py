"""The HTML page of ``qllm check``: each file's verdict, findings, source and mathematics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prompts.cards import TaskCard
from qllm.facts.candidates import CandidateFacts, candidate_facts
from qllm.report.render import render_page
from qllm.store.schema import Candidate
from sandbox.report import CheckReport


def _facts(name: str, report: CheckReport) -> CandidateFacts:
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
    """Write the page, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    layers = checked[-1][1].layers if checked else {}
    return render_page(
        path,
        "check.html.j2",
        title=f"Checks for {card.name}",
        task=card.name,
        candidates=[_facts(name, report) for name, report in checked],
        layers=layers,
    )
