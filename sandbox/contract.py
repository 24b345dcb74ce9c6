"""What a credit graph must result in to be a credit function of a task."""

from __future__ import annotations

from prompts.cards import TaskCard
from sandbox.graph import AGENT_QS, CreditGraph, GraphError
from sandbox.inference import Types
from sandbox.table import TensorType
from sandbox.table.tensors import shown


def require_contract(graph: CreditGraph, types: Types, card: TaskCard) -> None:
    """Hold a graph's sizes and outputs against the task.

    Raises:
        GraphError: it is for another task, an output has a wrong shape or dtype, or weights or bias
            read agent_qs in the weights form.
    """
    if (graph.n_agents, graph.state_dim) != (card.n_agents, card.state_dim):
        raise GraphError(
            f"the graph is for {graph.n_agents} agents and {graph.state_dim} state columns, the "
            f"task has {card.n_agents} and {card.state_dim}"
        )
    widths = {"q_tot": 1, "bias": 1, "weights": graph.n_agents}
    for name, ref in graph.outputs.items():
        found, wanted = types.of(ref), TensorType("float", (1, widths[name]), 0)
        if found != wanted:
            raise GraphError(
                f"{name} must be a float tensor {shown(wanted)}, not {shown(found)} of "
                f"{found.dtype}",
                "graph.shape",
            )
    if graph.signature == "weights":
        for name in ("weights", "bias"):
            if graph.reads(AGENT_QS, name):
                raise GraphError(
                    f"{name} must not depend on agent_qs in the weights form", "graph.contract"
                )


def require_memory(types: Types, rows: int, memory_mb: int) -> None:
    """Bound the memory of training with a graph.

    Args:
        rows: the most rows that training evaluates at once.
        memory_mb: what its intermediates and their gradients may take then, in MiB.

    Raises:
        GraphError: it may take more.
    """
    needed = types.row_bytes * rows + types.fixed_bytes
    if needed > memory_mb << 20:
        raise GraphError(
            f"training would need up to {needed >> 20:,} MiB for this function alone: "
            f"{types.row_bytes:,} bytes for each of {rows:,} rows; the limit is {memory_mb:,} MiB "
            "(sandbox.training_mb): use smaller or fewer intermediate tensors",
            "graph.memory",
        )
