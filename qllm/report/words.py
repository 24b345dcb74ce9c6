"""The report's first paragraph and its table cells: findings in words, as strong as they are."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

from marl.statistics import Difference
from qllm import differences as paired
from qllm.facts import phrases
from qllm.facts.candidates import CandidateFacts
from qllm.facts.compared import Comparison
from qllm.facts.pilots import drawn
from qllm.facts.search import SearchFacts
from qllm.report.data import Report, RunFacts
from qllm.store.numbers import run_name
from qllm.units import ABSENT, duration, interval, number, whole

_STATUS = {
    "finished": "finished",
    "failed": "failed before it was done",
    "stopped": "was stopped before it was done",
    "running": "was still running when this report was written",
    "paused": "was paused when this report was written",
    "queued": "had not started when this report was written",
    "died": "ended without a word: its process is gone",
}


def plural(n: int, singular: str, plural_form: str | None = None) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{whole(n)} {singular if n == 1 else plural_form or singular + 's'}"


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def summary(report: Report) -> list[str]:
    """What a reader in a hurry should know, a sentence or two per item."""
    sentences = [*_outcome(report.run)]
    if report.synthesis is not None:
        sentences += _generated(report.synthesis)
        sentences += _selected(report.synthesis)
    sentences += _compared(report)
    return sentences


def _outcome(run: RunFacts) -> Iterator[str]:
    if run.status != "finished":
        reason = f": {run.error.rstrip('.')}" if run.error else ""
        yield f"The run {_STATUS.get(run.status, run.status)}{reason}. What it had done is below."


def _generated(synthesis: SearchFacts) -> Iterator[str]:
    coder = f"the language model {synthesis.head.coder}"
    if not synthesis.head.is_llm:
        coder = (
            f"the {synthesis.head.coder}, which writes random programs and is not a language model"
        )
    given = [c for c in synthesis.candidates if synthesis.was_given(c)]
    replies = tuple(c for c in synthesis.candidates if c not in given)
    if not replies:
        yield f"The coder was {coder}. It has not written a function yet."
        return
    accepted = [c for c in replies if c.accepted]
    different = len({c.graph_hash for c in accepted})
    rounds = plural(len({c.round for c in replies}), "round")
    text = f"The coder was {coder}. In {rounds} it wrote {plural(len(replies), 'reply', 'replies')}"
    text += f"; the sandbox accepted {len(accepted)} and rejected {len(replies) - len(accepted)}"
    if different != len(accepted):
        text += f" (the accepted ones compute {plural(different, 'different function')})"
    yield text + "." + _reasons(replies)
    if given:
        yield (
            f"It began with {plural(len(given), 'function')} that {_was(len(given))} given:"
            f" {', '.join(c.label for c in given)}."
        )


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _reasons(replies: tuple[CandidateFacts, ...]) -> str:
    rules = Counter(c.rule or c.stage for c in replies if not c.accepted)
    if not rules:
        return ""
    most = sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    return " Rejected by: " + ", ".join(f"{rule} ({n})" for rule, n in most) + "."


def _selected(synthesis: SearchFacts) -> Iterator[str]:
    chosen = synthesis.chosen
    if chosen is None:
        if synthesis.candidates and not any(c.accepted for c in synthesis.candidates):
            yield "No function was selected, since none was accepted."
        elif synthesis.candidates:
            yield "No function was selected."
        return
    reasons = (r.reason for r in reversed(synthesis.rounds) if r.reason)
    reason = next(reasons, "").strip().rstrip(".").removeprefix("undecided: ")
    verb = "was selected" if synthesis.decided else "was taken, undecided"
    yield f"Candidate {chosen.label} {verb}" + (f": {reason}." if reason else ".")
    igm, finite = phrases.IGM.get(chosen.igm), phrases.FINITE.get(chosen.finite)
    known = "; ".join(filter(None, (igm and f"IGM {igm}", finite)))
    if known:
        yield f"It is in {chosen.form or 'an unknown'} form. {known}."


def _compared(report: Report) -> Iterator[str]:
    totals = {r.algo: r for r in report.rows if r.seed is None and r.return_mean is not None}
    for algo, row in totals.items():
        seeds = _count_seeds(report, algo)
        text = f"{algo} reached a mean return of {number(row.return_mean)}"
        if row.return_mean_ci is not None:
            text += f" {interval(row.return_mean_ci)}"
        yield f"{text} over {plural(seeds, 'seed')} (IQM {number(row.return_iqm)})."
    reference, found = differences(report)
    for algo, difference in found:
        yield paired.difference_words(algo, reference, difference)
    apart = [a for a in totals if a != reference and a not in dict(found)]
    if reference in totals and apart:
        yield f"No seed in common with {reference}: {listed(apart)}."
    for row in totals.values():
        if row.pilot_steps:
            yield (
                f"Choosing the function cost {row.algo} {whole(row.pilot_steps)} environment steps"
                " of pilot trainings, which are not among its training steps."
            )


def differences(report: Report) -> tuple[str, list[tuple[str, Difference]]]:
    """What the algorithms are held against, and their differences to it, seed by seed."""
    rows = ((r.algo, r.seed, r.return_mean, r.status) for r in report.rows)
    return paired.differences(paired.scores_by_algorithm(rows))


def _count_seeds(report: Report, algo: str) -> int:
    done = [r for r in report.rows if r.algo == algo and r.status == "finished"]
    return sum(r.seed is not None for r in done)


def findings(compared: Comparison) -> list[str]:
    """What the comparison of runs says, what makes it unfair first."""
    return [
        *compared.unlike,
        *(
            paired.difference_words(entry.label, compared.reference, entry.difference)
            for entry in compared.entries
            if entry.difference is not None
        ),
    ]


def comparison_command(compared: Comparison) -> str:
    """The command that writes the comparison again."""
    ids = " ".join(run_name(run.id) for run in compared.runs)
    chosen = f" --reference {shlex.quote(compared.reference)}" if compared.reference else ""
    return f"qllm report --compare {ids}{chosen}"


def pilot_words(synthesis: SearchFacts) -> str:
    """What the pilots' drawing shows."""
    text = "Mean over the pilot seeds of each evaluation's mean return."
    rows = synthesis.pilot_rows
    whole = [row for row in rows if not row.dropped and not row.pilot.error]
    shown = len(drawn(rows))
    if shown < len(whole):
        text += f" Drawn: the best of those trained longest, {shown} of {len(whole)}."
    elif any(row.dropped for row in rows):
        text += " Drawn: those trained longest."
    return text


