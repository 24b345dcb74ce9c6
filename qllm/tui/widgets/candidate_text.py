"""Texts of a candidate's screen; untrusted parts are escaped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from qllm.facts import phrases
from qllm.facts.candidates import CandidateView
from qllm.store.records import PropertyFacts
from qllm.text import choice_word, one_line, safe
from qllm.tui.glyphs import verdict_text
from qllm.tui.widgets.search_head import fitted
from qllm.units import duration, number, whole

_STATUS = {
    "proved": ("◆", "green"),
    "pass": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
}
_WORDS = {"pass": "tested", "fail": "violated", "warn": "warning"}
_ORDER = ("fail", "warn", "pass", "proved")


SILENT = "The sandbox accepted it without a remark."


def property_status(status: str) -> Text:
    """A property's status as a glyph and a word."""
    glyph, style = _STATUS.get(status, ("?", ""))
    return Text(f"{glyph} {_WORDS.get(status, one_line(status, 12))}", style=style)


def by_weight(properties: Sequence[PropertyFacts]) -> list[PropertyFacts]:
    """The properties from failed to proved."""
    place = {status: at for at, status in enumerate(_ORDER)}
    return sorted(properties, key=lambda p: place.get(p.status, len(_ORDER)))


def head(view: CandidateView, width: int) -> Text:
    """Label, verdict and main facts, as far as they fit."""
    row, check = view.row, view.row.check
    verdict = verdict_text(row.verdict)
    if row.why:
        verdict.append(f": {one_line(row.why, 60)}")
    parts = [(0, Text(row.label, "bold")), (0, verdict)]
    if view.selected:
        parts.append((1, Text(f"★ {choice_word(view.decided)}", "bold yellow")))
    if view.duplicate_of:
        parts.append((1, Text(f"the same as {view.duplicate_of}")))
    if view.pilot is not None and view.pilot.final is not None:
        parts.append((2, Text(f"return {number(view.pilot.final)}", "bold")))
        parts.append((5, Text(f"after {whole(view.pilot.steps)} pilot steps", "dim")))
    if check.signature:
        parts.append((4, Text(f"{one_line(check.signature, 20)} form")))
    if check.igm and row.accepted:
        parts.append((3, Text(f"IGM {one_line(check.igm, 20).replace('-', ' ')}")))
    return fitted(parts, width)


def nothing_to_run(view: CandidateView) -> str:
    """Why a rejected candidate has neither mathematics nor an episode."""
    if view.row.check.properties:
        return (
            f"It was rejected ({one_line(view.row.why, 60)}), and what is rejected is never run"
            " here. The properties tab (1) has the counterexample, the source tab (3) the function."
        )
    return (
        "It was rejected before a function could be read from it"
        f" ({one_line(view.row.why, 60)}): there is nothing to write as mathematics or to run."
        " The feedback tab (5) says what stood in the way."
    )


def found(fact: PropertyFacts | None) -> Text:
    """One property: its meaning, status and counterexample."""
    if fact is None:
        return Text("No property was looked at: it was rejected before.", "dim")
    text = Text()
    text.append(safe(fact.name), "bold")
    text.append("  ")
    text.append_text(property_status(fact.status))
    meaning = phrases.PROPERTY.get(fact.name)
    if meaning:
        text.append(f"\nmeans: {meaning}", "dim")
    if fact.counterexample:
        text.append("\ncounterexample\n", "bold red" if fact.status == "fail" else "bold yellow")
        text.append(safe(fact.counterexample, newlines=True))
    if fact.detail:
        text.append(f"\n{safe(fact.detail, newlines=True)}")
    if fact.status in phrases.STRENGTH:
        text.append(f"\n{phrases.STRENGTH[fact.status]}", "dim")
    return text


def certificate(view: CandidateView) -> Text:
    """Claims about it, and how they were checked."""
    row, check, text = view.row, view.row.check, Text()
    on = sum(state == "on" for state in check.layers.values())
    off = "; ".join(f"{name}: {state}" for name, state in check.layers.items() if state != "on")
    evidence = f"source and graph differ by at most {check.evidence or 0:.2g}"
    lines = {
        "number": f"{row.id}, of run {row.run_id}",
        "written by": view.model,
        "corrects": view.corrects,
        "gate": f"{check.gate}: {phrases.GATE[check.gate]}"
        if check.gate in phrases.GATE
        else check.gate,
        "form": check.signature and f"{check.signature}, {phrases.linear(check.linear_in_q)}",
        "IGM": phrases.IGM.get(check.igm, check.igm),
        "finite": check.finite + (f", |Q| up to {whole(check.q_bound)}" if check.q_bound else ""),
        # What is not linear has slopes that depend on the Qs.
        "slopes in Q" if check.linear_in_q is False else "weights": phrases.weights(
            check.weight_bounds
        ),
        "graph": (row.graph_hash or "")[:32],
        "": (row.graph_hash or "")[32:],
        "rebuilt": "" if check.evidence is None else evidence if check.evidence else "exactly",
        "checked in": duration(check.elapsed_s) if check.elapsed_s is not None else "",
        "layers": f"{on} of {len(check.layers)} on" + (f" ({off})" if off else ""),
    }
    if not check.layers:
        del lines["layers"]
    for name, value in lines.items():
        if value:
            text.append(f"{name:<12}", "dim")
            text.append(f"{safe(value)}\n")
    return text
