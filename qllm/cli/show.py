"""Commands that only read. Heavy modules are imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options
from qllm.cli.failures import DONE, FAILED
from qllm.cli.model_use import Python
from qllm.cli.work import answer, print_json, reading, say_damage
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from prompts.cards import TaskCard
    from qllm.store.schema import Run
    from qllm.store.store import Store


def tasks(
    name: Annotated[str | None, options.argument("A task, to see its card.")] = None,
    json: options.Json = False,
) -> int:
    """List the tasks, or show one."""
    from marl.envs.kinds import plays
    from marl.envs.missing import missing_engine
    from prompts.cards import list_tasks, load_card, load_listed

    if name is not None:
        card = load_card(name)
        if json:
            print_json(
                {
                    **card.model_dump(mode="json"),
                    "state_dim": card.state_dim,
                    "schema_hash": card.schema_hash(),
                    "has_environment": plays(card),
                    "missing_engine": missing_engine(card),
                }
            )
        else:
            _show_card(card, "" if plays(card) else _CHECKS_ONLY, missing_engine(card) or "")
        return DONE
    names = list_tasks()
    if json:
        return print_json(names)
    from qllm.cli.columns import print_columns

    cards = [load_listed(entry) for entry in names]
    rows = [
        (
            entry,
            card.n_agents,
            card.state_dim,
            card.horizon,
            _what_for(card),
        )
        for entry, card in zip(names, cards, strict=True)
    ]
    numbers = ("agents", "columns", "steps")
    print_columns(("task", *numbers, "what for"), rows, right=numbers)
    return DONE


_CHECKS_ONLY = "checks only, no environment yet"


def _what_for(card: TaskCard) -> str:
    from marl.envs.kinds import plays
    from marl.envs.missing import missing_engine

    if missing_engine(card) is not None:
        return "check (`make football`)"
    return "play and check" if plays(card) else _CHECKS_ONLY


def _show_card(card: TaskCard, *remarks: str) -> None:
    from prompts.views import state_views
    from qllm.cli.columns import print_columns
    from qllm.facts import phrases

    echo(f"{card.name}: {card.title}", "")
    echo_text(f"{card.prose.strip()}\n")
    types = f" ({', '.join(card.types)})" if card.types else ""
    echo(
        f"{card.n_agents} agents{types}, {card.n_actions} actions each, {card.horizon} steps,"
        f" gamma {card.gamma:g}, reward {card.reward.low:g} to {card.reward.high:g}"
    )
    echo(*filter(None, remarks), "")
    rows = [
        (
            f"{at}:{at + s.size}",
            s.name,
            "x".join(map(str, s.shape)),
            f"{s.kind} {phrases.values(s)}",
            phrases.meaning(s),
        )
        for s, at in card.offsets()
    ]
    print_columns(("columns", "state", "shape", "values", "meaning"), rows)
    echo("", "What a function may take by name, besides `agent_qs` and `state`:", "")
    print_columns(
        ("parameter", "shape", "meaning"),
        [
            (name, view.shape_text, " ".join(view.meaning.split()))
            for name, view in state_views(card).items()
        ],
    )


def runs(
    run: Annotated[
        int | None, options.argument("A run, to see what it came to.", parser=options.run_number)
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also the single trainings of larger runs.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", help="How many, newest first.", min=1)] = 50,
    json: options.Json = False,
) -> int:
    """List the runs, or show one."""
    from qllm.paths import resolve_home
    from qllm.store.errors import StoreMissingError
    from qllm.store.store import open_store

    try:
        with open_store(options.given.home, readonly=True) as store:
            if run is not None:
                return _show_run(store, run, json=json)
            listed = store.runs.listed(limit=limit, top_level=not every)
    except StoreMissingError:
        if run is not None:
            raise
        listed = []
    if json:
        print_json([_run_document(entry) for entry in listed])
    elif listed:
        _list_runs(listed)
    else:
        home = resolve_home(options.given.home)
        echo(f"no runs in '{home}' yet (`qllm run matrix/climbing` is a start)")
    return DONE


def _list_runs(listed: list[Run]) -> None:
    from qllm.cli.columns import print_columns
    from qllm.facts.runs import RunFacts
    from qllm.store.numbers import run_name
    from qllm.units import count, duration

    rows = [
        (
            run_name(run.id),
            run.kind,
            run.status,
            run.task,
            run.algo,
            f"{count(run.env_steps)}/{count(run.total_steps)}",
            duration(run.elapsed_s),
            run.error or run.command,
        )
        for run in map(RunFacts.of, listed)
    ]
    headers = ("run", "kind", "status", "task", "algo", "steps", "time", "command or error")
    print_columns(headers, rows, right=("run", "steps", "time"))


def _run_document(run: Run) -> dict[str, Any]:
    from qllm.store.runs import derived_status

    same = (
        "kind task algo seed attempt env_steps total_steps created started ended pid command error"
    )
    return {
        "run": run.id,
        "number": run.name,
        "parent": run.parent_id,
        "status": derived_status(run),
        **{name: getattr(run, name) for name in same.split()},
        "damage": run.damage or None,
    }


_OF_CANDIDATES = ("round", "slot", "repair", "verdict", "stage", "rule", "graph_hash")


def _show_run(store: Store, run_id: int, *, json: bool) -> int:
    from qllm.jobs.rows import result_rows

    run, rows = store.runs.get(run_id), result_rows(store, run_id)
    candidates = store.synthesis.candidates(run_id)
    if json:
        document = {
            **_run_document(run),
            "config": run.config,
            "versions": run.versions,
            "inputs": run.inputs,
            "children": [child.id for child in store.runs.children(run_id)],
            "candidates": [
                {"candidate": c.id, **{name: getattr(c, name) for name in _OF_CANDIDATES}}
                for c in candidates
            ],
            "rows": rows,
        }
        return print_json(document)
    from qllm.cli.columns import print_columns
    from qllm.display import make_display
    from qllm.facts.runs import initial_words
    from qllm.store.runs import derived_status
    from qllm.text import one_line
    from synth.candidates import label

    echo(f"run {run.name}: {run.kind} {run.task}, {derived_status(run)}, attempt {run.attempt}")
    echo(f"command: {one_line(run.command, 500)}")
    for words in initial_words(store.runs.trainings(run_id)):
        echo(f"began with: {one_line(words, 500)}")
    if run.error:
        echo(f"error: {one_line(run.error, 500)}")
    if candidates:
        lines = [
            (
                c.id,
                label(c.round, c.slot, c.repair),
                c.verdict,
                c.rule or c.stage,
                (c.graph_hash or "-")[:12],
            )
            for c in candidates
        ]
        echo()
        print_columns(("candidate", "place", "verdict", "stage or rule", "graph"), lines)
    if rows:
        echo()
        with make_display("none") as display:
            display.table(rows)
    echo("", f"files: {store.run_dir(run.id)}")
    say_damage(store)
    return DONE


def report(
    runs: Annotated[
        list[int],
        options.argument(
            "The run's number (`qllm runs`).", metavar="RUN...", parser=options.run_number
        ),
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="One page that compares all of these runs.")
    ] = False,
    reference: Annotated[
        str | None,
        options.option(
            "--reference",
            "With --compare, what the others are held against, such as '#9 qmix' (default: the"
            " vdn with most seeds).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.option(
            "--out",
            "Where to write it (default: report.html in the run's folder, or compare-7-9.html"
            " in the folder of the runs).",
            parser=options.file_to_write,
            metavar="<path>",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Write a run's report, or a comparison of runs: one HTML file that needs no network."""
    from qllm.errors import UsageError
    from qllm.jobs.reports import write_comparison_report, write_run_report

    if not compare and len(runs) > 1:
        raise UsageError("several runs share one report only with --compare")
    if reference is not None and not compare:
        raise UsageError("--reference goes with --compare")
    with reading() as store:
        if compare:
            path = write_comparison_report(store, runs, out, reference=reference)
        else:
            path = write_run_report(store, runs[0], out)
    which = {"runs": runs} if compare else {"run": runs[0]}
    return answer({**which, "report_path": str(path)}, path, json=json)


def doctor(
    attacks: Annotated[
        bool,
        typer.Option("--attacks", help="Also run the attack programs of the tests (minutes)."),
    ] = False,
    python: Python = None,
    json: options.Json = False,
) -> int:
    """Check this machine: the sandbox's layers, devices, the store, models without a network."""
    from qllm.doctor import examine, healthy, show

    findings = examine(options.given.home, python)
    if not json:
        show(findings)
    if attacks:
        from qllm.attacks import run_attacks, show_attacks, summarise

        rows = run_attacks()
        findings |= {"attacks": summarise(rows), "effective": [r for r in rows if r["effects"]]}
        if not json:
            show_attacks(rows)
    if json:
        print_json(findings)
    held = not findings.get("effective")
    return DONE if healthy(findings) and held else FAILED
