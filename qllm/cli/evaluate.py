"""``qllm evaluate``: returns of trained agents in greedy episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options
from qllm.cli.failures import DONE, say
from qllm.cli.work import print_json, reading, stdout_kept_for_json
from qllm.output import echo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def evaluate(
    run: options.RunId,
    checkpoint: options.Checkpoint = "newest",
    episodes: Annotated[
        int,
        typer.Option(
            "--episodes",
            help="How many, of each training.",
            parser=options.whole,
            metavar="INTEGER",
        ),
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Of the episodes.", min=0)] = 0,
    task: Annotated[
        str | None,
        options.option("--task", "Another task that the networks fit (default: the one learned)."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Let a run's trained agents play greedy episodes: returns, metrics, speed."""
    from prompts.cards import load_card
    from qllm.errors import UsageError
    from qllm.jobs.evaluating import evaluate_run

    if not 1 <= episodes <= _MOST:
        raise UsageError(f"--episodes {episodes}: from 1 to {_MOST:,}")
    card = None if task is None else load_card(task)
    with stdout_kept_for_json(json), reading() as store:
        found = evaluate_run(
            store,
            run,
            which=options.checkpoint(checkpoint),
            episodes=episodes,
            seed=seed,
            card=card,
            tell=say,
        )
    rows = [training.document() for training in found]
    played = found[0].run.task if card is None else card.name
    if json:
        given = {"run": run, "task": played, "checkpoint": checkpoint, "episodes": episodes}
        print_json({**given, "seed": seed, "rows": rows})
    else:
        echo(f"{played}: {episodes:,} greedy episodes of each training, seed {seed}", "")
        _show(rows)
    return DONE


_MOST = 65_536
"""All episodes are played at once, as rows of tensors."""


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from qllm.cli.columns import print_columns
    from qllm.units import count, interval, number

    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    numeric = ["seed", "step", "mean", "95% of mean"]
    numeric += [word for name in metrics for word in (name, f"95% of {name}")]
    numeric += ["median", "min", "max", "steps/s"]
    print_columns(
        ("run", "algo", *numeric),
        [
            (
                row["number"],
                row["algo"],
                row["training_seed"],
                count(row["step"]),
                number(row["return_mean"]),
                interval(row["return_mean_ci"]),
                *(
                    word
                    for name in metrics
                    for word in (
                        number(row.get(f"{name}_mean")),
                        interval(row.get(f"{name}_mean_ci")),
                    )
                ),
                *(number(row[f"return_{which}"]) for which in ("median", "min", "max")),
                count(row["env_steps_per_s"]),
            )
            for row in rows
        ],
        right=numeric,
    )
    echo("", "mean: return of the team; t intervals are over episodes.")
