"""Hold a candidate's own results against those of its rebuilt graph."""

from __future__ import annotations

from typing import Any

import torch

from sandbox.graph import Arg, CreditGraph, DTypeArg, GraphError, Operation, Ref, refs_of
from sandbox.inference import Types, value_name
from sandbox.runtime import CreditFunction
from sandbox.table import OPS

_ROWS = 3
_CONVERTS = "aten._to_copy.default"


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
    values = CreditFunction(graph).evaluate(agent_qs, state)
    for number, made in enumerate(values):
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
    for number, operation in enumerate(graph.operations, graph.first_operation):
        if operation.op == "aten.index_put.default":
            _require_apart(value_name(graph, number), operation, values)
        if operation.op == "aten.scatter.src" and not _is_an_order(graph, operation, values):
            raise GraphError(
                f"{value_name(graph, number)} may write several values into one place, of which "
                "any may stay; add them up with `x.scatter_add(dim, index, values)`, or use an "
                "index that `sort(dim).indices` gave along that "
                "dimension",
                "graph.places",
            )


_ORDERS = {"aten.sort.default": 1, "aten.sort.stable": 1, "aten.topk.default": 2}
"""Operations whose second result has each place once, with the number of the argument ``dim``."""


def _is_an_order(graph: CreditGraph, operation: Operation, values: list[Any]) -> bool:
    """Whether a scatter's index has each place of its line once, whatever the inputs are."""
    x, dim, index, _ = OPS[operation.op].positioned(operation.args, dict(operation.kwargs))[0]
    if not isinstance(index, Ref) or index.value < graph.first_operation:
        return False
    found = _made(values, index)
    if found.dim() == 0 or found.shape[dim] == 1:
        return True
    size = _made(values, x).shape[dim] if isinstance(x, Ref) else 0
    maker = graph.operations[index.value - graph.first_operation]
    if maker.op in _ORDERS:
        given, named = OPS[maker.op].positioned(maker.args, dict(maker.kwargs))
        at, line = _ORDERS[maker.op], given[0]
        along = named.get("dim", given[at] if at < len(given) else -1)
        fits = isinstance(line, Ref) and _made(values, line).shape[along] <= size
        return index.out == 1 and along % found.dim() == dim % found.dim() and fits
    if _reads_inputs(graph, index.value):
        return False
    line = found.clamp(0, size - 1).sort(dim).values  # as the runtime does
    return bool((line.diff(dim=dim) > 0).all())


def _made(values: list[Any], ref: Ref) -> Any:
    made = values[ref.value]
    return made[ref.out] if isinstance(made, (list, tuple)) else made


def _reads_inputs(graph: CreditGraph, number: int) -> bool:
    seen, todo = set[int](), [number]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        if at < 2:
            return True
        if at >= graph.first_operation:
            todo.extend(r.value for r in refs_of(graph.operations[at - graph.first_operation]))
    return False


def _require_apart(name: str, operation: Operation, values: list[Any]) -> None:
    """Refuse a write of several values into one place: which one stays is up to torch's threads.

    Places are the same for every row by their types, so that their values are known here.
    """

    def of(arg: Arg) -> Any:
        return _made(values, arg) if isinstance(arg, Ref) else arg

    given, _ = OPS[operation.op].positioned(operation.args, dict(operation.kwargs))
    x, written, accumulate = of(given[0]), of(given[2]), given[3:4] == [True]
    indices = {at: of(i) for at, i in enumerate(given[1]) if i is not None}
    if accumulate or any(i.dtype == torch.bool for i in indices.values()):
        return
    places = torch.broadcast_tensors(*indices.values())
    flat = torch.zeros_like(places[0])
    for at, place in zip(indices, places, strict=True):
        size = x.shape[at]
        place = place.clamp(-size, size - 1)  # as the runtime does
        flat = flat * size + place.where(place >= 0, place + size)
    first = min(indices) if max(indices) - min(indices) < len(indices) else 0
    behind = x.dim() - len(indices) - first
    alike = written.shape[: max(0, written.dim() - behind)][-flat.dim() :] if flat.dim() else ()
    if flat.unique().numel() < flat.numel() and any(n > 1 for n in alike):
        raise GraphError(
            f"{name} writes several values into one place, of which any may stay; write them one "
            "after the other, or add them up with `x.scatter_add(1, index, values)`",
            "graph.places",
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
                largest = max(largest, _difference(name, said, mine[name], _makes_whole(graph)))
    except (ValueError, TypeError, OverflowError):
        raise DisagreementError(
            "isolation.reply", "the sandboxed process answered with evidence of unknown form"
        ) from None
    return largest


def _makes_whole(graph: CreditGraph) -> bool:
    """Whether a graph makes integers of other numbers."""
    wanted = (dict(o.kwargs).get("dtype") for o in graph.operations if o.op == _CONVERTS)
    return any(isinstance(d, DTypeArg) and d.name == "int64" for d in wanted)


def _difference(name: str, said: torch.Tensor, mine: torch.Tensor, whole: bool) -> float:
    if said.shape != mine.shape:
        raise DisagreementError(
            "export.evidence", f"for a batch of {len(mine)}, {name} has shape {list(said.shape)}"
        )
    if not torch.allclose(said, mine, rtol=1e-4, atol=1e-5, equal_nan=True):
        why = "something is fixed at export, such as a branch or a global"
        if whole:
            why += (
                ", or a float becomes an integer that cannot hold it: bring it into range before, "
                "such as with `.clamp(-1e6, 1e6).long()`"
            )
        raise DisagreementError(
            "export.evidence",
            f"{name} differs between the source and its exported graph for a batch of "
            f"{len(mine)}: {why}",
        )
    return float((said - mine).abs().nan_to_num().max())
