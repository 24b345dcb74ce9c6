"""``<hash>.tfcaf.json``: a function with its graph and what was shown of it.

A certificate is a claim. Loading rebuilds, bounds, proves and tests again; hashes only catch
accidents. The trainer loads nothing else.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import hypothesis
import torch

from prompts.cards import TaskCard
from sandbox.checker import judge_graph
from sandbox.config import SandboxConfig
from sandbox.graph import CreditGraph, GraphError, ungated
from sandbox.report import CheckReport

FORMAT = "qllm-tfcaf"
VERSION = 1
MAX_FILE_BYTES = 16 << 20


class CertificateError(ValueError):
    """A certificate that cannot be used; the message says why and what to do."""


def save_tfcaf(folder: Path, report: CheckReport, card: TaskCard) -> Path:
    """Write an accepted candidate's certificate into ``folder``; the path carries its graph hash.

    Raises:
        CertificateError: the report does not accept its candidate.
        OSError: the folder cannot be written.
    """
    if report.graph is None or report.graph_hash is None:
        raise CertificateError("only an accepted candidate has a certificate")
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "task": card.name,
        "schema_hash": card.schema_hash(),
        "graph_hash": report.graph_hash,
        "source": report.code,
        "graph": report.graph.to_json(),
        "claims": {
            "igm": report.igm,
            "finite": report.finite,
            "linear_in_q": report.linear_in_q,
            "q_bound": report.q_bound,
            "seed": report.seed,
            "properties": report.to_json()["properties"],
        },
        "versions": {"torch": torch.__version__, "hypothesis": hypothesis.__version__},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.graph_hash[:16]}.tfcaf.json"
    draft = folder / f".{path.name}.{os.getpid()}"
    try:
        with draft.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def load_tfcaf(path: Path, card: TaskCard, config: SandboxConfig | None = None) -> CreditGraph:
    """The gated graph of a certificate, judged anew for this task.

    Raises:
        CertificateError: unreadable, damaged, for another task, or it no longer holds.
    """
    document = _read(path)
    if document.get("schema_hash") != card.schema_hash():
        raise CertificateError(
            f"'{path}' was made for task '{str(document.get('task'))[:80]}' or for another version "
            f"of its card, not for '{card.name}' as it is now: check its source again with "
            "`qllm check`"
        )
    try:
        stored = CreditGraph.from_json(document.get("graph"))
        if stored.gate is None:
            raise GraphError("the graph has no gate")
        verdict = judge_graph(ungated(stored), card, stored.gate, config or SandboxConfig())
    except GraphError as error:
        raise CertificateError(f"'{path}' holds no valid credit graph: {error}") from None
    if verdict.graph.graph_hash != stored.graph_hash:
        raise CertificateError(f"'{path}': the graph's gate is not the one it names")
    if verdict.graph.graph_hash != document.get("graph_hash"):
        raise CertificateError(f"'{path}' is damaged: its graph does not have the hash it names")
    if verdict.failures:
        worst = verdict.failures[0]
        raise CertificateError(
            f"'{path}' does not hold: {worst.name}: {worst.counterexample or worst.detail}"
        )
    return verdict.graph


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CertificateError(f"'{path}' is too large for a certificate")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CertificateError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CertificateError(f"'{path}' is damaged: it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CertificateError(f"'{path}' is not a {FORMAT} file")
    if document.get("version") != VERSION:
        raise CertificateError(
            f"'{path}' has another version than {VERSION}: check its source again"
        )
    return document
