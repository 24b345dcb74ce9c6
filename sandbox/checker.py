"""Check candidates and graphs: one warmed sandbox, any number of them.

Nothing that comes from a candidate runs in this process. A candidate's source runs in one caged
child, which answers with a graph; the graph is read here as data, and rebuilt, proved and tested in
another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prompts.cards import TaskCard
from prompts.views import all_views
from sandbox import answers, feedback
from sandbox.claims import Findings
from sandbox.config import GateConfig, SandboxConfig
from sandbox.contract import require_contract, require_memory
from sandbox.evidence import draw_inputs
from sandbox.extract import MAX_SOURCE_BYTES, extract_code
from sandbox.gate import apply_gate
from sandbox.graph import CreditGraph, GraphError
from sandbox.graph_work import GraphWork
from sandbox.inference import infer_types
from sandbox.isolation.host import ChildFailure, Errand, SandboxUnavailable, Zygote
from sandbox.isolation.lockdown import MANDATORY, Limits
from sandbox.reading import read_graph
from sandbox.report import MAX_REPORTED_SOURCE, CheckReport, Stage

ROWS = 6_400
"""Rows of the largest batch of a training, where the settings do not say it."""

__all__ = ["Errand", "Rejection", "Sandbox", "SandboxUnavailable"]


class Rejection(Exception):
    """A candidate or a graph is refused at a stage; ``findings`` are rule, message and line."""

    def __init__(self, stage: Stage, *findings: answers.Finding) -> None:
        super().__init__(findings[0][1])
        self.stage, self.findings = stage, list(findings)


def view_documents(card: TaskCard) -> dict[str, dict[str, Any]]:
    """The views that a candidate may name, as its child is told of them."""
    return {
        name: {
            "text": view.shape_text,
            "starts": view.starts,
            "size": view.member.size,
            "shape": view.shape,
        }
        for name, view in all_views(card).items()
    }


class Sandbox(GraphWork):
    """A warmed sandbox. Use as a context manager; it may be called from several threads.

    Args:
        config: limits, and how hard functions are tested.
        export: whether sources will be checked; without, it warms up sooner.
        errand: work of the caller's own to be done in a process that has torch, while it warms up.

    Raises:
        SandboxUnavailable: the isolation that is mandatory cannot be had on this machine.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        export: bool = True,
        errand: Errand | None = None,
    ) -> None:
        self.config = config or SandboxConfig()
        self._export_too = export
        self._zygote: Zygote | None = Zygote(export=export, errand=errand)
        self.errand_answer = self._zygote.errand_answer
        self._lock = threading.Lock()
        self._layers = self._require_layers()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the sandbox's processes."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def layers(self) -> dict[str, str]:
        """Isolation layers of a child: "on", or why not."""
        return dict(self._layers)

    def _new_zygote(self) -> Zygote:
        return Zygote(export=self._export_too)

    @property
    def exports(self) -> bool:
        """Whether it runs sources, and does not only judge graphs."""
        return self._export_too

    @property
    def zygote(self) -> Zygote:
        """The warmed process; a new one where it died."""
        with self._lock:
            if self._zygote is None:
                raise SandboxUnavailable("the sandbox is closed")
            if not self._zygote.alive:
                self._zygote.close()
                self._zygote = self._new_zygote()
            return self._zygote

    @property
    def limits(self) -> Limits:
        """Resource limits of a candidate's child."""
        return Limits(self.config.memory_mb, self.config.cpu_s)

    def _require_layers(self) -> dict[str, str]:
        try:
            with self.zygote.child(self.limits) as child:
                layers = dict(child.layers)
                child.ask({"kind": "probe", "what": "nothing"})
                child.answer()
        except ChildFailure as error:
            self.close()
            raise SandboxUnavailable(f"the sandbox does not work here: {error.message}") from None
        missing = {k: v for k, v in layers.items() if v != "on" and k in MANDATORY}
        if missing and not self.config.allow_weaker:
            self.close()
            listed = "; ".join(f"{k} is {v}" for k, v in missing.items())
            raise SandboxUnavailable(
                f"isolation is incomplete on this machine ({listed}); `qllm doctor` explains, and "
                "sandbox.allow_weaker=true runs without it at your own risk"
            )
        return layers

    # ---- verdicts ------------------------------------------------------------------------------

    def check(
        self,
        source: str,
        card: TaskCard,
        gate: GateConfig | None = None,
        states: Sequence[Sequence[float]] = (),
    ) -> CheckReport:
        """Judge one candidate: a Python source, or a model's whole reply with one in it.

        Never raises for what a candidate does; the report says what and where.

        Args:
            source: what the coder wrote.
            card: the task.
            gate: the gate to append; enforce by default.
            states: real states of the task, which are tried besides those drawn from the card.

        Raises:
            SandboxUnavailable: the sandbox was closed, or cannot be had any more.
        """
        code = extract_code(source[: 4 * MAX_REPORTED_SOURCE])
        draft = _Draft(source[:MAX_REPORTED_SOURCE], code, gate or GateConfig())

        def judged() -> CheckReport:
            graph, inputs, reply = self._export(code, card, draft)
            return self._judged(graph, card, draft, states, (inputs, reply))

        return self._verdict(judged, card, draft)

    def _verdict(
        self, judged: Callable[[], CheckReport], card: TaskCard, draft: _Draft
    ) -> CheckReport:
        """What judging comes to, whatever it raises."""
        try:
            return judged()
        except Rejection as refused:
            return self._refused(refused, card, draft)
        except SandboxUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a candidate must never end a search
            message = f"checking it failed within QLLM itself: {type(error).__name__}: {error}"
            finding = ("graph.error", message[:600], None)
            return self._refused(Rejection("graph", finding), card, draft)

    def check_graph(
        self,
        graph: CreditGraph,
        card: TaskCard,
        gate: GateConfig,
        states: Sequence[Sequence[float]] = (),
        source: str = "",
    ) -> CheckReport:
        """Judge an ungated graph without running its source; nothing said of it before counts.

        Never raises for what the graph does, as `check`.
        """
        draft = _Draft(source[:MAX_REPORTED_SOURCE], source[:MAX_REPORTED_SOURCE], gate)
        return self._verdict(lambda: self._judged(graph, card, draft, states, None), card, draft)

    def check_all(
        self,
        sources: Sequence[str],
        card: TaskCard,
        gate: GateConfig | None = None,
        states: Sequence[Sequence[float]] = (),
    ) -> list[CheckReport]:
        """Judge several candidates at once, as many as there are processors; in their order."""
        with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
            return list(pool.map(lambda source: self.check(source, card, gate, states), sources))

    def _export(
        self, code: str, card: TaskCard, draft: _Draft
    ) -> tuple[CreditGraph, list[dict[str, Any]], Any]:
        """The candidate's ungated graph, inputs drawn afterwards, and what it answered to them."""
        size = len(code.encode("utf-8", "replace"))
        if size > MAX_SOURCE_BYTES:
            message = f"the source has {size:,} bytes; the limit is {MAX_SOURCE_BYTES:,}"
            raise Rejection("policy", ("policy.size", message, None))
        laps = _Laps(draft.seconds)
        task = {
            "kind": "check",
            "code": code.encode("utf-8", "replace").decode(),
            "n_agents": card.n_agents,
            "state_dim": card.state_dim,
            "schema_hash": card.schema_hash(),
            "views": view_documents(card),
        }
        try:
            with self.zygote.child(self.limits) as child:
                laps.lap("fork")
                child.ask(task)
                answer = child.answer()
                laps.lap("child")
                graph = _read(answer, card)
                draft.notes = answers.read_notes(answer)
                laps.lap("read")
                inputs = draw_inputs(card, self.config.seed)
                child.ask({"inputs": inputs})
                reply = child.answer()
                laps.lap("evidence")
        except ChildFailure as error:
            raise Rejection("export", (error.rule, error.message, None)) from None
        return graph, inputs, reply

    def _judged(
        self,
        graph: CreditGraph,
        card: TaskCard,
        draft: _Draft,
        states: Sequence[Sequence[float]],
        evidence: tuple[list[dict[str, Any]], Any] | None,
    ) -> CheckReport:
        """The report on a graph that has been read.

        Raises:
            Rejection: it breaks a bound, or judging it ended without a verdict.
        """
        try:
            gated = apply_gate(graph, draft.gate)
            types = infer_types(gated)
            require_contract(gated, types, card)
            require_memory(types, self.config.rows or ROWS, self.config.training_mb)
        except GraphError as error:
            raise Rejection("graph", (error.rule, str(error), error.line)) from None
        task = {
            "kind": "judge",
            "graph": graph.to_json(),
            "gate": draft.gate.model_dump(mode="json"),
            "card": card.model_dump(mode="json"),
            "config": self.config.model_dump(mode="json"),
            "states": [list(state) for state in states],
            "evidence": evidence,
        }
        started = time.perf_counter()
        try:
            with self.judging_child() as child:
                child.ask(task)
                answer = child.answer()
                refused = answers.read_refusal(answer)
                if refused is not None:
                    raise Rejection(_stage_of(refused[0]), refused)
                findings = answers.read_judgement(answer, gated)
        except ChildFailure as error:
            raise Rejection("properties", (error.rule, error.message, None)) from None
        apart = answer.get("evidence")
        took = answers.read_seconds(answer)
        took["judge"] = time.perf_counter() - started - sum(took.values())
        for name, value in took.items():
            draft.seconds[name] = draft.seconds.get(name, 0.0) + value
        broken = [p.name for p in findings.failures]
        unproved = findings.unproved if self.config.require_proofs and not broken else []
        accepted = not broken and not unproved
        said = feedback.for_properties(findings.properties, draft.code, draft.notes)
        return CheckReport(
            verdict="accepted" if accepted else "rejected",
            stage="done" if accepted else "properties",
            rule=None if accepted else f"properties.{(broken + unproved)[0]}",
            feedback=feedback.for_unproved(unproved, draft.code) if unproved else said,
            signature=graph.signature,
            evidence=apart if type(apart) in (int, float) else None,
            **_claims(findings),
            graph_hash=gated.graph_hash,
            row_bytes=types.row_bytes,
            mathematics=self.mathematics(gated, card) if accepted else None,
            graph=gated if accepted else None,
            **self._common(draft),
        )

    def _refused(self, refused: Rejection, card: TaskCard, draft: _Draft) -> CheckReport:
        return CheckReport(
            verdict="rejected",
            stage=refused.stage,
            rule=refused.findings[0][0],
            feedback=feedback.for_findings(draft.code, refused.findings, card),
            **self._common(draft),
        )

    def _common(self, draft: _Draft) -> dict[str, Any]:
        return {
            "source": draft.source,
            "code": draft.code[:MAX_REPORTED_SOURCE],
            "gate": draft.gate.mode,
            "layers": self.layers(),
            "seed": self.config.seed,
            "seconds": {k: round(v, 6) for k, v in draft.seconds.items()},
            "elapsed_s": time.perf_counter() - draft.started,
        }


