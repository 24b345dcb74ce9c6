"""Comparisons in pieces: plan them, do one piece, join what has finished."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qllm.cli import jobs, options, work

if TYPE_CHECKING:
    from qllm.plans.plan import PlannedKind

PlanFile = Annotated[Path, options.argument("What `qllm plan` wrote.", metavar="PLAN")]


def plan(
    task: options.Task = None,
    settings: options.Settings = None,
    algos: jobs.Algos = None,
    variants: jobs.Variants = None,
    algo: jobs.Algo = None,
    tfcaf: options.Tfcaf = None,
    gate: jobs.Gate = None,
    steps: options.Steps = None,
    seeds: options.Seeds = None,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("plan.json"),
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Write what compare would do (train, with --algo) as numbered pieces of work, in a file."""
    if algo is not None and algos is not None:
        raise typer.BadParameter("give --algos to compare, or --algo to train one algorithm")
    command: PlannedKind = "train" if algo is not None else "compare"
    settled = jobs.settled(command, locals())
    from qllm.display import make_display
    from qllm.jobs.sandboxes import Sandboxes
    from qllm.plans.plan import make_plan, write_plan

    with ExitStack() as stack:
        screen = stack.enter_context(make_display(json=json))
        stack.enter_context(work.stdout_kept_for_json(json))
        sandboxes = stack.enter_context(closing(Sandboxes(screen.note)))
        store = None
        if (settled.tfcaf or "").isdecimal():
            store = stack.enter_context(work.reading())
        made = make_plan(store, sandboxes, command, settled)
        write_plan(made, out)
    return work.answer(
        {"plan": str(out), "hash": made.hash, "pieces": len(made.pieces)},
        f"{out}: pieces 0 to {len(made.pieces) - 1}",
        f"`qllm worker {out} --index N` does one; `qllm merge {out}` joins what has finished",
        json=json,
    )


def worker(
    plan: PlanFile,
    index: Annotated[int, options.option("--index", "Number of the piece.", min=0)],
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Do one piece of a plan, or go on with it, in a store of its own within the home folder."""
    from qllm.display import make_display
    from qllm.paths import resolve_home
    from qllm.plans.piece import work_on
    from qllm.plans.plan import read_plan

    planned = read_plan(plan)
    shown = make_display(display, json=json)
    with shown as screen, work.stdout_kept_for_json(json):
        home = resolve_home(options.given.home)
        outcome = work_on(planned, index, home, screen, work.arguments)
    if json:
        work.print_json({**outcome.document, "plan": planned.hash, "index": index})
    return work.ended(outcome, planned.piece(index).title, "the same command goes on")


def merge(
    plan: PlanFile,
    into: Annotated[
        Path | None,
        options.option("--into", "Home folder of the run (default: that of the pieces)."),
    ] = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Join the finished pieces of a plan into one run; do it again when more have finished."""
    from qllm.paths import resolve_home
    from qllm.plans.merge import merge as join
    from qllm.plans.plan import read_plan

    planned, home = read_plan(plan), resolve_home(options.given.home)
    return work.do(
        lambda session: join(session, planned, home), json=json, display=display, home=into or home
    )
