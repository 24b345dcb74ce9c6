"""Write a run's report, and its learning curves as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qllm.errors import UsageError, WorkError
from qllm.jobs.session import Session
from qllm.store.numbers import run_name
from qllm.store.store import Store

REPORT_FILE = "report.html"
CURVES_FILE = "curves.png"


@contextmanager
def _written(what: str, run_id: int | None = None) -> Iterator[None]:
    """Raise a WorkError where the file system refuses."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise WorkError(f"{what} cannot be written: {reason}", run_id) from None


def write_run_report(store: Store, run_id: int, path: Path | None = None) -> Path:
    """Write the report of a run in its present state; returns its path.

    Args:
        path: where; ``report.html`` in the run's folder by default.

    Raises:
        UnknownRunError: there is no such run.
        WorkError: it cannot be written.
    """
    from qllm.report.collect import collect
    from qllm.report.render import write_report

    where = path or store.run_dir(run_id) / REPORT_FILE
    with _written(f"report '{where}'", run_id):
        if path is None:
            store.make_run_dir(run_id)
        return write_report(collect(store, run_id), where)


def write_comparison_report(
    store: Store,
    run_ids: Sequence[int],
    path: Path | None = None,
    *,
    reference: str | None = None,
) -> Path:
    """Write the comparison of several runs in their present state; returns its path.

    Args:
        run_ids: two at least, in the order in which they are shown.
        path: where; ``compare-7-9.html`` in the folder of the runs by default.
        reference: what the others are held against, called as the page calls it (``#9 qmix``).

    Raises:
        UnknownRunError: one of them does not exist.
        UsageError: there is nothing to compare, or not with this reference.
        WorkError: it cannot be written.
    """
    from qllm.facts.compared import compare_runs
    from qllm.report.collect import collect
    from qllm.report.render import write_comparison

    ids = list(dict.fromkeys(run_ids))
    if len(ids) < 2:
        raise UsageError("a comparison needs two runs at least: `qllm report --compare 7 9`")
    compared = compare_runs(store, ids, reference=reference)
    where = path or store.home / f"compare-{'-'.join(map(run_name, ids))}.html"
    reports = [collect(store, run_id, play=False) for run_id in ids]
    with _written(f"report '{where}'"):
        return write_comparison(compared, reports, where)


def write_run_curves(store: Store, run_id: int) -> Path | None:
    """Draw a run's present learning curves; returns the picture's path.

    None, and nothing is written, where no training has been evaluated more than once: a point is no
    curve.

    Raises:
        UnknownRunError: there is no such run.
        WorkError: it cannot be written.
    """
    from qllm.facts.curves import curve_words, curves_of, metric_curves_of
    from qllm.report.plots import draw_learning_curves

    trainings = store.runs.trainings(run_id)
    curves = curves_of(store, trainings)
    if all(len(curve.steps) < 2 for curve in curves):
        return None
    where = store.run_dir(run_id) / CURVES_FILE
    title = f"{store.runs.get(run_id).task} (run {run_name(run_id)})"
    with _written(f"picture '{where}'", run_id):
        store.make_run_dir(run_id)
        draw_learning_curves(curves, where, title=title, words=curve_words(curves))
        for group in metric_curves_of(store, trainings):
            name = group[0].quantity
            beside = where.with_name(f"curves-{name}.png")
            words = curve_words(group).replace("mean return", f"mean {name}")
            draw_learning_curves(group, beside, title=f"{title}: {name}", words=words)
    return where


def keep(session: Session, run_id: int, write: Callable[[Store, int], Path | None]) -> Path | None:
    """Write a run's report or curves; a failure is only noted, for the results are in the store."""
    try:
        return write(session.store, run_id)
    except WorkError as error:
        session.display.note(f"{error} (`qllm report {run_id}` tries again)", "warning")
        return None
