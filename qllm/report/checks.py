"""The HTML page of ``qllm check``: each file's verdict, findings, source and mathematics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prompts.cards import TaskCard
from qllm.report.data import CandidateFacts, PropertyFacts
from qllm.report.render import render_page
from sandbox.report import CheckReport


def candidate_facts(name: str, report: CheckReport) -> CandidateFacts:
    """A checked file as a report shows a candidate."""
    return CandidateFacts(
        id=0,
        label=name,
        round=0,
        slot=0,
        repair=0,
        parent=None,
        verdict=report.verdict,
        stage=report.stage,
        rule=report.rule,
        code=report.code,
        reply=report.source,
        feedback=report.feedback,
        signature=report.signature,
        gate=report.gate,
        igm=report.igm,
        finite=report.finite,
        linear_in_q=report.linear_in_q,
        weight_bounds=report.weight_bounds,
        q_bound=report.q_bound,
        properties=tuple(
            PropertyFacts(p.name, p.status, p.examples, p.counterexample, p.detail)
            for p in report.properties
        ),
        graph_hash=report.graph_hash,
        elapsed_s=report.elapsed_s,
        mathematics=report.mathematics,
    )


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
        candidates=[candidate_facts(name, report) for name, report in checked],
        layers=layers,
    )
