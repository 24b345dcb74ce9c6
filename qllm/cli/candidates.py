"""``qllm candidates``: the accepted candidates of a task, from all runs of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options
from qllm.cli.failures import DONE
from qllm.cli.work import print_json, reading
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qllm.facts.candidates import Archived, CandidateFacts
    from qllm.store.store import Store


def candidates(
    task: Annotated[str, typer.Argument(help="A task (`qllm tasks` lists them).")],
    show: Annotated[
        int | None, options.option("--show", "Show this candidate whole.", min=1)
    ] = None,
    diff: Annotated[
        str | None, options.option("--diff", "Show what differs between two.", metavar="A,B")
    ] = None,
    second: Annotated[str | None, typer.Argument(hidden=True)] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that compute the same as an earlier one.")
    ] = False,
    json: options.Json = False,
) -> int:
    """List a task's accepted candidates over all runs; any of them can be trained."""
    from qllm.errors import UsageError
    from qllm.facts.candidates import accepted_candidates

    if show is not None and diff is not None:
        raise UsageError("give either --show or --diff")
    pair = _pair(diff, second)
    with reading() as store:
        name = _task(store, task)
        archive = accepted_candidates(store, name)
    if show is not None:
        return _show(_one(archive, show, name), json=json)
    if pair:
        one, other = (_one(archive, number, name) for number in pair)
        return _diff(one, other, json=json)
    return _list(archive, name, every=every, json=json)


def _pair(text: str | None, second: str | None) -> list[int]:
    """The numbers after ``--diff``, with a comma or a space between them."""
    from qllm.errors import UsageError

    if text is None and second is None:
        return []
    numbers = [*(text or "").split(","), *([] if second is None else [second])]
    if text is None or len(numbers) != 2 or not all(n.strip().isdecimal() for n in numbers):
        said = " ".join(filter(None, (text, second)))
        raise UsageError(f"--diff takes the numbers of two candidates, such as 1,3 (not '{said}')")
    return [int(number) for number in numbers]


def _task(store: Store, task: str) -> str:
    """The name that runs have for a task; its card may be gone by now."""
    from prompts.cards import CardError, load_card
    from qllm.facts.candidates import tasks_with_candidates

    try:
        return load_card(task).name
    except CardError:
        if task in tasks_with_candidates(store):
            return task
        raise


def _one(archive: Sequence[Archived], number: int, task: str) -> Archived:
    from qllm.errors import UsageError

    found = next((c for c in archive if c.facts.id == number), None)
    if found is None:
        raise UsageError(
            f"candidate {number} is no accepted candidate of {task}"
            f" (`qllm candidates {task}` lists them)"
        )
    return found


def _document(c: Archived) -> dict[str, Any]:
    facts, check, pilot = c.facts, c.facts.check, c.pilot
    return {
        "candidate": facts.id,
        "run": facts.run_id,
        "place": facts.label,
        "selected": c.selected,
        "decided": c.decided,
        "signature": check.signature or None,
        "gate": check.gate,
        "igm": check.igm or None,
        "finite": check.finite or None,
        "linear_in_q": check.linear_in_q,
        "pilot_mean": None if pilot is None else pilot.final,
        "pilot_steps": None if pilot is None else pilot.steps,
        "pilot_seeds": None if pilot is None else len(pilot.seeds),
        "graph_hash": facts.graph_hash,
        "created": facts.created,
    }


def _distinct(archive: Sequence[Archived]) -> list[tuple[Archived, int]]:
    """Each function once, with how often it was written: its best measured copy, else its first."""
    groups: dict[str | None, list[Archived]] = {}
    for c in archive:
        groups.setdefault(c.facts.graph_hash, []).append(c)

    def measured(c: Archived) -> tuple[int, int]:
        return (-(c.pilot.steps if c.pilot is not None else 0), c.facts.id)

    return [(min(group, key=measured), len(group)) for group in groups.values()]


