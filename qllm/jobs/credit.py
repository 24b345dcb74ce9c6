"""The credit function that algorithm qllm trains with: found, checked, kept as a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompts.bounded import BoundsError, read_json
from prompts.cards import TaskCard
from prompts.files import read_bytes
from qllm.errors import UsageError, WorkError
from qllm.store.errors import StoreError
from qllm.store.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from marl.credit_watch import CreditWatch
    from qllm.config.tree import RunConfig
    from qllm.jobs.sandboxes import Sandboxes
    from qllm.jobs.session import Session
    from qllm.store.schema import Run
    from sandbox.certificate import Certificate
    from sandbox.checker import Sandbox
    from sandbox.graph import CreditGraph
    from sandbox.report import CheckReport
    from sandbox.runtime import CreditFunction


_MOST_BYTES = 1 << 26
"""Of a source; the sandbox refuses far shorter ones with a reason."""
CERTIFICATE = "credit.tfcaf.json"
"""The certificate's name in the folder of a run that trains with it."""


_CLAIMS = (
    "signature", "igm", "finite", "q_bound", "row_bytes", "linear_in_q", "weight_bounds",
    "properties",
)  # fmt: skip


def trains_with_credit(run: Run) -> bool:
    """Whether a training has a credit function; a variant's label need not say so."""
    from marl.settings.registry import uses_credit
    from qllm.config.tree import algorithm_of

    named = (run.config or {}).get("algorithm")
    known = isinstance(named, dict) and "name" in named
    return uses_credit(algorithm_of(run.config) if known else run.algo)


@dataclass(frozen=True)
class TrainedCredit:
    """A credit function as a training needs it."""

    graph: CreditGraph
    """Gated; the sandbox has accepted it."""
    name: str
    """Its origin, in words."""

    def memory(self, config: RunConfig, card: TaskCard) -> str:
        """Its share of a training's memory, as a sentence."""
        from sandbox.inference import infer_types

        types, rows = infer_types(self.graph), config.sandbox_for(card).rows or 0
        most = types.row_bytes * rows + types.fixed_bytes
        return (
            f"its credit function ({self.name}) takes up to {types.row_bytes:,} bytes for each of "
            f"the {rows:,} rows of a batch, {most / 1e6:,.1f} MB in all"
        )


@dataclass(frozen=True)
class Credit(TrainedCredit):
    """A credit function that holds under the configured gate: checked now, or proved again."""

    report: CheckReport
    """The sandbox's present verdict."""
    candidate_id: int | None = None
    pilot_steps: int | None = None
    """Environment steps spent on choosing it; None if unknown."""

    def keep(self, folder: Path, card: TaskCard) -> None:
        """Put its certificate into a run's folder."""
        from sandbox.certificate import save_tfcaf

        save_tfcaf(folder, self.report, card).replace(folder / CERTIFICATE)

    def claims(self) -> dict[str, Any]:
        """The sandbox's claims, as a document.

        Returns:
            ``signature``, ``gate``, ``igm``, ``finite``, ``q_bound``, ``row_bytes``,
            ``linear_in_q``, ``weight_bounds`` (per agent, where proved), ``properties``,
            ``source``.
        """
        said, gate = self.report.to_json(), self.graph.gate
        return {
            **{key: said[key] for key in _CLAIMS},
            "gate": None if gate is None else gate.model_dump(mode="json"),
            "source": self.report.code,
        }

    def inputs(self) -> dict[str, Any]:
        """Its entries among a run's inputs."""
        return {
            "tfcaf": CERTIFICATE,
            "name": self.name,
            "graph_hash": self.graph.graph_hash,
            "candidate_id": self.candidate_id,
            "pilot_steps": self.pilot_steps,
        }


_REHEARSED_NUMBERS = 200_000
"""Maximum count of numbers sent to the sandbox; rows of a larger batch are repetitions."""