def _stage_of(rule: str) -> Stage:
    """The stage at which a judging child refused a graph."""
    stages: dict[str, Stage] = {"export": "export", "graph": "graph"}
    return stages.get(rule.partition(".")[0], "properties")


class _Draft:
    """What a report says whatever the verdict."""

    def __init__(self, source: str, code: str, gate: GateConfig) -> None:
        self.source, self.code, self.gate = source, code, gate
        self.started = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        """What was read as meant."""


class _Laps:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._at = seconds, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._seconds[name] = now - self._at
        self._at = now


def _read(answer: Any, card: TaskCard) -> CreditGraph:
    """The graph in a candidate's answer.

    Raises:
        Rejection: the child found something wrong, or the graph is not a valid one for the task.
        WireError: an answer of unknown form.
    """
    stage, findings = answers.read_findings(answer)
    if findings:
        raise Rejection(stage, *findings)  # type: ignore[arg-type]
    try:
        graph = read_graph(answer.get("graph"))
        if graph.gate is not None or graph.schema_hash != card.schema_hash():
            raise GraphError("the graph must come without a gate and for this task")
    except GraphError as error:
        raise Rejection("graph", (error.rule, str(error), error.line)) from None
    return graph


def _claims(findings: Findings) -> dict[str, Any]:
    proof = findings.proof
    return {
        "igm": findings.igm,
        "finite": findings.finite,
        "linear_in_q": proof.linear_in_q,
        "properties": findings.properties,
        "weight_bounds": proof.slopes,
        "q_bound": proof.q_bound,
    }
