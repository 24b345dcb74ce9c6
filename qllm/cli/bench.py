"""``qllm bench``: measured speed. Everything heavy is imported inside the commands."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from qllm.cli import options, work
from qllm.cli.failures import DONE
from qllm.output import echo

app = typer.Typer(rich_markup_mode=None, no_args_is_help=False)

_THREADS = ("threads", "beside")
BenchTask = Annotated[str, typer.Option("--task", help="The task.")]
Settings = options.Settings


@app.command()
def env(
    settings: Settings = None,
    task: BenchTask = "matrix/climbing",
    num_envs: Annotated[
        str | None,
        typer.Option(
            "--num-envs",
            help="Batch sizes, one row each (default: 8,128,1024; of football 1,8).",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Per row.", min=0.01)] = 1.0,
    json: options.Json = False,
    home: options.Home = None,
    debug: options.Debug = False,
) -> int:
    """Steps per second of an environment under random actions."""
    from qllm.errors import UsageError

    config = work.configuration(task, settings, None, reader="bench env")
    from qllm.jobs.tasks import task_card

    card = task_card(config)
    num_envs = num_envs or ("1,8" if card.env.kind == "football" else "8,128,1024")
    try:
        sizes = [options.whole(word) for word in num_envs.split(",")]
    except typer.BadParameter:
        raise UsageError(f"--num-envs {num_envs}: needs numbers, such as 8,128,1024") from None
    if min(sizes) < 1:
        raise UsageError(f"--num-envs {num_envs}: needs at least 1")
    from bench.env import bench_env

    rows = bench_env(
        card,
        num_envs=sizes,
        seconds=seconds,
        env=config.env,
        device=config.device,
        threads=config.threads,
    )
    if json:
        work.print_json({"rows": rows})
        return DONE
    _table(rows, ("task", "num_envs", "env_steps_per_s", "device", "threads"))
    return DONE


_LEARNER = ("env.num_envs=8", "learner.batch_size=64", "learner.updates_per_rollout=1")
"""What figures have been measured at, so that they can be held against each other."""


@app.command()
def learner(
    settings: Settings = None,
    task: BenchTask = "matrix/climbing",
    algo: Annotated[
        str, typer.Option("--algo", help="Such as vdn, qmix, mappo or riit+tfcaf.")
    ] = "vdn",
    tfcaf: options.Tfcaf = None,
    rollouts: Annotated[int, typer.Option("--rollouts", help="How many.", min=1)] = 40,
    beside: Annotated[
        int,
        typer.Option(
            "--beside", help="Processes that keep a core busy meanwhile.", min=0, max=1024
        ),
    ] = 0,
    json: options.Json = False,
    home: options.Home = None,
    debug: options.Debug = False,
) -> int:
    """Steps per second of a whole training, and where the time goes.

    Batches of 64 episodes and one update after every 8, whatever the preset, unless set otherwise.
    """
    words = [*_LEARNER, *(settings or [])]
    config = work.configuration(task, words, None, command="train", algorithm=algo, tfcaf=tfcaf)
    from bench.learner import bench_learner
    from qllm.jobs.credit import find_credit
    from qllm.jobs.sandboxes import Sandboxes
    from qllm.jobs.tasks import task_card
    from qllm.store.store import open_store
    from sandbox.runtime import CreditFunction

    card, function = task_card(config), None
    if config.algorithm.uses_credit:
        with open_store(options.given.home) as store, closing(Sandboxes()) as sandboxes:
            function = CreditFunction(find_credit(store, config, card, sandboxes).graph)
    settled = config.train_config()
    row = bench_learner(card, settled, credit=function, rollouts=rollouts, beside=beside)
    if json:
        work.print_json(row)
        return DONE
    _table([row], ("task", "algo", "env_steps_per_s", "updates_per_s", "device", *_THREADS))
    echo(f"  {row['updates_per_episode']:g} updates per episode, {row['batch_size']} episodes each")
    for part, spent in row["breakdown"].items():
        echo(f"  {part:<10} {spent:8.3f} s")
    return DONE


@app.command()
def check(
    settings: Settings = None,
    json: options.Json = False,
    home: options.Home = None,
    debug: options.Debug = False,
) -> int:
    """Time of a full check in the sandbox."""
    config = work.configuration("matrix/climbing", settings, None, reader="bench check")
    from bench.check import bench_check

    rows = bench_check(config.sandbox)
    if json:
        work.print_json({"rows": rows})
        return DONE
    _table(rows, ("function", "task", "median_s", "p95_s", "overhead_ms", "examples"))
    return DONE


@app.command()
def tui(
    runs: Annotated[int, typer.Option("--runs", help="In the store.", min=10)] = 1_000,
    points: Annotated[
        int, typer.Option("--points", help="Of metrics in the store.", parser=options.whole)
    ] = 10_000_000,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Of following a run.", min=0.5)
    ] = 20.0,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Keep the store in this folder, and use it again."),
    ] = None,
    json: options.Json = False,
    home: options.Home = None,
    debug: options.Debug = False,
) -> int:
    """First paint, answers to keys and cost of the terminal app, with a large store."""
    import tempfile

    from qllm.errors import WorkError
    from qllm.tui.measure import measure_app

    with tempfile.TemporaryDirectory(prefix="qllm-bench-") as folder:
        try:
            found = measure_app(store or Path(folder), runs=runs, points=points, seconds=seconds)
        except TimeoutError as error:
            raise WorkError(str(error)) from None
    if json:
        work.print_json(found)
        return DONE
    echo(f"first paint      {found['first_paint_s']:8.2f} s (limit 0.6)")
    echo(f"runs shown       {found['runs_shown_s']:8.2f} s")
    echo(f"following a run  {found['following']['cores']:8.1%} of a core (limit 10%)")
    for screen, took in found["keys"].items():
        lost = took["unanswered"]
        said = f"; no answer to {', '.join(map(repr, lost))}" if lost else ""
        echo(f"key, {screen:<12}{took['worst_ms']:8.0f} ms at most (limit 100){said}")
    return DONE


def _table(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> None:
    from qllm.cli.columns import print_columns

    def cell(value: Any) -> Any:
        return (
            f"{value:,.4g}"
            if isinstance(value, float) and abs(value) < 1000
            else (f"{value:,.0f}" if isinstance(value, float) else value)
        )

    print_columns(keys, [[cell(row.get(key)) for key in keys] for row in rows])