def gate_words(synthesis: SearchFacts) -> str:
    """The gate, such as ``enforce (abs)``."""
    head = synthesis.head
    mode = (synthesis.gate.mode if synthesis.gate else "") or head.gate or "unknown"
    function = f" ({head.gate_function})" if mode == "enforce" and head.gate_function else ""
    return f"{mode}{function}" + (", scaled by the number of agents" if head.scaled else "")


def gate_reason(synthesis: SearchFacts) -> str:
    """Why the gate was chosen; empty where it was configured."""
    gate = synthesis.gate
    if gate is None or not gate.reason or not gate.proposed_by:
        return gate.reason if gate is not None else ""
    return f"{gate.reason}. {gate.proposed_by} proposed {gate.proposal}"


def has_pilots(report: Report) -> bool:
    """Whether some row had pilot trainings, or may have had."""
    return any(r.pilot_steps != 0 for r in report.rows)


def row_notes(report: Report) -> list[str]:
    """How to read the result table."""
    notes = [
        "Return: team reward summed over an episode without discount, in the last evaluation. A"
        " seed's number is the mean over its episodes; mean and IQM (interquartile mean) of all"
        " are over the seeds' means. AUC: area under the curve, a seed's mean over its evaluations"
        " after step 0. Best: the mean return of a seed's best evaluation, which is too high by"
        " chance, since it was chosen by looking."
    ]
    if any(r.seed is None for r in report.rows):
        notes.append("Steps and wall time of all seeds are sums, their speed is a mean.")
    over = {
        "all seeds" if r.seed is None else "a seed": r.return_ci_over
        for r in report.rows
        if r.return_ci_over
    }
    if over:
        said = [f"those of {who} are over {what}" for who, what in over.items()]
        notes.append(
            "95% intervals, of means by Student's t, of an IQM by bootstrap (too narrow below ten"
            f" seeds): {listed(said)}."
        )
        if any(r.seed is None and _count_seeds(report, r.algo) == 1 for r in report.rows):
            notes.append(
                "One seed has no interval over seeds; give several, such as --seeds 0,1,2,3,4."
            )
    if has_pilots(report):
        notes.append(
            "Pilot steps were spent once on choosing the function, with seeds of their own, and"
            " come on top of the environment steps"
            + (
                f" ({ABSENT}: not recorded)."
                if any(r.pilot_steps is None for r in report.rows)
                else "."
            )
        )
    return notes


def tokens_words(prompt: int | None, completion: int | None, latency_s: float | None) -> str:
    """``412 + 233 tokens, 1.2 s``, as far as it is known."""
    parts = []
    if prompt is not None and completion is not None:
        parts.append(f"{prompt:,} + {completion:,} tokens")
    if latency_s is not None:
        parts.append(duration(latency_s))
    return ", ".join(parts)
