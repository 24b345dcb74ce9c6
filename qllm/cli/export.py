"""``qllm export``: a run's numbers as files. Everything heavy is imported inside the command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qllm.cli import options
from qllm.cli.failures import DONE
from qllm.cli.work import print_json, say_damage
from qllm.output import echo


class Format(StrEnum):
    """What is written."""

    csv = "csv"
    jsonl = "jsonl"
    tensorboard = "tensorboard"


def export(
    run: options.RunId,
    form: Annotated[
        Format, typer.Option("--format", help="Tables, JSON lines, or TensorBoard event files.")
    ] = Format.csv,
    out: Annotated[
        Path | None, options.option("--out", "A folder (default: export in the run's folder).")
    ] = None,
    json: options.Json = False,
) -> int:
    """Write a run's metrics, evaluations and results to files."""
    from qllm.export.write import export_run
    from qllm.store.store import open_store

    with open_store(options.given.home, readonly=True) as store:
        paths = export_run(store, run, form.value, out)
        say_damage(store)
    if json:
        print_json({"run": run, "format": form.value, "files": [str(path) for path in paths]})
        return DONE
    echo(*paths)
    return DONE
