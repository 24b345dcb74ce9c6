"""Hold a candidate's own results against those of its rebuilt graph."""

from __future__ import annotations

from typing import Any

import torch

from sandbox.graph import CreditGraph, GraphError
from sandbox.inference import Types, value_name
from sandbox.runtime import CreditFunction

_ROWS = 3


class DisagreementError(Exception):
    """The source and its graph disagree; ``rule`` and ``message`` for the coder."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


def require_types(graph: CreditGraph, types: Types) -> None:
    """Run a graph once and hold every result against the type that the table gives it.

    Proofs and bounds rest on these types, so that torch must mean the same by each operation.

    Raises:
        GraphError: a result has another dtype or shape.
    """
    state, agent_qs = torch.zeros(_ROWS, graph.state_dim), torch.zeros(_ROWS, graph.n_agents)
    for number, made in enumerate(CreditFunction(graph).evaluate(agent_qs, state)):
        results = [made] if isinstance(made, torch.Tensor) else made
        for value, of in zip(results, types.values[number], strict=False):
            shape = [n * _ROWS if at == of.axis else n for at, n in enumerate(of.shape)]
            dtype = str(value.dtype).removeprefix("torch.").replace("float32", "float")
            if (dtype, list(value.shape)) != (of.dtype, shape):
                raise GraphError(
                    f"{value_name(graph, number)} results in {dtype} {list(value.shape)}, where "
                    f"{of.dtype} {shape} is expected",
                    "graph.types",
                )


def largest_difference(graph: CreditGraph, inputs: list[dict[str, Any]], reply: Any) -> float:
    """The largest difference between the child's eager results and the rebuilt graph's.

    Args:
        graph: ungated.
        inputs: as `sandbox.evidence.draw_inputs` made them.
        reply: what the candidate's child answered, of whatever form.

    Raises:
        DisagreementError: they differ, the source fails on real numbers, or the reply has another
            form than a child's.
    """
    if isinstance(reply, dict) and "error" in reply:
        raise DisagreementError(
            "export.eager", f"running it on real numbers fails: {str(reply['error'])[:400]}"
        )
    results = reply.get("results") if isinstance(reply, dict) else None
    names = ("weights", "bias") if graph.signature == "weights" else ("q_tot",)
    function, largest = CreditFunction(graph), 0.0
    try:
        for pair, outputs in zip(inputs, results or [], strict=True):
            qs, state = torch.tensor(pair["agent_qs"]), torch.tensor(pair["state"])
            mine = function.outputs(qs, state)
            for name, theirs in zip(names, outputs, strict=True):
                said = torch.tensor([[float(x) for x in row] for row in theirs])
                largest = max(largest, _difference(name, said, mine[name]))
    except (ValueError, TypeError, OverflowError):
        raise DisagreementError(
            "isolation.reply", "the sandboxed process answered with evidence of unknown form"
        ) from None
    return largest


def _difference(name: str, said: torch.Tensor, mine: torch.Tensor) -> float:
    if said.shape != mine.shape:
        raise DisagreementError(
            "export.evidence", f"for a batch of {len(mine)}, {name} has shape {list(said.shape)}"
        )
    if not torch.allclose(said, mine, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise DisagreementError(
            "export.evidence",
            f"{name} differs between the source and its exported graph for a batch of "
            f"{len(mine)}: something is fixed at export, such as a branch or a global",
        )
    return float((said - mine).abs().nan_to_num().max())