def watched_credit(
    graph: CreditGraph, sandbox: Sandbox | None
) -> tuple[CreditFunction, CreditWatch]:
    """A credit function to train with, and the watch that holds it to its claims meanwhile.

    Args:
        graph: gated.
        sandbox: where its first batch is rehearsed; None in a process that may die of it.
    """
    from marl.credit_watch import CreditWatch
    from sandbox.runtime import CreditFunction

    def rehearse(agent_qs: Tensor, state: Tensor) -> str | None:
        assert sandbox is not None
        sent = max(1, _REHEARSED_NUMBERS // (graph.n_agents + graph.state_dim))
        qs, states = agent_qs[:sent].tolist(), state[:sent].tolist()
        return sandbox.rehearse(graph, qs, states, len(state))

    function = CreditFunction(graph)
    monotone = graph.gate is not None and graph.gate.mode == "enforce"
    watch = CreditWatch(function, monotone=monotone, rehearse=rehearse if sandbox else None)
    return function, watch


def find_credit(
    store: Store | None, config: RunConfig, card: TaskCard, sandboxes: Sandboxes
) -> Credit:
    """The function that ``tfcaf`` names, checked (or proved again) under the configured gate.

    Args:
        store: is asked where a candidate is named by its number; None will do for a file.

    Raises:
        UsageError: none is named, or it cannot be read, or belongs to another task or gate.
        WorkError: the sandbox rejects it.
    """
    if config.tfcaf is None:
        raise UsageError(
            "algorithm qllm needs a credit function: give --tfcaf FILE (source or certificate) or"
            f" --tfcaf CANDIDATE, or let `qllm run {config.task}` write one"
        )
    path = Path(config.tfcaf).expanduser()
    if config.tfcaf.isdecimal() and not path.exists() and store is not None:
        return _candidate(store, int(config.tfcaf), config, card, sandboxes)
    if not path.is_file():
        raise UsageError(
            f"--tfcaf '{config.tfcaf}': there is no such file, and a candidate is named by its"
            " number (`qllm runs ID` lists them)"
        )
    if path.suffix == ".json":
        report = load_certificate(path, config, card, sandboxes)
        assert report.graph is not None
        return Credit(report.graph, str(path), report)
    return _checked(_read(path, "--tfcaf"), config, card, sandboxes, str(path))


def start_sources(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """The sources that ``synth.start`` names, by candidates' numbers or as files.

    Raises:
        UsageError: there is no such candidate or file.
    """
    sources = []
    for name in names:
        if name.isdecimal() and not Path(name).exists():
            try:
                sources.append(store.synthesis.candidate(int(name)).source)
            except StoreError as error:
                raise UsageError(f"--from {name}: {error}") from None
        else:
            sources.append(_read(Path(name).expanduser(), "--from"))
    return tuple(sources)


def _read(path: Path, option: str) -> str:
    try:
        return read_bytes(path, _MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"{option} '{path}' cannot be read: {(error.strerror or '').lower()}; give a source"
            " file, or a candidate's number (`qllm runs ID` lists them)"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} '{path}' is no UTF-8 text") from None


def load_certificate(
    path: Path, config: RunConfig, card: TaskCard, sandboxes: Sandboxes
) -> CheckReport:
    """The sandbox's present report on a certificate's function.

    Raises:
        UsageError: the certificate is damaged, of another task, or under another gate.
    """
    from sandbox.certificate import CertificateError, read_tfcaf

    try:
        certificate = read_tfcaf(path, card)
        _require_gate(certificate, config)
        sandbox = sandboxes.get(config, card, export=bool(certificate.source))
        return certificate.judged(card, sandbox)
    except CertificateError as error:
        raise UsageError(f"certificate {error}") from None


def _require_gate(certificate: Certificate, config: RunConfig) -> None:
    differing = [
        f"gate.{k}={v}"
        for k, v in certificate.gate.model_dump().items()
        if v != getattr(config.gate, k) and not (k == "mode" and config.gate.mode == "auto")
    ]
    if differing:
        raise UsageError(
            f"certificate '{certificate.path}' is for another gate than the configured one: add"
            f" `{' '.join(differing)}`, or give the source instead, to have it checked anew"
        )


def _checked(
    source: str, config: RunConfig, card: TaskCard, sandboxes: Sandboxes, name: str
) -> Credit:
    from qllm.jobs.states import real_states

    states = real_states(card, config)
    sandbox = sandboxes.get(config, card, export=True)
    report = sandbox.check(source, card, config.gate.decided(), states)
    if report.graph is None:
        raise WorkError(f"--tfcaf: {name} was rejected ({report.rule}): {report.feedback}")
    return Credit(report.graph, name, report)


def gate_of(store: Store, candidate_id: int) -> dict[str, Any]:
    """The settings of the gate that a candidate was accepted under; empty if it was not.

    Raises:
        StoreError: there is no such candidate.
    """
    report = store.synthesis.candidate(candidate_id).report or {}
    gate = (report.get("graph") or {}).get("gate")
    return dict(gate) if isinstance(gate, dict) else {}


def _candidate(
    store: Store, candidate_id: int, config: RunConfig, card: TaskCard, sandboxes: Sandboxes
) -> Credit:
    try:
        row = store.synthesis.candidate(candidate_id)
    except StoreError as error:
        raise UsageError(f"--tfcaf {candidate_id}: {error}") from None
    run = store.runs.get(row.run_id)
    if row.verdict != "accepted":
        raise UsageError(
            f"--tfcaf {candidate_id}: the sandbox rejected this candidate ({row.rule});"
            f" `qllm runs {run.id}` lists the accepted ones"
        )
    steps = (run.result or {}).get("pilot_steps")
    name = f"candidate {candidate_id} of run {run.id}"
    try:
        credit = _checked(row.source, config, card, sandboxes, name)
        return replace(credit, candidate_id=candidate_id, pilot_steps=steps)
    except WorkError as error:
        mode = gate_of(store, candidate_id).get("mode")
        if mode in (None, config.gate.decided().mode):
            raise
        raise WorkError(
            f"--tfcaf {candidate_id}: it was accepted under gate.mode={mode}, and not under this"
            f" one: add `gate.mode={mode}` ({error})"
        ) from None


def kept_credit(session: Session, run: Run, config: RunConfig, card: TaskCard) -> Credit | None:
    """The credit function in a run's folder, rebuilt and proved again; None if it has none."""
    if "tfcaf" not in run.inputs:
        return None
    path = session.store.run_dir(run.id) / CERTIFICATE
    report = load_certificate(path, config, card, session.sandboxes)
    graph = report.graph
    assert graph is not None
    if graph.graph_hash != run.inputs["graph_hash"]:
        raise WorkError(
            f"'{path}' holds function {graph.graph_hash[:12]}, and run {run.id} trains with"
            f" {run.inputs['graph_hash'][:12]}: put its own certificate back",
            run.id,
        )
    name, *chosen = (run.inputs[key] for key in ("name", "candidate_id", "pilot_steps"))
    return Credit(graph, name, report, *chosen)


def shown_certificate(store: Store, run: Run) -> dict[str, Any]:
    """The certificate in a run's folder, for display only: nothing of it is checked or proved.

    Empty where it is missing or cannot be read.
    """
    from sandbox.certificate import MAX_FILE_BYTES

    try:
        document = read_json(store.run_dir(run.id) / CERTIFICATE, MAX_FILE_BYTES)
    except BoundsError:
        return {}
    return document if isinstance(document, dict) else {}
