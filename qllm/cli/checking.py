"""``qllm check`` and ``qllm verify``: sources and certificates through one sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prompts.files import read_bytes
from qllm.cli.columns import print_columns
from qllm.cli.failures import DONE, FAILED
from qllm.cli.work import configuration, print_json, stdout_kept_for_json
from qllm.config.tree import RunConfig
from qllm.display.verdict import show_verdict
from qllm.errors import UsageError, WorkError
from qllm.jobs.states import errand, scaled_with_states
from qllm.jobs.tasks import task_card
from qllm.output import echo
from sandbox.certificate import (
    CertificateError,
    DamagedCertificateError,
    read_document,
    read_tfcaf,
    save_tfcaf,
)
from sandbox.checker import Sandbox
from sandbox.report import CheckReport
from sandbox.verifying import in_unit_of, verify

_MOST_BYTES = 1 << 26
"""Of a source; the sandbox refuses far shorter ones with a reason."""


def check_files(
    paths: Sequence[Path],
    config: RunConfig,
    *,
    json: bool,
    html: Path | None = None,
    certify: bool = False,
) -> int:
    """Check files (and the ``.py`` files in folders); returns the exit code.

    Args:
        config: the task, the gate and the sandbox's settings.
        html: where to write a page of all verdicts.
        certify: write ``<hash>.tfcaf.json`` beside each accepted source.

    Raises:
        UsageError: a path that cannot be read; nothing was checked.
        WorkError: a page or certificate cannot be written; everything was checked.
    """
    card = task_card(config)
    for path in paths:
        if path.name.endswith(".tfcaf.json"):
            raise UsageError(f"'{path}' is a certificate: `qllm verify {path}` checks its claims")
    sources = [(path, _read(path)) for given in paths for path in _files(given)]
    many = len(paths) > 1 or paths[0].is_dir()
    with (
        stdout_kept_for_json(json),
        Sandbox(config.sandbox_for(card), errand=errand(card, config)) as sandbox,
    ):
        config, states = scaled_with_states(sandbox.errand_answer, config)
        card = task_card(config)
        reports = sandbox.check_all([s for _, s in sources], card, config.gate.decided(), states)
    checked = list(zip([path for path, _ in sources], reports, strict=True))
    documents = []
    for path, report in checked:
        documents.append(_document(path, report))
        if not json:
            show_verdict(str(path), report)
    if json:
        print_json(documents if many else documents[0])
    try:
        if certify:
            for path, report in checked:
                if report.accepted:
                    _say(f"certificate: {save_tfcaf(path.parent, report, card)}")
        if html is not None:
            from qllm.report.render import write_checks

            _say(f"page: {write_checks(html, [(str(p), r) for p, r in checked], card)}")
    except OSError as error:
        raise WorkError(f"'{error.filename}' cannot be written: {error.strerror}") from None
    return DONE if all(report.accepted for report in reports) else FAILED


def verify_file(path: Path, task: str | None, settings: Sequence[str] | None, *, json: bool) -> int:
    """Compare every claim of a certificate with what is found; returns the exit code.

    Args:
        task: its task or card; None takes the one that it names.
        settings: of the sandbox, as key=value.

    Raises:
        UsageError: it cannot be read, or is for another task.
        WorkError: its graph is damaged.
    """
    try:
        document = read_document(path)
        named = str(document.get("task"))
        config = configuration(task or named, settings, None, reader="verify")
        card = in_unit_of(document, task_card(config))
        certificate = read_tfcaf(path, card)
    except DamagedCertificateError as error:
        raise WorkError(f"certificate {error}") from None
    except CertificateError as error:
        raise UsageError(f"certificate {error}") from None
    exports = bool(certificate.source)
    with (
        stdout_kept_for_json(json),
        Sandbox(config.sandbox_for(card), export=exports) as sandbox,
    ):
        results = verify(certificate, card, sandbox)
    failed = [r.name for r in results if not r.holds]
    if json:
        print_json(
            {
                "file": str(path),
                "task": card.name,
                "graph_hash": certificate.graph.graph_hash,
                "holds": not failed,
                "not_claimed": certificate.claims.missing,
                "claims": [asdict(r) for r in results],
            }
        )
    else:
        rows = [("holds" if r.holds else "FAILS", r.name, r.claimed, r.found) for r in results]
        print_columns(("", "claim", "claimed", "found"), rows)
        end = f"{len(failed)} of {len(results)} claims do not hold: {', '.join(failed)}"
        echo("", end if failed else f"all {len(results)} claims of {path} hold")
        if certificate.claims.missing:
            echo(f"it claims nothing on {', '.join(certificate.claims.missing)}")
    return FAILED if failed else DONE


def _say(text: str) -> None:
    echo(text, err=True)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(_below(path))
        for odd in [each for each in found if not each.is_file()]:
            _say(f"'{odd}' is left out: no regular file, or a link to nothing")
            found.remove(odd)
        if not found:
            raise UsageError(
                f"'{path}': no .py files in this folder (hidden folders, environments and"
                " node_modules are left out)"
            )
        return found
    if not path.exists():
        raise UsageError(f"'{path}': no such file{_near(path)}")
    return [path]


def _below(folder: Path) -> Iterator[Path]:
    """The sources below a folder, without files of tools and package managers."""
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _foreign(Path(at, name))]
        yield from (path for name in names if (path := Path(at, name)).suffix == ".py")


def _foreign(folder: Path) -> bool:
    kept_by_tools = ("node_modules", "site-packages", "__pycache__")
    hidden = folder.name.startswith(".") or folder.name in kept_by_tools
    return hidden or (folder / "pyvenv.cfg").exists()


def _near(path: Path) -> str:
    import difflib

    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=2)
    return f": did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""


def _read(path: Path) -> str:
    try:
        # What is no UTF-8 is no Python either: the sandbox says so, with the place.
        return read_bytes(path, _MOST_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror}") from None


def _document(path: Path, report: CheckReport) -> dict[str, Any]:
    document = {"file": str(path), **report.to_json()}
    del document["graph"], document["source"]  # long, and of no use to a reader of verdicts
    return document
