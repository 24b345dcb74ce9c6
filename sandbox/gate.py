"""Append the IGM gate to a credit graph, so that what is tested is what is trained."""

from __future__ import annotations

from dataclasses import replace

from sandbox.config import GateConfig
from sandbox.graph import OUTPUTS, Arg, CreditGraph, GraphError, Operation, Ref, canonical

_AGENT_QS = Ref(0)


def apply_gate(graph: CreditGraph, gate: GateConfig) -> CreditGraph:
    """The graph with q_tot as its result (QLLM, Definition 1).

    Weights form, ``enforce``: q_tot = sum_i g(w_i(s)) Q_i + b(s) with g the gate's function, so
    every coefficient is non-negative whatever the candidate computes; ``relax``: g is the identity.
    Mixing form: the candidate's q_tot as it is. ``scale_by_agents`` multiplies q_tot by n_agents.

    Raises:
        ValueError: the graph has a gate already.
    """
    if graph.gate is not None:
        raise ValueError("this credit graph is gated already")
    operations = list(graph.operations)
    outputs = dict(graph.outputs)

    def append(op: str, *args: Arg) -> Ref:
        operations.append(Operation(f"aten.{op}", args))
        return Ref(graph.first_operation + len(operations) - 1)

    if graph.signature == "weights":
        weights = outputs["weights"]
        if gate.mode == "enforce":
            if gate.function == "softmax":
                weights = append("_softmax.default", weights, 1, False)
            else:
                weights = append(f"{gate.function}.default", weights)
            outputs["weights"] = weights
        credit = append("mul.Tensor", weights, _AGENT_QS)
        total = append("sum.dim_IntList", credit, (1,), True)
        q_tot = append("add.Tensor", total, outputs["bias"])
    else:
        q_tot = outputs["q_tot"]
    if gate.scale_by_agents:
        q_tot = append("mul.Tensor", q_tot, float(graph.n_agents))
    outputs["q_tot"] = q_tot
    return canonical(
        replace(
            graph, operations=tuple(operations), outputs=dict(sorted(outputs.items())), gate=gate
        )
    )


def ungated(graph: CreditGraph) -> CreditGraph:
    """The candidate's own part of a gated graph, to be gated and judged again.

    Raises:
        GraphError: the gate's function is not where the gate puts it.
    """
    if graph.gate is None:
        return graph
    outputs = {name: graph.outputs[name] for name in OUTPUTS[graph.signature]}
    wrapped = {
        "weights": graph.signature == "weights" and graph.gate.mode == "enforce",
        "q_tot": graph.signature == "mixing" and graph.gate.scale_by_agents,
    }
    for name in (n for n, is_wrapped in wrapped.items() if is_wrapped):
        at = outputs[name].value - graph.first_operation
        args = graph.operations[at].args if at >= 0 else ()
        if not args or not isinstance(args[0], Ref):
            raise GraphError(_NOT_GATED)
        outputs[name] = args[0]
    candidate = canonical(replace(graph, outputs=outputs, gate=None))
    if apply_gate(candidate, graph.gate) != canonical(graph):
        raise GraphError(_NOT_GATED)
    return candidate


_NOT_GATED = "the graph does not end in the gate that it names"
