"""``qllm bench``: measured speed. Everything heavy is imported inside the commands."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from qllm.cli import options, work
from qllm.cli.failures import DONE
from qllm.output import echo

app = options.Commands()

_THREADS = ("threads", "beside")
BenchTask = Annotated[str, typer.Option("--task", help="The task.")]
Settings = options.Settings


@app.command()
def env(
    settings: Settings = None,
    task: BenchTask = "matrix/climbing",
    num_envs: Annotated[
        str | None,
        options.option(
            "--num-envs", "Batch sizes, one row each (default: 8,128,1024; of football 1,8)."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="Per row.", min=0.01)] = 1.0,
    json: options.Json = False,
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
        return work.print_json({"rows": rows})
    _table(rows, ("task", "num_envs", "env_steps_per_s", "device", "threads"))
    return DONE


_LEARNER = ("env.num_envs=8", "learner.batch_size=64", "learner.updates_per_rollout=1")
"""Settings of recorded figures, for comparable numbers."""


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
        return work.print_json(row)
    _table([row], ("task", "algo", "env_steps_per_s", "updates_per_s", "device", *_THREADS))
    echo(f"  {row['updates_per_episode']:g} updates per episode, {row['batch_size']} episodes each")
    for part, spent in row["breakdown"].items():
        echo(f"  {part:<10} {spent:8.3f} s")
    return DONE


@app.command()
def check(
    settings: Settings = None,
    json: options.Json = False,
) -> int:
    """Time of a full check in the sandbox."""
    config = work.configuration("matrix/climbing", settings, None, reader="bench check")
    from bench.check import bench_check

    rows = bench_check(config.sandbox)
    if json:
        return work.print_json({"rows": rows})
    _table(rows, ("function", "task", "median_s", "p95_s", "overhead_ms", "examples"))
    return DONE


_WRITTEN = "matrix/climbing,lbf/8x8-2p-2f-coop-2s,mpe/spread-3,mpe/tag"


@app.command()
def coder(
    model: Annotated[str, typer.Argument(help="A registered model (`qllm models`).")],
    settings: Settings = None,
    tasks: Annotated[str, typer.Option("--tasks", help="Tasks, or all.")] = _WRITTEN,
    n: Annotated[int, typer.Option("--n", help="First replies for each task.", min=1)] = 20,
    repairs: Annotated[int, typer.Option("--repairs", help="Most corrections.", min=0)] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Of the first reply.", min=0)] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Keep replies in this file; the same command goes on with it."),
    ] = None,
    json: options.Json = False,
) -> int:
    """How often a model writes functions that are accepted, and how different they are."""
    from bench.coder import CoderBench, Writing, summary
    from prompts.cards import list_tasks, load_listed
    from qllm.jobs.search_context import coder_prompts, constraint
    from qllm.jobs.search_models import open_coder
    from qllm.jobs.states import real_states

    def note(line: str) -> None:
        echo(line, err=True)

    from sandbox.checker import Sandbox
    from synth.participants import begun

    names = list_tasks() if tasks == "all" else tasks.split(",")
    chosen = [load_listed(name).name if "{" in name else name for name in names]
    configs = [
        work.configuration(name, [*(settings or []), f"synth.coder={model}"], None,
                           reader="bench coder")
        for name in chosen
    ]  # fmt: skip
    from qllm.jobs.tasks import task_card

    cards = [task_card(config) for config in configs]
    synth = configs[0].synth
    rows = []
    asked = open_coder(configs[0], cards[0], note)
    with closing(asked), Sandbox(configs[0].sandbox) as sandbox:
        for card, config in zip(cards, configs, strict=True):
            bench = CoderBench(
                begun(asked, synth, card),
                sandbox,
                constraint=synth.constraint,
                repairs=repairs,
                seed=seed,
                temperature=synth.temperature,
                max_tokens=synth.max_tokens,
                path=out,
                say=note,
            )
            writing = Writing(
                card,
                coder_prompts(config, card),
                constraint(config, card),
                real_states(card, config),
            )
            rows.append(summary(bench.run(writing, n)))
    if json:
        return work.print_json({"model": model, "rows": rows})
    _table(
        rows,
        (
            "task", "n", "accepted_first", "accepted", "distinct_graphs", "distinct_meanings",
            "non_trivial", "tokens_per_function", "seconds_per_function",
        ),
    )  # fmt: skip
    for row in rows:
        listed = ", ".join(f"{rule} {count}" for rule, count in row["refusals"].items())
        echo(f"  {row['task']}: first replies refused: {listed or 'none'}")
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
) -> int:
    """First paint, answers to keys and cost of the terminal app, with a large store."""
    import tempfile

    from bench.tui import bench_tui
    from qllm.errors import WorkError

    with tempfile.TemporaryDirectory(prefix="qllm-bench-") as folder:
        try:
            found = bench_tui(store or Path(folder), runs=runs, points=points, seconds=seconds)
        except TimeoutError as error:
            raise WorkError(str(error)) from None
    if json:
        return work.print_json(found)
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
