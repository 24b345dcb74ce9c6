"""``<hash>.tfcaf.json``: a function with its graph and what was shown of it.

A certificate is a claim. Loading bounds, proves and tests again; hashes only catch accidents. The
trainer loads nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prompts.bounded import BoundsError, read_json
from prompts.cards import TaskCard
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.gate import ungated
from sandbox.graph import CreditGraph, GraphError
from sandbox.reading import read_graph
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
        "reward_scale": card.reward.scale,
        "graph_hash": report.graph_hash,
        "source": report.code,
        "graph": report.graph.to_json(),
        "mathematics": report.mathematics,
        "claims": {
            "igm": report.igm,
            "finite": report.finite,
            "linear_in_q": report.linear_in_q,
            "weight_bounds": report.to_json()["weight_bounds"],
            "q_bound": report.q_bound,
            "row_bytes": report.row_bytes,
            "seed": report.seed,
            "properties": report.to_json()["properties"],
        },
        "versions": {name: version(name) for name in ("torch", "hypothesis")},
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


class DamagedCertificateError(CertificateError):
    """What the file says of itself is not so."""


Ends = Annotated[list[float | None], Field(min_length=2, max_length=2)]


class PropertyClaim(BaseModel):
    """What a certificate says of one property."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    status: str
    examples: int = 0
    detail: str = ""


class Claims(BaseModel):
    """What a certificate says of its function; None where it says nothing."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    igm: str | None = None
    finite: str | None = None
    linear_in_q: bool | None = None
    weight_bounds: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]] | None = (
        None
    )
    """Per agent, ends of an interval; None where it is open."""
    q_bound: float | None = None
    row_bytes: int | None = None
    seed: int = 0
    properties: list[PropertyClaim] = []

    @property
    def missing(self) -> tuple[str, ...]:
        """What a certificate of this version claims and this one does not."""
        named = ("igm", "finite", "linear_in_q", "q_bound", "row_bytes")
        unsaid = [name for name in named if getattr(self, name) is None]
        return (*unsaid, *(() if self.properties else ("properties",)))


@dataclass(frozen=True)
class Certificate:
    """What a file claims, read as data: nothing of it has been shown."""

    path: Path
    graph: CreditGraph
    """Gated."""
    source: str
    mathematics: str
    """Empty where it gives none."""
    claims: Claims
    versions: Mapping[str, str]

    @property
    def gate(self) -> GateConfig:
        """The gate at the graph's end."""
        assert self.graph.gate is not None  # or it would not have been read
        return self.graph.gate

    def judged(self, card: TaskCard, sandbox: Sandbox) -> CheckReport:
        """The function, judged anew for its task in a sandbox.

        Where the sandbox runs sources, the certificate's own is held against its graph.

        Raises:
            CertificateError: it does not hold, or its source does not lead to its graph.
            SandboxUnavailable: there is no sandbox any more.
        """
        if self.source and sandbox.exports:
            report = sandbox.check(self.source, card, self.gate)
            if report.graph_hash != self.graph.graph_hash:
                raise CertificateError(
                    f"'{self.path}' holds a source that does not lead to its graph: one of them "
                    "was changed, or another version made it; check its source again with "
                    "`qllm check`"
                )
        else:
            plain = ungated(self.graph)
            report = sandbox.check_graph(plain, card, self.gate, source=self.source)
        if report.accepted:
            return report
        failed = next((p for p in report.properties if p.status == "fail"), None)
        reason = (failed and (failed.counterexample or failed.detail)) or report.feedback
        raise CertificateError(f"'{self.path}' does not hold ({report.rule}): {reason}")


def read_tfcaf(path: Path, card: TaskCard) -> Certificate:
    """Read a certificate for a task, as data.

    Raises:
        CertificateError: unreadable, damaged, for another task, or for Qs in another unit.
    """
    document = read_document(path)
    if document.get("schema_hash") != card.schema_hash():
        raise CertificateError(
            f"'{path}' was made for task '{str(document.get('task'))[:80]}' or for another version "
            f"of its card, not for '{card.name}' as it is now: check its source again with "
            "`qllm check`"
        )
    _require_unit(path, document, card)
    try:
        graph = read_graph(document.get("graph"))
        if graph.gate is None:
            raise GraphError("the graph has no gate")
        ungated(graph)
    except GraphError as error:
        raise DamagedCertificateError(f"'{path}' holds no valid credit graph: {error}") from None
    if graph.schema_hash != card.schema_hash():
        raise DamagedCertificateError(f"'{path}' is damaged: its graph was made for another task")
    if graph.graph_hash != document.get("graph_hash"):
        raise DamagedCertificateError(
            f"'{path}' is damaged: its graph does not have the hash it names"
        )
    try:
        claims = Claims.model_validate(document.get("claims") or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["claims", *map(str, first["loc"])])
        raise DamagedCertificateError(f"'{path}' is damaged: {where}: {first['msg']}") from None
    texts = {k: v for k in ("source", "mathematics") if isinstance(v := document.get(k), str)}
    versions = document.get("versions")
    named = versions.items() if isinstance(versions, dict) else ()
    return Certificate(
        path,
        graph,
        texts.get("source", ""),
        texts.get("mathematics", ""),
        claims,
        {str(k): str(v) for k, v in named},
    )


def _require_unit(path: Path, document: dict[str, Any], card: TaskCard) -> None:
    """Refuse a function that was written for Qs in another unit than this task's.

    A unit that one side does not know says nothing against it: what holds is shown anew.
    """
    made, here = document.get("reward_scale", 1.0), card.reward.scale
    if made is not None and here is not None and made != here:
        raise CertificateError(
            f"'{path}' was made for rewards divided by {str(made)[:20]}, and those of "
            f"'{card.name}' are divided by {here:g}: check its source again with `qllm check`"
        )


def load_tfcaf(path: Path, card: TaskCard, sandbox: Sandbox) -> CheckReport:
    """The function of a certificate, judged anew for this task in a sandbox.

    Raises:
        CertificateError: unreadable, damaged, for another task, or it no longer holds.
        SandboxUnavailable: there is no sandbox any more.
    """
    return read_tfcaf(path, card).judged(card, sandbox)


def read_document(path: Path) -> dict[str, Any]:
    """A certificate's JSON, before anything in it is looked at.

    Raises:
        CertificateError: unreadable, or not a certificate of this version.
    """
    try:
        document = read_json(os.path.realpath(path), MAX_FILE_BYTES)  # a user's may be a link
    except BoundsError as error:
        raise CertificateError(str(error)) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CertificateError(f"'{path}' is not a {FORMAT} file")
    if document.get("version") != VERSION:
        raise CertificateError(
            f"'{path}' has another version than {VERSION}: check its source again"
        )
    return document
