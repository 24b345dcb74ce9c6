"""What is said about a candidate, as text that nothing in it can turn into anything else."""

from __future__ import annotations

from rich.text import Text

from qllm.report.data import PropertyFacts
from qllm.text import choice_word, one_line, safe
from qllm.tui.glyphs import verdict_text
from qllm.tui.reading.candidate import MEANING, CandidateView
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


_STRENGTH = {
    "proved": "proved: it holds for every state within the card's ranges, not for examples alone",
    "pass": "tested: no counterexample among the examples, which proves nothing beyond them",
    "warn": "a warning: no reason to reject",
    "fail": "violated: the function is rejected for it",
}

_IGM = {
    "by-gate": "holds by the gate, which makes every weight ≥ 0",
    "proved": "proved: q_tot never falls when an agent's Q rises",
    "proved-over-reals": "proved over the reals: q_tot never falls but for float32's rounding",
    "tested": "tested, not proved: no counterexample was found",
    "violated": "violated: q_tot can fall when an agent's Q rises",
    "not-required": "not asked for under this gate",
}
_GATE = {
    "enforce": "enforce: q_tot may not fall when an agent's Q rises",
    "relax": "relax: q_tot may fall when an agent's Q rises",
}

SILENT = "The sandbox accepted it without a remark."


def property_status(status: str) -> Text:
    """A property's status as a glyph and a word."""
    glyph, style = _STATUS.get(status, ("?", ""))
    return Text(f"{glyph} {_WORDS.get(status, one_line(status, 12))}", style=style)


def by_weight(properties: tuple[PropertyFacts, ...]) -> list[PropertyFacts]:
    """What failed first, what is proved last."""
    place = {status: at for at, status in enumerate(_ORDER)}
    return sorted(properties, key=lambda p: place.get(p.status, len(_ORDER)))


def head(view: CandidateView, width: int) -> Text:
    """Who it is and what became of it, as far as there is room."""
    row = view.row
    verdict = verdict_text(row.verdict)
    if row.why:
        verdict.append(f": {one_line(row.why, 60)}")
    parts = [(0, Text(row.label, "bold")), (0, verdict)]
    if view.selected:
        parts.append((1, Text(f"★ {choice_word(view.decided)}", "bold yellow")))
    if view.duplicate_of:
        parts.append((1, Text(f"the same as {view.duplicate_of}")))
    if view.final_return is not None:
        parts.append((2, Text(f"return {number(view.final_return)}", "bold")))
        parts.append((5, Text(f"after {whole(view.pilot_steps)} pilot steps", "dim")))
    if row.form:
        parts.append((4, Text(f"{one_line(row.form, 20)} form")))
    if row.igm and row.verdict != "rejected":
        parts.append((3, Text(f"IGM {one_line(row.igm, 20).replace('-', ' ')}")))
    return fitted(parts, width)


def nothing_to_run(view: CandidateView) -> str:
    """Why there is neither mathematics nor an episode of a rejected candidate."""
    if view.properties:
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
    """One property: what it says, and what was found against it."""
    if fact is None:
        return Text("No property was looked at: it was rejected before.", "dim")
    text = Text()
    text.append(safe(fact.name), "bold")
    text.append("  ")
    text.append_text(property_status(fact.status))
    meaning = MEANING.get(fact.name)
    if meaning:
        text.append(f"\nmeans: {meaning}", "dim")
    if fact.counterexample:
        text.append("\ncounterexample\n", "bold red" if fact.status == "fail" else "bold yellow")
        text.append(safe(fact.counterexample, newlines=True))
    if fact.detail:
        text.append(f"\n{safe(fact.detail, newlines=True)}")
    if fact.status in _STRENGTH:
        text.append(f"\n{_STRENGTH[fact.status]}", "dim")
    return text


def certificate(view: CandidateView) -> Text:
    """What is claimed of it, and how it was looked at."""
    row, text = view.row, Text()
    lines: list[tuple[str, str]] = [
        ("number", f"{row.id}, of run {view.run_id}"),
        ("written by", view.model),
        ("corrects", view.corrects),
        ("gate", _GATE.get(row.gate, row.gate)),
        ("form", row.form),
        ("linear in Q", {True: "yes", False: "not shown"}.get(view.linear_in_q, "")),  # type: ignore[arg-type]
        ("IGM", _IGM.get(row.igm, row.igm)),
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
    name = "weights" if view.linear_in_q is not False else "slopes in Q"
    ends = [_range(low, high) for low, high in view.weight_bounds]
    if len(set(ends)) == 1:
        return [(name, f"every agent's {ends[0]}")]
    return [
        (name if agent == 0 else "", f"agent {agent}'s {words}") for agent, words in enumerate(ends)
    ]


def _range(low: float | None, high: float | None) -> str:
    """What is proved of a weight."""
    if low is None and high is None:
        return "are not proved to stay within any bounds"
    if low is None or high is None:
        side, end = ("at most", high) if low is None else ("at least", low)
        return f"are proved to be {side} {end:.4g}"
    return f"are proved to be {low:.4g} to {high:.4g}"


def _layers(view: CandidateView) -> str:
    if not view.layers:
        return ""
    off = [f"{name}: {state}" for name, state in view.layers if state != "on"]
    on = len(view.layers) - len(off)
    return f"{on} of {len(view.layers)} on" + (f" ({'; '.join(off)})" if off else "")