def _order(c: Archived) -> tuple[float, float, int]:
    """Longer pilots first, since only equal ones compare; then the better; then the older."""
    if c.pilot is None or c.pilot.final is None:
        return (0.0, 0.0, c.facts.id)
    return (-float(c.pilot.steps), -c.pilot.final, c.facts.id)


def _list(archive: Sequence[Archived], task: str, *, every: bool, json: bool) -> int:
    from qllm.cli.columns import print_columns
    from qllm.text import choice_word
    from qllm.units import count, number

    shown = [(c, 1) for c in archive] if every else _distinct(archive)
    shown.sort(key=lambda entry: _order(entry[0]))
    if json:
        return print_json([{**_document(c), "times": times} for c, times in shown])
    if not shown:
        echo(f"no accepted candidate of {task} yet (`qllm synth {task}` writes some)")
        return DONE
    rows = [
        (
            c.facts.id,
            c.facts.run_id,
            c.facts.label + (f" {choice_word(c.decided)}" if c.selected else ""),
            c.facts.check.signature,
            c.facts.check.igm,
            number(c.pilot.final) if c.pilot is not None else None,
            f"{count(c.pilot.steps)} x {len(c.pilot.seeds)}" if c.pilot is not None else None,
            times,
            (c.facts.graph_hash or "")[:12],
        )
        for c, times in shown
    ]
    numbers = ("candidate", "run", "return", "steps x seeds", "times")
    headers = ("candidate", "run", "place", "form", "IGM", "return", "steps x seeds", "times")
    print_columns((*headers, "graph"), rows, right=numbers)
    echo(
        "",
        "return: mean over seeds of the team's reward per episode at the end of the pilot"
        " trainings;",
        "only pilots of the same length compare. times: how often the function was written.",
        f"`qllm train {task} --algo qllm --tfcaf CANDIDATE` trains with one,"
        " `qllm explain CANDIDATE` explains it.",
    )
    return DONE


def _show(c: Archived, *, json: bool) -> int:
    from qllm.facts import phrases
    from qllm.text import choice_word
    from qllm.units import count, number

    facts, check, pilot = c.facts, c.facts.check, c.pilot
    if json:
        return print_json({**_document(c), "mathematics": check.mathematics, "report": c.report})
    chosen = f", {choice_word(c.decided)}" if c.selected else ""
    echo(f"candidate {facts.id}: {facts.label} of run {facts.run_id}, for {c.task}{chosen}")
    echo(f"graph {facts.graph_hash}")
    echo(f"{check.signature} form, {phrases.linear(check.linear_in_q)}; gate {check.gate}")
    echo(f"IGM: {check.igm}; finite: {check.finite}")
    if pilot is not None:
        echo(
            f"pilots: return {number(pilot.final)} (mean over seeds, reward per episode) after"
            f" {count(pilot.steps)} steps, {len(pilot.seeds)} seeds"
        )
    echo_text(f"\n{facts.code.strip()}\n")
    if check.mathematics:
        echo_text(check.mathematics)
    return DONE


def _diff(first: Archived, second: Archived, *, json: bool) -> int:
    a, b = first.facts, second.facts
    same = a.graph_hash == b.graph_hash
    source = _changes(a, b, a.code, b.code)
    written = None
    if a.check.mathematics and b.check.mathematics:
        written = _changes(a, b, a.check.mathematics, b.check.mathematics)
    if json:
        return print_json(
            {
                "candidates": [_document(first), _document(second)],
                "same_function": same,
                "source": source,
                "mathematics": written,
            }
        )
    if same:
        echo(f"they compute the same: graph {a.graph_hash}")
    for title, lines in (("source", source), ("mathematics", written)):
        if lines is None:
            continue
        echo("", f"{title}:" if lines else f"{title}: no difference")
        for line in lines:
            echo_text(line)
    return DONE


def _changes(first: CandidateFacts, second: CandidateFacts, a: str, b: str) -> list[str]:
    import difflib

    names = (f"candidate {first.id}", f"candidate {second.id}")
    return list(
        difflib.unified_diff(a.strip().splitlines(), b.strip().splitlines(), *names, lineterm="")
    )
