"""Writing a run's report."""

from __future__ import annotations

from pathlib import Path

from qllm.errors import WorkError
from qllm.jobs.session import Session
from qllm.store.store import Store

REPORT_FILE = "report.html"


def write_run_report(store: Store, run_id: int, path: Path | None = None) -> Path:
    """Write the report of a run as it stands; returns its path.

    Args:
        path: where; ``report.html`` in the run's folder by default.

    Raises:
        UnknownRunError: there is no such run.
        WorkError: it cannot be written.
    """
    from qllm.report.collect import collect
    from qllm.report.render import write_report

    where = path or store.run_dir(run_id) / REPORT_FILE
    try:
        return write_report(collect(store, run_id), where)
    except OSError as error:
        raise WorkError(f"report '{where}' cannot be written: {error.strerror}", run_id) from None


def keep_report(session: Session, run_id: int) -> None:
    """Write a run's report; the results are in the store, so nothing fails for want of it."""
    try:
        write_run_report(session.store, run_id)
    except WorkError as error:
        session.display.note(f"{error} (`qllm report {run_id}` tries again)", "warning")
