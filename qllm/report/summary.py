"""A report's first paragraph, which states its findings, and the notes below its tables."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from marl.statistics import Difference
from qllm.facts import differences as paired
from qllm.facts import phrases
from qllm.facts.candidates import CandidateFacts
from qllm.facts.compared import Comparison
from qllm.facts.pilots import drawn
from qllm.facts.results import ResultRow
from qllm.facts.runs import RunFacts
from qllm.facts.search import SearchFacts
from qllm.report.data import Report
from qllm.store.numbers import run_name
from qllm.units import ABSENT, duration, interval, number, plural, whole

_STATUS = {
    "failed": "failed",
    "stopped": "was stopped",
    "running": "was still running when this report was written",
    "paused": "was paused when this report was written",
    "queued": "had not started when this report was written",
    "died": "ended without a message: its process is gone",
    "damaged": "has a damaged row in the store",
}


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def summary(report: Report) -> list[str]:
    """The main findings, a sentence or two per item."""
    search = report.synthesis
    sentences = [*_outcome(report.run)]
    if search is not None:
        sentences += [*_generated(search), *_selected(search)]
    sentences += [f"Trainings began with {words}." for words in report.initial]
    return [*sentences, *_compared(report)]


def _outcome(run: RunFacts) -> Iterator[str]:
    if run.status != "finished":
        reason = f": {run.error.rstrip('.')}" if run.error else ""
        yield f"The run {_STATUS.get(run.status, run.status)}{reason}. Partial results are below."


def _generated(search: SearchFacts) -> Iterator[str]:
    coder = f"the language model {search.head.coder}"
    if not search.head.is_llm:
        coder = f"the {search.head.coder}, which writes random programs and is not a language model"
    given = [c for c in search.candidates if search.was_given(c)]
    replies = [c for c in search.candidates if c not in given]
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
    yield f"{text}.{_rules(replies)}"
    if given:
        labels = listed([c.label for c in given])
        yield f"The search started from {plural(len(given), 'given function')}: {labels}."


def _rules(replies: Sequence[CandidateFacts]) -> str:
    rules = Counter(c.rule or c.stage for c in replies if not c.accepted)
    most = sorted(rules.items(), key=lambda item: (-item[1], item[0]))
    return f" Rejected by: {', '.join(f'{rule} ({n})' for rule, n in most)}." if most else ""


def _selected(search: SearchFacts) -> Iterator[str]:
    chosen = search.chosen
    if chosen is None:
        if search.candidates:
            why = "" if any(c.accepted for c in search.candidates) else ", since none was accepted"
            yield f"No function was selected{why}."
        return
    reasons = (r.reason for r in reversed(search.rounds) if r.reason)
    reason = next(reasons, "").strip().rstrip(".").removeprefix("undecided: ")
    verb = "was selected" if search.decided else "was taken, undecided"
    yield f"Candidate {chosen.label} {verb}" + (f": {reason}." if reason else ".")
    igm, finite = phrases.IGM.get(chosen.check.igm), phrases.FINITE.get(chosen.check.finite)
    known = "; ".join(filter(None, (igm and f"IGM {igm}", finite)))
    if known:
        yield f"It is in {chosen.check.signature or 'an unknown'} form. {known}."


def _compared(report: Report) -> Iterator[str]:
    totals = {r.algo: r for r in report.rows if r.seed is None and r.return_mean is not None}
    for algo, row in totals.items():
        ci = f" {interval(row.return_mean_ci)}" if row.return_mean_ci is not None else ""
        yield (
            f"{algo} reached a mean return of {number(row.return_mean)}{ci} over"
            f" {plural(_seeds(report, algo), 'seed')} (IQM {number(row.return_iqm)})."
        )
    reference, found = differences(report.rows)
    for algo, difference in found:
        yield paired.difference_words(algo, reference, difference)
    apart = [a for a in totals if a != reference and a not in dict(found)]
    if reference in totals and apart:
        yield f"No seed in common with {reference}: {listed(apart)}."
    for row in totals.values():
        if row.pilot_steps:
            yield (
                f"Selecting the function cost {row.algo} {whole(row.pilot_steps)} environment steps"
                " of pilot trainings, which are not among its training steps."
            )


def differences(rows: Sequence[ResultRow]) -> tuple[str, list[tuple[str, Difference]]]:
    """The reference of a result table, and the other algorithms' differences to it by seed."""
    scored = ((r.algo, r.seed, r.return_mean, r.status) for r in rows)
    return paired.differences(paired.scores_by_algorithm(scored))


