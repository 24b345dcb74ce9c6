"""``qllm candidates``: the accepted candidates of a task, from all runs of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options
from qllm.cli.failures import DONE
from qllm.cli.work import print_json, say_damage
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qllm.store.archive import Archived
    from qllm.store.store import Store


def candidates(
    task: Annotated[str, typer.Argument(help="A task (`qllm tasks` lists them).")],
    show: Annotated[
        int | None,
        typer.Option("--show", help="Show this candidate whole.", min=1, show_default=False),
    ] = None,
    diff: Annotated[
        str | None,
        typer.Option(
            "--diff", metavar="A,B", help="Show what differs between two.", show_default=False
        ),
    ] = None,
    second: Annotated[str | None, typer.Argument(hidden=True)] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also those that compute the same as an earlier one.")
    ] = False,
    json: options.Json = False,
) -> int:
    """List a task's accepted candidates over all runs; any of them can be trained."""
    from qllm.errors import UsageError
    from qllm.store.archive import accepted_candidates
    from qllm.store.store import open_store

    if show is not None and diff is not None:
        raise UsageError("give either --show or --diff")
    pair = _pair(diff, second)
    with open_store(options.given.home, readonly=True) as store:
        name = _task(store, task)
        archive = accepted_candidates(store, name)
        say_damage(store)
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
    from qllm.store.archive import tasks_with_candidates

    try:
        return load_card(task).name
    except CardError:
        if task in tasks_with_candidates(store):
            return task
        raise


def _one(archive: Sequence[Archived], number: int, task: str) -> Archived:
    from qllm.errors import UsageError

    found = next((c for c in archive if c.id == number), None)
    if found is None:
        raise UsageError(
            f"candidate {number} is no accepted candidate of {task}"
            f" (`qllm candidates {task}` lists them)"
        )
    return found


def _place(c: Archived) -> str:
    from synth.candidates import label

    return label(c.round, c.slot, c.repair)


def _document(c: Archived) -> dict[str, Any]:
    return {
        "candidate": c.id,
        "run": c.run_id,
        "place": _place(c),
        "selected": c.selected,
        "decided": c.decided,
        "signature": c.signature,
        "gate": c.gate,
        "igm": c.igm,
        "finite": c.finite,
        "linear_in_q": c.linear_in_q,
        "pilot_mean": None if c.pilot is None else c.pilot.mean,
        "pilot_steps": None if c.pilot is None else c.pilot.steps,
        "pilot_seeds": None if c.pilot is None else c.pilot.seeds,
        "graph_hash": c.graph_hash,
        "created": c.created,
    }


def _distinct(archive: Sequence[Archived]) -> list[tuple[Archived, int]]:
    """Each function once, with how often it was written: its best measured copy, else its first."""
    groups: dict[str, list[Archived]] = {}
    for c in archive:
        groups.setdefault(c.graph_hash, []).append(c)

    def measured(c: Archived) -> tuple[int, int]:
        return (-(c.pilot.steps if c.pilot is not None else 0), c.id)

    return [(min(group, key=measured), len(group)) for group in groups.values()]


def _order(c: Archived) -> tuple[float, float, int]:
    """Longer pilots first, since only equal ones compare; then the better; then the older."""
    if c.pilot is None or c.pilot.mean is None:
        return (0.0, 0.0, c.id)
    return (-float(c.pilot.steps), -c.pilot.mean, c.id)


def _list(archive: Sequence[Archived], task: str, *, every: bool, json: bool) -> int:
    from qllm.cli.columns import print_columns
    from qllm.text import choice_word
    from qllm.units import count, number

    shown = [(c, 1) for c in archive] if every else _distinct(archive)
    shown.sort(key=lambda entry: _order(entry[0]))
    if json:
        print_json([{**_document(c), "times": times} for c, times in shown])
        return DONE
    if not shown:
        echo(f"no accepted candidate of {task} yet (`qllm synth {task}` writes some)")
        return DONE
    rows = [
        (
            c.id,
            c.run_id,
            _place(c) + (f" {choice_word(c.decided)}" if c.selected else ""),
            c.signature,
            c.igm,
            number(c.pilot.mean) if c.pilot is not None else None,
            f"{count(c.pilot.steps)} x {c.pilot.seeds}" if c.pilot is not None else None,
            times,
            c.graph_hash[:12],
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


def _mathematics(c: Archived) -> str | None:
    """The function written out, as the sandbox left it with its report."""
    written = c.report.get("mathematics")
    return written if isinstance(written, str) else None


def _show(c: Archived, *, json: bool) -> int:
    from qllm.text import choice_word
    from qllm.units import count, number

    if json:
        print_json({**_document(c), "mathematics": _mathematics(c), "report": c.report})
        return DONE
    chosen = f", {choice_word(c.decided)}" if c.selected else ""
    echo(f"candidate {c.id}: {_place(c)} of run {c.run_id}, for {c.task}{chosen}")
    echo(f"graph {c.graph_hash}")
    linear = "linear" if c.linear_in_q else "not shown to be linear"
    echo(f"{c.signature} form, {linear} in the agents' Qs; gate {c.gate}")
    echo(f"IGM: {c.igm}; finite: {c.finite}")
    if c.pilot is not None:
        echo(
            f"pilots: return {number(c.pilot.mean)} (mean over seeds, reward per episode) after"
            f" {count(c.pilot.steps)} steps, {c.pilot.seeds} seeds"
        )
    echo_text(f"\n{c.code.strip()}\n")
    written = _mathematics(c)
    if written:
        echo_text(written)
    return DONE


def _diff(first: Archived, second: Archived, *, json: bool) -> int:
    same = first.graph_hash == second.graph_hash
    source = _changes(first, second, first.code, second.code)
    readable = (_mathematics(first), _mathematics(second))
    written = (
        _changes(first, second, readable[0], readable[1]) if readable[0] and readable[1] else None
    )
    if json:
        print_json(
            {
                "candidates": [_document(first), _document(second)],
                "same_function": same,
                "source": source,
                "mathematics": written,
            }
        )
        return DONE
    if same:
        echo(f"they compute the same: graph {first.graph_hash}")
    for title, lines in (("source", source), ("mathematics", written)):
        if lines is None:
            continue
        echo("", f"{title}:" if lines else f"{title}: no difference")
        for line in lines:
            echo_text(line)
    return DONE


def _changes(first: Archived, second: Archived, a: str, b: str) -> list[str]:
    import difflib

    names = (f"candidate {first.id}", f"candidate {second.id}")
    return list(
        difflib.unified_diff(a.strip().splitlines(), b.strip().splitlines(), *names, lineterm="")
    )
