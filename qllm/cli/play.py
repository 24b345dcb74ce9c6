"""``qllm play``: an episode of trained agents as a moving picture."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from qllm.cli import options
from qllm.cli.work import answer, reading, stdout_kept_for_json


def play(
    run: options.RunId,
    checkpoint: options.Checkpoint = "newest",
    out: Annotated[
        Path | None,
        options.option(
            "--out",
            "The picture, a .gif file, or .mp4 where ffmpeg is installed (default: play-RUN.gif"
            " here).",
        ),
    ] = None,
    seed: options.EpisodeSeed = 0,
    json: options.Json = False,
) -> int:
    """Let a run's trained agents play an episode, and draw it with each agent's credit."""
    from marl.scenes.film import MOST_STEPS, write_gif, write_mp4
    from qllm.drafts import drafted
    from qllm.errors import WorkError
    from qllm.jobs.watching import watch
    from qllm.store.numbers import run_name

    path = out or Path(f"play-{run_name(run)}.gif")
    ffmpeg = _ffmpeg(path)
    which = options.checkpoint(checkpoint)
    with stdout_kept_for_json(json), reading() as store:
        episode = watch(store, run, seed, which)
    try:
        with drafted(path) as draft:
            if ffmpeg is None:
                write_gif(episode, draft)
            else:
                write_mp4(episode, draft, ffmpeg)
    except OSError as error:
        raise WorkError(f"picture '{path}' cannot be written: {error.strerror or error}") from None
    total = sum(episode.rewards)
    given = {"run": run, "checkpoint": checkpoint, "seed": seed}
    done = {"steps": episode.steps, "return": total, "picture": str(path)}
    shown = f", of which the first {MOST_STEPS:,} are shown" if episode.steps > MOST_STEPS else ""
    said = f"{episode.title}: {episode.steps:,} steps{shown}, return {total:.2f}"
    return answer({**given, **done}, said, f"picture: {path}", json=json)


def _ffmpeg(path: Path) -> str | None:
    """The program that writes a film to this file; none for a GIF.

    Raises:
        UsageError: neither, or there is no such program.
    """
    from qllm.errors import UsageError

    if path.suffix.lower() == ".gif":
        return None
    if path.suffix.lower() != ".mp4":
        raise UsageError(
            f"--out '{path}': the picture is a GIF or an MP4 file, so its name must end in .gif"
            " or .mp4"
        )
    found = shutil.which("ffmpeg")
    if found is None:
        raise UsageError(
            f"--out '{path}': MP4 files are written by ffmpeg, which is not on the PATH: install"
            " it, or give a name that ends in .gif"
        )
    return found
