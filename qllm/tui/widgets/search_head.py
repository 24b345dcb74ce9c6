"""The lines above and below the list of a search, made to fit the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from qllm.text import one_line
from qllm.tui.glyphs import status_text
from qllm.tui.reading.search_view import SynthesisView
from qllm.units import count, duration, number

_PARTS = {
    "model": "writing",
    "check": "checking",
    "evaluate": "judging",
    "person": "person",
}
_ASKED = {"stop": "stop was asked for", "stop-after-round": "stops after this round"}
_BASELINE = "VDN"

Part = tuple[int, Text]
"""How soon it is left out where there is no room (0 last), and the words."""


def fitted(parts: Sequence[Part], width: int, between: str = "  ") -> Text:
    """As many parts as there is room for, the least important left out first.

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


def progress(view: SynthesisView, width: int) -> Text:
    """Where the search is, what came of it, what its run does besides."""
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
    parts.append((1, tie(view)))
    parts += _verdicts(view)
    parts.append((6, Text(f"{count(view.tokens)} {head.unit}", "dim")))
    if not head.searched:
        parts.append((3, Text(duration(head.elapsed_s), "dim")))
    return fitted(parts, width)


def _then(view: SynthesisView) -> str:
    """What becomes of the run after its search."""
    head = view.head
    if head.status == "running":
        return "the run trains now"
    if head.status == "finished":
        return f"the run finished {duration(head.run_s)}"
    return f"the run {'has ' if head.status in ('failed', 'died') else 'is '}{head.status}"


def _verdicts(view: SynthesisView) -> list[Part]:
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


def tie(view: SynthesisView) -> Text:
    """That the best is not alone, or that the pilots tell nothing; empty where they tell."""
    found = view.standing
    if found is None or (not found.tied and found.separated):
        return Text()
    if found.tied:
        others = len(found.tied)
        words = f"tie of {others} with {_BASELINE}" if found.with_baseline else f"tie of {others}"
        if others == 1:
            words = f"no better than {_BASELINE}"
    else:
        words = "pilots hardly differ"
    return Text(f"! {words}", "bold yellow")


def tie_in_words(view: SynthesisView) -> str:
    """What a tie means for the selection; empty where there is none."""
    found = view.standing
    if found is None or (not found.tied and found.separated):
        return ""
    baseline = f" and the plain sum ({_BASELINE})" if found.with_baseline else ""
    said = ""
    if found.tied:
        many = len(found.tied)
        who = f"{many} of {found.measured} functions" if many > 1 else "The best function"
        share = "share" if many > 1 or baseline else "has"
        said = f"{who}{baseline} {share} the best return, {number(found.best)}"
        said += (
            ", so the selection among them is a tie-break and no finding. " if many > 1 else ". "
        )
    if not found.separated:
        said += (
            "All returns lie within 2%: the pilots do not separate these functions. Longer ones"
            " may (synth.pilot_steps)."
        )
    return said.strip()


def setting(view: SynthesisView, width: int) -> Text:
    """Who writes and judges what, under which constraint; where the time went, once it is known."""
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
