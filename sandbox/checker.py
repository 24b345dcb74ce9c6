"""Check candidates: one warmed sandbox, any number of sources."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any

from prompts.cards import TaskCard
from sandbox import evidence, feedback
from sandbox.config import GateConfig, SandboxConfig
from sandbox.extract import MAX_SOURCE_BYTES, extract_code
from sandbox.gate import apply_gate
from sandbox.graph import Batch, CreditGraph, GraphError, refs_of
from sandbox.isolation import wire
from sandbox.isolation.host import ChildFailure, SandboxUnavailable, Zygote
from sandbox.isolation.lockdown import MANDATORY, Limits
from sandbox.properties import run_properties
from sandbox.prover.prove import Proof, prove
from sandbox.report import MAX_REPORTED_SOURCE, CheckReport, Finite, Igm, PropertyResult
from sandbox.shapes import Shapes, infer_shapes
from sandbox.suite import run_caged

__all__ = ["Sandbox", "SandboxUnavailable", "Verdict", "judge_graph"]


class Rejection(Exception):
    """A candidate is refused at a stage."""

    def __init__(self, stage: str, rule: str, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.stage, self.findings = stage, [(rule, message, line)]


class Verdict:
    """What judging a graph gave: the gated graph, the proof, the properties."""

    def __init__(self, graph: CreditGraph, proof: Proof, properties: tuple[Any, ...]) -> None:
        self.graph, self.proof, self.properties = graph, proof, properties

    @property
    def failures(self) -> list[Any]:
        """Properties that do not hold."""
        return [p for p in self.properties if p.status == "fail"]

    def _failed(self, *names: str) -> bool:
        return any(p.name in names for p in self.failures)

    @property
    def igm(self) -> Igm:
        """How monotonicity stands under the gate."""
        gate = self.graph.gate
        if gate is None or gate.mode == "relax":
            return "not-required"
        if self._failed("monotone", "greedy_is_best"):
            return "violated"
        if self.graph.signature == "weights":
            return "by-gate"
        return "proved" if self.proof.monotone else "tested"

    @property
    def finite(self) -> Finite:
        """How finiteness stands."""
        if self._failed("finite", "finite_gradient"):
            return "violated"
        return "proved" if self.proof.finite else "tested"


Suite = Callable[[CreditGraph, TaskCard, Proof, SandboxConfig], tuple[PropertyResult, ...]]


def judge_graph(
    graph: CreditGraph,
    card: TaskCard,
    gate: GateConfig,
    config: SandboxConfig,
    seconds: dict[str, float] | None = None,
    suite: Suite = run_properties,
) -> Verdict:
    """Gate, bound, prove and test an ungated graph. Nothing said about it before counts.

    ``suite`` runs the properties: in this process, unless a sandbox runs them in a caged one.

    Raises:
        GraphError: it does not fit the card, breaks a bound, or its weights read agent_qs.
    """
    laps = _Laps(seconds if seconds is not None else {})
    gated = apply_gate(graph, gate)
    shapes = infer_shapes(gated)
    _check_contract(gated, shapes, card)
    laps.lap("graph")
    proof = prove(gated, shapes, card)
    laps.lap("prove")
    properties = suite(gated, card, proof, config)
    laps.lap("properties")
    return Verdict(gated, proof, properties)


class _Laps:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.at = seconds, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self.at, 6)
        self.at = now


def _check_contract(gated: CreditGraph, shapes: Shapes, card: TaskCard) -> None:
    if (gated.n_agents, gated.state_dim) != (card.n_agents, card.state_dim):
        raise GraphError(
            f"the graph is for {gated.n_agents} agents and {gated.state_dim} state columns, the "
            f"task has {card.n_agents} and {card.state_dim}"
        )
    widths = {"q_tot": 1, "bias": 1, "weights": gated.n_agents}
    for name, ref in gated.outputs.items():
        if ref.out >= len(shapes.shape[ref.value]):
            raise GraphError(f"{name} refers to a result that does not exist")
        expected = (Batch(0, 1), Batch(widths[name], 0))
        if shapes.shape[ref.value][ref.out] != expected:
            raise GraphError(f"{name} must be [B, {widths[name]}]", "graph.shape")
        if not shapes.dtype[ref.value][ref.out].is_floating_point:
            raise GraphError(f"{name} must be a float tensor", "graph.shape")
    if gated.signature == "weights":
        for name in ("weights", "bias"):
            if _reads_agent_qs(gated, gated.outputs[name].value):
                raise GraphError(
                    f"{name} must not depend on agent_qs in the weights form", "graph.contract"
                )


def _reads_agent_qs(graph: CreditGraph, start: int) -> bool:
    seen, stack = set(), [start]
    while stack:
        value = stack.pop()
        if value == 0:
            return True
        if value in seen or value < graph.first_operation:
            continue
        seen.add(value)
        operation = graph.operations[value - graph.first_operation]
        stack.extend(r.value for r in refs_of(operation))
    return False


class Sandbox:
    """A warmed sandbox. Use as a context manager; ``check`` may be called from several threads.

    Raises:
        SandboxUnavailable: the isolation that is mandatory cannot be had on this machine.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._zygote: Zygote | None = Zygote()
        self._lock = threading.Lock()
        self._layers = self._require_layers()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the sandbox's processes."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def layers(self) -> dict[str, str]:
        """Isolation layers of a child: "on", or why not."""
        return dict(self._layers)

    @property
    def zygote(self) -> Zygote:
        """The warmed process; a new one where it died."""
        with self._lock:
            if self._zygote is None:
                raise SandboxUnavailable("the sandbox is closed")
            if not self._zygote.alive:
                self._zygote.close()
                self._zygote = Zygote()
            return self._zygote

    @property
    def limits(self) -> Limits:
        """Resource limits of a child."""
        return Limits(self.config.memory_mb, int(self.config.wall_s) + 2)

    def _require_layers(self) -> dict[str, str]:
        try:
            with self.zygote.child(self.limits, self.config.wall_s) as child:
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
        """
        gate = gate or GateConfig()
        started = time.perf_counter()
        seconds: dict[str, float] = {}
        code = extract_code(source[: 4 * MAX_REPORTED_SOURCE])
        common: dict[str, Any] = {
            "source": source[:MAX_REPORTED_SOURCE], "code": code[:MAX_REPORTED_SOURCE],
            "gate": gate.mode, "layers": self.layers(),
            "seed": self.config.seed, "seconds": seconds,
        }  # fmt: skip
        try:
            graph, common["evidence"] = self._export(code, card, seconds)
            common["signature"] = graph.signature
            try:
                verdict = judge_graph(
                    graph,
                    card,
                    gate,
                    self.config,
                    seconds,
                    partial(run_caged, self.zygote, states=states),
                )
            except GraphError as error:
                raise Rejection("graph", error.rule, str(error), error.line) from None
            except ChildFailure as error:
                raise Rejection("properties", error.rule, error.message) from None
        except Rejection as refused:
            return CheckReport(
                verdict="rejected",
                stage=refused.stage,  # type: ignore[arg-type]
                rule=refused.findings[0][0],
                feedback=feedback.for_findings(code, refused.findings, card),
                elapsed_s=time.perf_counter() - started,
                **common,
            )
        failures = verdict.failures
        accepted = not failures
        return CheckReport(
            verdict="accepted" if accepted else "rejected",
            stage="done" if accepted else "properties",
            rule=None if accepted else f"properties.{failures[0].name}",
            feedback=feedback.for_properties(verdict.properties, graph.signature, card, code),
            igm=verdict.igm,
            finite=verdict.finite,
            linear_in_q=verdict.proof.linear_in_q,
            properties=verdict.properties,
            graph_hash=verdict.graph.graph_hash,
            weight_bounds=verdict.proof.slopes,
            q_bound=verdict.proof.q_bound,
            elapsed_s=time.perf_counter() - started,
            graph=verdict.graph if accepted else None,
            **common,
        )

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
        self, code: str, card: TaskCard, seconds: dict[str, float]
    ) -> tuple[CreditGraph, float]:
        """The candidate's ungated graph, read strictly, and evidence that it is the candidate's."""
        size = len(code.encode("utf-8", "replace"))
        if size > MAX_SOURCE_BYTES:
            raise Rejection(
                "policy", "policy.size", f"the source has {size:,} bytes; the limit is 20,000"
            )
        laps = _Laps(seconds)
        task = {
            "kind": "check",
            "code": code.encode("utf-8", "replace").decode(),
            "n_agents": card.n_agents,
            "state_dim": card.state_dim,
            "schema_hash": card.schema_hash(),
        }
        try:
            with self.zygote.child(self.limits, self.config.wall_s) as child:
                laps.lap("fork")
                child.ask(task)
                answer = child.answer()
                graph = self._read_answer(answer, card, laps)
                inputs = evidence.draw_inputs(card, self.config.seed)
                child.ask({"inputs": inputs})
                apart = evidence.compare(graph, inputs, child.answer())
                laps.lap("evidence")
        except (ChildFailure, evidence.EvidenceError) as error:
            raise Rejection("export", error.rule, error.message) from None
        return graph, apart

    def _read_answer(self, answer: Any, card: TaskCard, laps: _Laps) -> CreditGraph:
        findings = answer.get("findings") if isinstance(answer, dict) else None
        if not isinstance(findings, list):
            raise wire.WireError("malformed", "an answer of unknown form")
        laps.lap("child")
        if findings:
            raise _rejection(findings)
        try:
            graph = CreditGraph.from_json(answer.get("graph"))
            if graph.gate is not None or graph.schema_hash != card.schema_hash():
                raise GraphError("the graph must come without a gate and for this task")
            infer_shapes(graph)
        except GraphError as error:
            raise Rejection("graph", error.rule, str(error), error.line) from None
        laps.lap("read")
        return graph


_RULE = re.compile(r"[a-z]{1,20}\.[a-z_]{1,40}")
_STAGES = ("policy", "compile", "export", "graph")


def _rejection(findings: list[Any]) -> Rejection:
    """A child's findings, taken as data: short texts and small numbers, whatever was sent."""
    kept = []
    stage = "export"
    for f in findings[:10]:
        if not isinstance(f, dict):
            continue
        stage = f["stage"] if f.get("stage") in _STAGES else stage
        line, rule = f.get("line"), f.get("rule")
        kept.append(
            (
                rule if isinstance(rule, str) and _RULE.fullmatch(rule) else "export.error",
                str(f.get("message"))[:600],
                line if type(line) is int and 0 < line < 100_000 else None,
            )
        )
    if not kept:
        raise wire.WireError("malformed", "findings of unknown form")
    out = Rejection(stage, *kept[0])
    out.findings = kept
    return out
