"""``qllm sweep``: search for the settings of an algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import jobs, options, work
from qllm.extras import require_extra
from qllm.output import echo

if TYPE_CHECKING:
    from qllm.config.tree import RunConfig

_ASIDE = (
    "task", "seeds", "steps", "algorithm", "algorithm.name", "device", "dtype", "threads", "log",
    "log_every", "checkpoint_every", "keep_checkpoints", "parallel", "evaluation.", "tracking.",
    "sandbox.",
)  # fmt: skip
"""Settings that a sweep does not choose; one with a final dot covers all that begin with it."""

_SHOWN = 10
"""Trials of the table."""


def sweep(
    params: Annotated[
        list[str],
        options.option(
            "--param",
            "What to choose: learner.lr=1e-4..1e-2:log, agent.hidden=32..128 or "
            "learner.target_update=soft,hard; may be given more than once.",
        ),
    ],
    task: options.Task = None,
    settings: options.Settings = None,
    algo: jobs.Algo = None,
    tfcaf: options.Tfcaf = None,
    gate: jobs.Gate = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all.")] = 20,
    steps: options.Steps = None,
    seeds: options.Seeds = None,
    name: Annotated[
        str | None, options.option("--name", "The sweep's name (default: its task and algorithm).")
    ] = None,
    config: options.Config = None,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Search for good settings of an algorithm with Optuna; the same command goes on."""
    from qllm.config.ranges import read_params

    chosen, words = work.split_task(task, settings)
    given = {**locals(), "task": chosen, "settings": words}

    def build(more: Sequence[str]) -> RunConfig:
        return jobs.settled("train", {**given, "settings": [*words, *more]})

    fixed = [word.partition("=")[0] for word in words]
    read = read_params(params, build, fixed=fixed, aside=_ASIDE)
    require_extra("`qllm sweep` needs", "optuna", "sweep")
    from qllm.sweeps.sweep import Sweep, run_sweep

    base = build(())
    asked = Sweep(
        name or f"{base.task} {base.algorithm.label}", trials, read, build, _command(given)
    )
    return work.do(
        lambda session: run_sweep(session, asked),
        json=json,
        display=display,
        again="the same command",
        show=show_trials,
    )


def _command(given: Mapping[str, Any]) -> list[str]:
    """The command that trains with what the sweep was given."""
    words = ["qllm", "train", *([given["task"]] if given["task"] else [])]
    for option in ("algo", "tfcaf", "gate", "steps", "seeds", "config"):
        if given[option] is not None:
            words += [f"--{option}", str(given[option])]
    return [*words, *given["settings"]]


def show_trials(document: Mapping[str, Any]) -> None:
    """The best trials as a table, and the command that trains with the best settings."""
    from qllm.cli.columns import print_columns
    from qllm.store.numbers import run_name
    from qllm.units import count, number

    trials = document["trials"]
    paths = list(trials[0]["settings"]) if trials else []
    rows = [
        (
            None if trial["run"] is None else run_name(trial["run"]),
            trial["status"],
            number(trial["return_mean"]),
            count(trial["env_steps"]),
            *(trial["settings"][path] for path in paths),
        )
        for trial in trials[:_SHOWN]
    ]
    numbers = ("run", "mean return", "steps")
    echo(f"sweep '{document['sweep']}': {len(trials)} of {document['asked_trials']} trials")
    if rows:
        headers = ("run", "status", "mean return", "steps", *paths)
        print_columns(headers, rows, right=numbers)
    if len(trials) > _SHOWN:
        echo(f"... and {len(trials) - _SHOWN} more (--json has them all)")
    if document["command"] is not None:
        echo(f"best: {document['command']}")
