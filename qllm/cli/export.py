"""``qllm export``: a run's numbers as files. Everything heavy is imported inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qllm.cli import options
from qllm.cli.work import answer, reading, stdout_kept_for_json
from qllm.export import Format


def export(
    run: options.RunId,
    form: Annotated[
        Format, typer.Option("--format", help="Tables, JSON lines, or TensorBoard event files.")
    ] = "csv",
    out: Annotated[
        Path | None, options.option("--out", "A folder (default: export in the run's folder).")
    ] = None,
    json: options.Json = False,
) -> int:
    """Write a run's metrics, evaluations and results to files."""
    from qllm.export.write import export_run

    with reading() as store:
        paths = export_run(store, run, form, out)
    document = {"run": run, "format": form, "files": [str(path) for path in paths]}
    return answer(document, *paths, json=json)


def export_model(
    run: options.RunId,
    checkpoint: options.Checkpoint = "newest",
    out: Annotated[
        Path | None, options.option("--out", "A folder (default: model in the training's folder).")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also one step of the agents as model.onnx.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Write a training's agents and its credit function to files that need no QLLM."""
    from qllm.export.model import export_model as write

    with reading() as store, stdout_kept_for_json(json):
        made = write(store, run, out, which=options.checkpoint(checkpoint), onnx=onnx)
    return answer(made.document(), *made.lines(), json=json)
