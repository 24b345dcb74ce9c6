"""The lines above and below the list of a search, made to fit the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from qllm.facts.search import SearchFacts
from qllm.text import one_line
from qllm.tui.glyphs import status_text
from qllm.units import count, duration

_PARTS = {
    "model": "writing",
    "check": "checking",
    "evaluate": "judging",
    "person": "person",
}
_ASKED = {"stop": "stop was asked for", "stop-after-round": "stops after this round"}
_BASELINE = "VDN"

Part = tuple[int, Text]
"""Priority for leaving it out where room is short (0 last), and the words."""


def fitted(parts: Sequence[Part], width: int, between: str = "  ") -> Text:
    """The parts that fit, the least important left out first.

    Args:
        width: in cells; 0 where it is not known yet.
    """
    kept = [(weight, words) for weight, words in parts if words.plain]
    while width and len(kept) > 1 and _length(kept, between) > width:
        least = max(range(len(kept)), key=lambda at: (kept[at][0], at))
        if kept[least][0] == 0:
            break
        del kept[least]
    line = Text(between).join(words for _, words in kept)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _length(parts: Sequence[Part], between: str) -> int:
    return sum(words.cell_len for _, words in parts) + len(between) * (len(parts) - 1)


def progress(view: SearchFacts, width: int) -> Text:
    """State and counts of the search, and the state of its run."""
    head = view.head
    parts: list[Part] = []
    if head.searched:
        ended = Text(f"✓ search finished {duration(head.elapsed_s)}", "bold green")
        parts += [(0, ended), (1, Text(f"· {_then(view)}")), (2, Text("(r shows it)", "dim"))]
    else:
        parts.append((0, status_text(head.status)))
    if view.rounds and not head.searched:
        rounds = f"round {len(view.rounds)} of {max(head.rounds, len(view.rounds))}"
        parts.append((1, Text(rounds, "bold")))
    parts += [(1, Text(f"({_ASKED[asked]})", "yellow")) for asked in view.asked]
    if view.piloting is not None:
        now = view.piloting
        name = _BASELINE if now.names[now.at] == "vdn" else now.names[now.at]
        words = f"▶ pilot {now.at + 1} of {len(now.names)}: {name} {now.share:.0%}"
        parts.append((1, Text(words, "cyan")))
    parts.append((1, undecided(view)))
    parts += _verdicts(view)
    parts.append((6, Text(f"{count(view.tokens)} {head.unit}", "dim")))
    if not head.searched:
        parts.append((3, Text(duration(head.elapsed_s), "dim")))
    return fitted(parts, width)


def _then(view: SearchFacts) -> str:
    """State of the run after its search."""
    head = view.head
    if head.status == "running":
        return "the run trains now"
    if head.status == "finished":
        return f"the run finished {duration(head.run_s)}"
    return f"the run {'has ' if head.status in ('failed', 'died') else 'is '}{head.status}"


def _verdicts(view: SearchFacts) -> list[Part]:
    stages = view.stages
    rejected = {s: n for s, n in stages.items() if s not in ("accepted", "duplicate")}
    parts: list[Part] = [(3, Text(f"✓ {stages['accepted']} accepted", "green"))]
    if rejected:
        parts.append((3, Text(f"✗ {sum(rejected.values())} rejected", "red")))
        by_stage = ", ".join(f"{one_line(s, 20)} {n}" for s, n in sorted(rejected.items()))
        parts.append((7, Text(f"({by_stage})")))
    elif view.candidates:
        parts.append((4, Text("none rejected", "dim")))
    if stages["duplicate"]:
        parts.append((5, Text(f"= {stages['duplicate']} the same", "yellow")))
    return parts


def undecided(view: SearchFacts) -> Text:
    """That the pilots do not tell the choice from others; empty where they do."""
    found = view.standing
    if found is None or found.decided:
        return Text()
    close = len(found.close) + found.with_baseline
    words = f": {close} not told apart" if close else ""
    return Text(f"! undecided{words}", "bold yellow")


def undecided_in_words(view: SearchFacts) -> str:
    """Explanation of an undecided choice; empty where the pilots decide."""
    found = view.standing
    if found is None or found.decided:
        return ""
    best = view.candidate(found.best)
    name = best.label if best is not None else "the choice"
    others = [c.label for i in found.close if (c := view.candidate(i)) is not None]
    others += [f"the plain sum ({_BASELINE})"] if found.with_baseline else []
    if not others:
        return f"Undecided: the measurements do not set {name} apart."
    return (
        f"Undecided: with the same seeds the pilots do not tell {name} from {', '.join(others)}."
        " More seeds or longer pilots may (synth.pilot_seeds, synth.pilot_updates)."
    )


def setting(view: SearchFacts, width: int) -> Text:
    """Coder, evaluator, gate and constraint; the time by activity, once known."""
    head = view.head
    coder = one_line(head.coder, 40) + ("" if head.is_llm else " (random programs, no LLM)")
    mode = view.gate.mode if view.gate is not None and view.gate.mode else head.gate
    decided = " (decided)" if head.gate == "auto" and mode != "auto" else ""
    spent = [f"{_PARTS[k]} {duration(s)}" for k, s in head.seconds if k in _PARTS and s >= 0.05]
    facts = [
        (0, "coder", coder),
        (1, "evaluator", one_line(head.evaluator, 40)),
        (2, "gate", one_line(mode, 20) + decided),
        (1, "approve", "by hand" if head.approve == "human" else ""),
        (3 if head.constraint == "none" else 2, "constraint", one_line(head.constraint, 20)),
        (4, "time", ", ".join(spent)),
    ]
    parts = [
        (weight, Text.assemble((f"{name} ", "dim"), value))
        for weight, name, value in facts
        if value
    ]
    return fitted(parts, width)


def below(words: Sequence[str], width: int) -> Text:
    """The line under the list."""
    return fitted([(at, Text(w, "dim")) for at, w in enumerate(words)], width, "  ")
