"""What is said about a candidate, as text that nothing in it can turn into anything else."""

from __future__ import annotations

from rich.text import Text

from qllm.report.data import PropertyFacts
from qllm.text import one_line, safe
from qllm.tui.glyphs import verdict_text
from qllm.tui.reading.candidate import MEANING, CandidateView
from qllm.units import duration, number, whole

_STATUS = {
    "proved": ("◆", "green"),
    "pass": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
}
_WORDS = {"pass": "tested"}
_ORDER = ("fail", "warn", "pass", "proved")


def property_status(status: str) -> Text:
    """A property's status as a glyph and a word."""
    glyph, style = _STATUS.get(status, ("?", ""))
    return Text(f"{glyph} {_WORDS.get(status, one_line(status, 12))}", style=style)


def by_weight(properties: tuple[PropertyFacts, ...]) -> list[PropertyFacts]:
    """What failed first, what is proved last."""
    place = {status: at for at, status in enumerate(_ORDER)}
    return sorted(properties, key=lambda p: place.get(p.status, len(_ORDER)))


def head(view: CandidateView) -> Text:
    """Who it is and what became of it."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if view.selected:
        text.append("★ ", "bold yellow")
    text.append(view.row.label, "bold")
    text.append("  ")
    text.append_text(verdict_text(view.row.verdict))
    if view.row.verdict == "rejected":
        text.append(f"  {one_line(view.row.rule or view.row.stage, 60)}")
    if view.duplicate_of:
        text.append(f"  the same as {view.duplicate_of}")
    if view.row.form:
        text.append(f"  {one_line(view.row.form, 20)} form")
    if view.row.igm:
        text.append(f"  IGM {one_line(view.row.igm, 20)}")
    if view.final_return is not None:
        text.append(f"  return {number(view.final_return)}", "bold")
        text.append(f" after {whole(view.pilot_steps)} pilot steps", "dim")
    return text


def found(fact: PropertyFacts | None) -> Text:
    """One property: what it says, and what was found against it."""
    if fact is None:
        return Text("No property was looked at: the sandbox refused it before.", "dim")
    text = Text()
    text.append(safe(fact.name), "bold")
    text.append("  ")
    text.append_text(property_status(fact.status))
    meaning = MEANING.get(fact.name)
    if meaning:
        text.append(f"\n{meaning}", "dim")
    if fact.counterexample:
        text.append("\n\ncounterexample\n", "bold")
        text.append(safe(fact.counterexample, newlines=True))
    if fact.detail:
        text.append(f"\n\n{safe(fact.detail, newlines=True)}")
    return text


def certificate(view: CandidateView) -> Text:
    """What is claimed of it, and how it was looked at."""
    row, text = view.row, Text()
    lines: list[tuple[str, str]] = [
        ("number", f"{row.id}, of run {view.run_id}"),
        ("written by", view.model),
        ("corrects", view.corrects),
        ("gate", row.gate),
        ("form", row.form),
        ("linear in Q", {True: "yes", False: "not shown"}.get(view.linear_in_q, "")),  # type: ignore[arg-type]
        ("IGM", row.igm),
        ("finite", row.finite + (f", |Q| up to {whole(view.q_bound)}" if view.q_bound else "")),
        *_weights(view),
        ("graph", (row.graph_hash or "")[:32]),
        ("", (row.graph_hash or "")[32:]),
        ("rebuilt", "exactly" if view.evidence == 0 else _evidence(view.evidence)),
        ("checked in", duration(view.elapsed_s) if view.elapsed_s is not None else ""),
        ("layers", _layers(view)),
    ]
    for name, value in lines:
        if value:
            text.append(f"{name:<12}", "dim")
            text.append(f"{safe(value)}\n")
    return text


def _evidence(evidence: float | None) -> str:
    return "" if evidence is None else f"source and graph differ by {evidence:.2g} at most"


def _weights(view: CandidateView) -> list[tuple[str, str]]:
    ends = [
        f"{'-∞' if low is None else f'{low:.4g}'} to {'∞' if high is None else f'{high:.4g}'}"
        for low, high in view.weight_bounds
    ]
    if len(set(ends)) == 1:
        return [("weights", f"every agent {ends[0]} (proved)")]
    return [
        ("weights" if agent == 0 else "", f"agent {agent} {words} (proved)")
        for agent, words in enumerate(ends)
    ]


def _layers(view: CandidateView) -> str:
    if not view.layers:
        return ""
    off = [f"{name}: {state}" for name, state in view.layers if state != "on"]
    on = len(view.layers) - len(off)
    return f"{on} of {len(view.layers)} on" + (f" ({'; '.join(off)})" if off else "")