def _seeds(report: Report, algo: str) -> int:
    """Finished seeds of an algorithm."""
    done = [r for r in report.rows if r.algo == algo and r.status == "finished"]
    return sum(r.seed is not None for r in done)


def findings(compared: Comparison) -> list[str]:
    """The findings of a comparison, what makes it unfair first."""
    found = [(e.label, e.difference) for e in compared.entries if e.difference is not None]
    return [
        *compared.unlike,
        *(paired.difference_words(label, compared.reference, one) for label, one in found),
    ]


def comparison_command(compared: Comparison) -> str:
    """The command that writes the comparison again."""
    ids = " ".join(run_name(run.id) for run in compared.runs)
    chosen = f" --reference {shlex.quote(compared.reference)}" if compared.reference else ""
    return f"qllm report --compare {ids}{chosen}"


def pilot_words(search: SearchFacts) -> str:
    """The caption of the pilots' curves."""
    rows = search.pilot_rows
    whole = [row for row in rows if not row.dropped and not row.pilot.error]
    shown, text = len(drawn(rows)), "Mean over the pilot seeds of each evaluation's mean return."
    if shown < len(whole):
        return f"{text} Drawn: the best of those trained longest, {shown} of {len(whole)}."
    return f"{text} Drawn: those trained longest." if any(row.dropped for row in rows) else text


def gate_words(search: SearchFacts) -> str:
    """The gate, such as ``enforce (abs)``."""
    head = search.head
    mode = (search.gate.mode if search.gate else "") or head.gate or "unknown"
    function = f" ({head.gate_function})" if mode == "enforce" and head.gate_function else ""
    return f"{mode}{function}" + (", scaled by the number of agents" if head.scaled else "")


def gate_reason(search: SearchFacts) -> str:
    """Why the gate was chosen; empty where it was configured."""
    gate = search.gate
    if gate is None or not gate.reason or not gate.proposed_by:
        return gate.reason if gate is not None else ""
    return f"{gate.reason}. {gate.proposed_by} proposed {gate.proposal}"


def row_notes(report: Report) -> Iterator[str]:
    """How to read the result table."""
    rows = report.rows
    yield (
        f"{phrases.RETURN} AUC: area under the curve, a seed's mean over its evaluations after step"
        " 0. Best: the mean return of a seed's best evaluation, biased upwards by its selection."
    )
    if any(r.seed is None for r in rows):
        yield "Steps and wall time of all seeds are sums, their speed is a mean."
    over = {
        f"those of {'all seeds' if r.seed is None else 'a seed'} are over {r.return_ci_over}": None
        for r in rows
        if r.return_ci_over
    }
    if over:
        yield f"{phrases.INTERVALS}: {listed(list(over))}."
    if over and any(r.seed is None and _seeds(report, r.algo) == 1 for r in rows):
        yield "One seed has no interval over seeds; give several, such as --seeds 0,1,2,3,4."
    if any(r.pilot_steps != 0 for r in rows):
        unknown = f" ({ABSENT}: not recorded)" if any(r.pilot_steps is None for r in rows) else ""
        yield f"{phrases.PILOT_STEPS}, with seeds of their own{unknown}."


def tokens_words(prompt: int | None, completion: int | None, latency_s: float | None) -> str:
    """``412 + 233 tokens, 1.2 s``, as far as it is known."""
    parts = []
    if prompt is not None and completion is not None:
        parts.append(f"{prompt:,} + {completion:,} tokens")
    if latency_s is not None:
        parts.append(duration(latency_s))
    return ", ".join(parts)
