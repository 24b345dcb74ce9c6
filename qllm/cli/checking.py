"""``qllm check``: source files through one sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qllm.cli.failures import DONE, FAILED
from qllm.cli.work import print_json, stdout_kept_for_json
from qllm.config.tree import RunConfig
from qllm.errors import UsageError
from qllm.jobs.tasks import task_card
from sandbox.checker import Sandbox
from sandbox.report import CheckReport


def check_files(paths: Sequence[Path], config: RunConfig, *, json: bool) -> int:
    """Check files (and the ``.py`` files in folders); returns the exit code.

    Raises:
        UsageError: a path that cannot be read; nothing was checked.
    """
    card = task_card(config)
    sources = [(path, _read(path)) for given in paths for path in _files(given)]
    many = len(paths) > 1 or paths[0].is_dir()
    documents, accepted = [], True
    with stdout_kept_for_json(json), Sandbox(config.sandbox) as sandbox:
        for path, source in sources:
            report = sandbox.check(source, card, config.gate)
            accepted = accepted and report.accepted
            documents.append(_document(path, report))
            if not json:
                _show(path, report)
    if json:
        print_json(documents if many else documents[0])
    return DONE if accepted else FAILED


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.rglob("*.py") if p.is_file())
        if not found:
            raise UsageError(f"'{path}': no .py files in this folder")
        return found
    if not path.exists():
        raise UsageError(f"'{path}': no such file{_near(path)}")
    return [path]


def _near(path: Path) -> str:
    import difflib

    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=2)
    return f": did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""


def _read(path: Path) -> str:
    try:
        # What is no UTF-8 is no Python either: the sandbox says so, with the place.
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror}") from None


def _document(path: Path, report: CheckReport) -> dict[str, Any]:
    document = {"file": str(path), **report.to_json()}
    del document["graph"], document["source"]  # long, and of no use to a reader of verdicts
    return document


def _show(path: Path, report: CheckReport) -> None:
    from qllm.text import safe

    name = safe(str(path))
    if report.accepted:
        linear = "linear in q" if report.linear_in_q else "not linear in q"
        print(
            f"accepted  {name}: {report.signature} form, {linear}, IGM {report.igm},"
            f" finite {report.finite} ({report.elapsed_s:.1f} s)"
        )
    else:
        print(
            f"rejected  {name}: at stage {report.stage} ({report.rule}, {report.elapsed_s:.1f} s)"
        )
    for line in report.feedback.strip().splitlines():
        print(f"          {safe(line)}")
