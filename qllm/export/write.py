"""``qllm export``: a run's trainings as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from qllm.errors import UsageError, WorkError
from qllm.export import Format
from qllm.export.records import FIELDS, Record, Source, TableName, write_csv, write_json_lines
from qllm.export.tensorboard import require_tensorboard, write_events
from qllm.jobs.rows import rows_of
from qllm.store.folders import mark, uid_in
from qllm.store.numbers import run_name
from qllm.store.schema import Run
from qllm.store.store import Store

FOLDER = "export"
"""Default folder of an export within its run's folder."""


def export_run(store: Store, run_id: int, form: Format, out: Path | None = None) -> list[Path]:
    """Write the metrics, evaluations and result rows of a run and its trainings.

    What a resumed run has superseded is left out. Each file is whole or not there; files of an
    earlier export of this run to the same folder are replaced.

    Args:
        form: ``csv`` and ``jsonl`` write ``metrics``, ``evaluations`` and ``results``;
            ``tensorboard`` writes an event file for each training, such as ``vdn/seed-1/...``.
        out: the folder; ``export`` in the run's folder by default.

    Returns:
        The files.

    Raises:
        UnknownRunError: there is no such run.
        UsageError: nothing has been recorded, a package is missing, or the folder holds another
            run's export.
        WorkError: a file cannot be written.
    """
    if form == "tensorboard":
        require_tensorboard()
    trainings = _recorded(store, run_id)
    with export_folder(store, run_id, out, FOLDER) as folder:
        if form == "tensorboard":
            return [
                write_events(folder, source, source.in_order(store), training.attempt)
                for training in trainings
                for source in [Source.of(training)]
            ]
        return _tables(store, run_id, trainings, form, folder)


@contextmanager
def export_folder(store: Store, run_id: int, out: Path | None, name: str) -> Iterator[Path]:
    """A folder that belongs to a run's export, to write to.

    Args:
        out: the folder; None for ``name`` in the run's folder.

    Raises:
        UsageError: it holds the export of another run, or is no folder.
        WorkError: something could not be written while it was open.
    """
    folder = out or store.run_dir(run_id) / name
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is no folder: choose another with --out")
    uid = store.runs.uid(run_id) or f"run {run_id}"
    if uid_in(folder) not in (None, uid):
        raise UsageError(f"'{folder}' holds the export of another run: choose another with --out")
    try:
        if out is None:
            store.make_run_dir(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        mark(folder, uid)
        yield folder
    except OSError as error:
        where = error.filename or folder
        raise WorkError(
            f"'{where}' cannot be written ({error.strerror or error}): choose a folder with --out",
            run_id,
        ) from None


def _recorded(store: Store, run_id: int) -> list[Run]:
    """The trainings of a run that have something to export."""
    trainings = store.runs.trainings(run_id)
    begun = [run for run in trainings if store.training.recorded(run.id)]
    if begun:
        return begun
    if not trainings and store.runs.get(run_id).kind == "synth":
        raise UsageError(
            f"run {run_name(run_id)} is a synthesis and has no trainings to export:"
            f" `qllm runs {run_id} --json` prints what it has"
        )
    name = run_name(run_id)
    raise UsageError(
        f"run {name} has recorded nothing to export yet: `qllm runs {name}` says how far it is"
    )


def _tables(
    store: Store, run_id: int, trainings: Sequence[Run], form: Format, folder: Path
) -> list[Path]:
    sources = list(map(Source.of, trainings))

    def records(name: TableName) -> Iterator[Record]:
        return chain.from_iterable(source.table(store, name) for source in sources)

    rows = rows_of(store, store.runs.get(run_id))
    if form == "csv":
        rows = [_flat(row) for row in rows]
    # Only aggregates have all of a row's fields.
    fields = tuple(dict.fromkeys(key for row in rows for key in row))
    tables: list[tuple[str, Sequence[str], Iterator[Record]]] = [
        *((name, FIELDS[name], records(name)) for name in FIELDS),
        ("results", fields, iter(rows)),
    ]
    paths = []
    for name, header, body in tables:
        path = folder / f"{name}.{form}"
        if form == "csv":
            write_csv(path, header, body)
        else:
            write_json_lines(path, body)
        paths.append(path)
    return paths


def _flat(row: Record) -> Record:
    """A result row for a table: an interval becomes two columns, ``..._low`` and ``..._high``."""
    out: Record = {}
    for key, value in row.items():
        if key.endswith("_ci"):
            out[f"{key}_low"], out[f"{key}_high"] = value or (None, None)
        else:
            out[key] = value
    return out
