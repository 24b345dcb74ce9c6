"""``qllm play``: an episode of trained agents as a moving picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qllm.cli import options
from qllm.cli.failures import DONE
from qllm.cli.work import print_json, stdout_kept_for_json
from qllm.output import echo


def play(
    run: options.RunId,
    out: Annotated[
        Path | None,
        options.option("--out", "The picture, a GIF file (default: play-RUN.gif here)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the episode.", min=0)] = 0,
    json: options.Json = False,
) -> int:
    """Let a run's trained agents play an episode of football, and draw it."""
    from qllm.errors import UsageError, WorkError
    from qllm.jobs.football_episode import watch
    from qllm.report.pitch import draw_episode
    from qllm.store.numbers import run_name
    from qllm.store.store import open_store

    if out is not None and out.suffix.lower() != ".gif":
        raise UsageError(f"--out '{out}': the picture is a GIF file, so its name must end in .gif")
    with stdout_kept_for_json(json), open_store(options.given.home, readonly=True) as store:
        episode = watch(store, run, seed)
    path = out or Path(f"play-{run_name(run)}.gif")
    try:
        draw_episode(episode, path)
    except OSError as error:
        raise WorkError(f"picture '{path}' cannot be written: {error.strerror or error}") from None
    steps, total = len(episode.rewards), sum(episode.rewards)
    if json:
        print_json(
            {"run": run, "seed": seed, "steps": steps, "return": total, "picture": str(path)}
        )
        return DONE
    echo(f"{episode.title}: {steps} steps, return {total:.2f}", f"picture: {path}")
    return DONE
