"""Texts of a search's screen; untrusted parts are escaped."""

from __future__ import annotations

from rich.text import Text

from qllm.facts import phrases
from qllm.facts.candidates import CandidateFacts
from qllm.facts.pilots import Pilot
from qllm.facts.search import RoundFacts, SearchFacts
from qllm.text import choice_word, one_line, rich_text, safe
from qllm.tui.widgets.search_head import undecided_in_words
from qllm.units import number, plural, whole
from synth.pilot import BASELINE_KEY


def waiting(view: SearchFacts) -> Text:
    """The banner over a proposal."""
    proposal = view.waiting
    assert proposal is not None
    candidate = view.candidate(proposal.candidate_id)
    name = candidate.label if candidate else str(proposal.candidate_id)
    text = Text(f"? {name} waits for you: ", "bold")
    text.append("a approves it, x rejects it", "bold")
    text.append(f"   {one_line(proposal.reason, 300)}")
    return text


def feedback(candidate: CandidateFacts | None) -> Text:
    """The sandbox's feedback to the coder."""
    if candidate is None:
        return Text("Choose a candidate on the list to see the sandbox's feedback.", "dim")
    if candidate.check.feedback:
        return rich_text(candidate.check.feedback, newlines=True)
    if candidate.verdict == "duplicate":
        return Text("Accepted, but it computes what an earlier candidate computes.")
    if candidate.verdict == "accepted":
        return Text(
            "Nothing: the sandbox accepted it without a remark. Enter shows its properties."
        )
    return Text("The sandbox gave no reason.")


def evaluator(view: SearchFacts) -> Text:
    """Selection, reason, result and advice of each round."""
    if not view.rounds:
        return Text("No round has begun.", "dim")
    text, tied = Text(), undecided_in_words(view)
    if tied:
        text.append(f"! {tied}\n\n", "yellow")
    return text + Text("\n").join(_judged(r, view) for r in reversed(view.rounds))


def _judged(r: RoundFacts, view: SearchFacts) -> Text:
    text = Text()
    chosen = view.candidate(r.selected)
    text.append(f"Round {r.round + 1}", "bold underline")
    if r.finished:
        what = f"{choice_word(r.decided)} {chosen.label}" if chosen else "nothing selected"
        text.append(f"  {what}", "bold")
    else:
        text.append("  not judged yet", "dim")
    if r.accepted is not None:
        same = f", {r.duplicates} the same" if r.duplicates else ""
        text.append(f"   {r.accepted} accepted, {r.rejected or 'none'} rejected{same}", "dim")
    text.append("\n")
    _said(text, "judged by", view.head.evaluator)
    _said(text, "reason", r.reason)
    _said(text, "result", r.result)
    _said(text, "advice", r.advice)
    for answer in r.answers:
        _said(text, "person", answer)
    pilots = [p for p in view.pilots if p.round == r.round]
    if pilots:
        text.append_text(_pilots(pilots))
    return text


def _said(text: Text, name: str, words: str) -> None:
    if words:
        text.append(f"{name:<11}", "dim")
        text.append(f"{safe(words, newlines=True)}\n")


def _pilots(pilots: list[Pilot]) -> Text:
    wide, most = max(12, *(len(p.name) for p in pilots)), max(p.steps for p in pilots)
    text = Text("\n")
    text.append(f"{'pilot':<{wide}}  {'steps':>7}  {'seeds':>5}  {'final':>8}  {'AUC':>8}\n", "dim")
    for p in pilots:
        row = f"{safe(p.name):<{wide}}  {whole(p.steps):>7}  {len(p.seeds):>5}"
        # An area over a shorter training is another quantity.
        row += f"  {number(p.final):>8}  {number(p.area) if p.steps == most else '':>8}"
        text.append(row)
        if p.error:
            text.append(f"  ✗ {one_line(p.error, 120)}", "red")
        text.append("\n")
    text.append(
        "final: mean over seeds of the mean return in the last evaluation (compare equal steps)\n"
        "AUC: area under the curve, the same of all evaluations after step 0\n",
        "dim",
    )
    if any(p.baseline for p in pilots):
        text.append(f"{BASELINE_KEY}: the plain sum of the agents' values\n", "dim")
    return text


def gate(view: SearchFacts) -> Text:
    """The decision on the gate and its evidence."""
    g = view.gate
    if g is None:
        return Text("The gate is not decided yet." if view.head.gate == "auto" else "", "dim")
    text = Text()
    text.append(f"{safe(g.mode)}", "bold")
    text.append(f"  {phrases.GATE[g.mode]}" if g.mode in phrases.GATE else "")
    if g.mode == "enforce" and g.function:
        text.append(f"; weights form: each weight goes through {safe(g.function)}")
    text.append("\n")
    _said(text, "reason", g.reason)
    _said(text, "proposed", g.proposal)
    if not g.rows:
        return text
    steps = f" after {whole(g.steps)} steps" if g.steps else ""
    text.append(f"\n{'candidate':<12}{'relax':>10}{'enforce':>10}   returns{steps}\n", "dim")
    for row in g.rows:
        text.append(f"{safe(row.candidate):<12}{number(row.relax):>10}{number(row.enforce):>10}   ")
        if row.same:
            text.append("= the same function under both")
        elif row.enforce_refused:
            text.append(f"✗ rejected under enforce: {safe(row.enforce_refused)}", "red")
        text.append("\n")
    return text


def notes(view: SearchFacts) -> Text:
    """Notes of the run, and its end."""
    text = Text()
    for level, note in view.notes:
        warning = level == "warning"
        text.append("! " if warning else "· ", "bold yellow" if warning else "dim")
        text.append(f"{safe(note, newlines=True)}\n")
    if view.head.error:
        text.append("✗ ", "bold red")
        text.append(f"{safe(view.head.error, newlines=True)}\n")
    if view.head.status == "died":
        text.append("† ", "bold red")
        text.append(f"its process is gone: `qllm resume {view.head.run_id}` goes on with it\n")
    found = sum(c.verdict == "accepted" for c in view.candidates)
    text.append(f"· {plural(found, 'function')} accepted so far", "dim")
    if any(not s.whole for s in view.scores.values()):
        text.append(
            "\n¹ trained for a part of the steps only: the better half went on (synth.halving)",
            "dim",
        )
    rejected = sum(c.verdict == "rejected" for c in view.candidates)
    if view.candidates:
        text.append(f"\n· {rejected or 'none'} rejected by the sandbox", "dim")
    return text
