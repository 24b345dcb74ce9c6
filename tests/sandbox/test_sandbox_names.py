"""Every name that a candidate is offered can be used: it is traced, exported and rebuilt."""

from __future__ import annotations

import pytest

from sandbox import names
from sandbox.export import load, trace
from sandbox.export_json import to_json
from sandbox.inference import infer_types
from sandbox.policy import check_source
from sandbox.reading import read_graph

# How to call what takes more than one tensor; x is [B, 2], i its index along dimension 1.
_TORCH = {
    "addcdiv": "(x, x, y)", "addcmul": "(x, x, y)", "arange": "(2).float()", "atan2": "(x, y)",
    "argmax": "(x, 1, True).float()", "argmin": "(x, 1, True).float()",
    "baddbmm": "(x.unsqueeze(1), x.unsqueeze(1), m.expand(x.shape[0], 2, 2)).squeeze(1)",
    "bmm": "(x.unsqueeze(1), m.expand(x.shape[0], 2, 2)).squeeze(1)",
    "broadcast_tensors": "(x, y)[0]", "broadcast_to": "(x, x.shape)", "cat": "([x, y], 1)",
    "cdist": "(x.unsqueeze(2), y.unsqueeze(2)).mean(2)",
    "chunk": "(x, 2, 1)[0]", "clamp": "(x, 0.0, 1.0)", "clamp_max": "(x, 1.0)",
    "clamp_min": "(x, 0.0)", "clip": "(x, 0.0, 1.0)", "concat": "([x, y], 1)",
    "concatenate": "([x, y], 1)",
    "cumprod": "(x, 1)", "cumsum": "(x, 1)", "diagonal": "(m)", "diff": "(x, dim=1)",
    "dot": "(m[0], m[1])", "einsum": "('bi,ij->bj', x, m)",
    "eye": "(2)", "flatten": "(x, 1)", "flip": "(x, [1])", "full": "((2,), 1.0)",
    "full_like": "(x, 1.0)", "gather": "(x, 1, i)", "hstack": "([x, y])",
    "index_select": "(x, 1, torch.tensor([1, 0]))", "lerp": "(x, y, 0.5)",
    "linspace": "(0.0, 1.0, 2)", "log_softmax": "(x, 1)", "logsumexp": "(x, 1)",
    "masked_fill": "(x, x > 0, 1.0)", "matmul": "(x, m)", "max": "(x, 1).values",
    "median": "(x, 1).values", "min": "(x, 1).values", "mm": "(x, m)",
    "movedim": "(x, 1, 0).t()", "mv": "(x, m[0])", "narrow": "(x, 1, 0, 1)", "numel": None,
    "norm": "(x, dim=1)", "ones": "(2)", "outer": "(m[0], m[1])", "permute": "(x, (0, 1))",
    "pow": "(x, 2)", "prod": "(x, 1)", "ravel": "(m)", "remainder": "(x, 2.0)",
    "repeat_interleave": "(x, 2, 1)", "reshape": "(x, x.shape)", "roll": "(x, 1, 1)",
    "scatter": "(x, 1, i, 1.0)", "scatter_add": "(x, 1, i, y)", "select": "(x, 1, 0)",
    "softmax": "(x, 1)", "sort": "(x, 1)[0]", "split": "(x, 1, 1)[0]",
    "squeeze": "(x.unsqueeze(1), 1)",
    "stack": "([x, y], 1)", "std": "(x, 1)", "swapaxes": "(x, 0, 1).t()",
    "swapdims": "(x, 0, 1).t()", "t": "(m)", "tensor": "([1.0])",
    "tensor_split": "(x, 2, 1)[0]", "tile": "(x, (1, 2))", "topk": "(x, 1, 1)[0]",
    "transpose": "(x, 0, 1).t()", "tril": "(m)", "triu": "(m)",
    "unbind": "(x, 1)[0]", "unflatten": "(x, 1, (2, 1))",
    "unsqueeze": "(x, 1)", "var": "(x, 1)", "vstack": "([m, m])", "where": "(x > 0, x, y)",
    "zeros": "(2)", "amax": "(x, 1)", "amin": "(x, 1)", "all": "(x > 0, 1)", "any": "(x > 0, 1)",
    "sum": "(x, 1)", "mean": "(x, 1)",
}  # fmt: skip
_BINARY = set(
    "add div divide eq fmod floor_divide ge greater greater_equal gt le less less_equal "
    "logical_and logical_or logical_xor lt maximum minimum mul multiply ne not_equal sub "
    "subtract true_divide".split()
)
_FUNCTIONAL = {
    "layer_norm": "(x, (2,))", "log_softmax": "(x, 1)", "normalize": "(x, dim=1)",
    "one_hot": "(i, 3).float()", "pairwise_distance": "(x, y)",
    "softmax": "(x, 1)", "softmin": "(x, 1)",
}  # fmt: skip


_CONSTANTS = set(
    "arange diagonal dot eye full linspace ones outer ravel t tensor tril triu vstack zeros".split()
)
"""Whose example does not grow with the batch."""


def _exports(expression: str, *, per_row: bool = True) -> None:
    used = "value.reshape(x.shape[0], -1).sum(1, True)" if per_row else "value.sum()"
    source = (
        "def f(agent_qs, state):\n    x = torch.sigmoid(agent_qs)\n    y = torch.sigmoid(state)\n"
        "    m = torch.eye(2)\n    i = torch.zeros_like(x).long()\n"
        f"    value = ({expression}).float()\n"
        f"    return agent_qs[:, :1] + {used} * 0.0\n"
    )
    function = load(check_source(source))
    graph = to_json(trace(function, 2, 2, False), 2, 2, "", False)
    infer_types(read_graph(graph))


@pytest.mark.parametrize("name", names.TORCH_FUNCTIONS)
def test_every_torch_function_offered_can_be_used(name: str) -> None:
    call = _TORCH.get(name, "(x, y)" if name in _BINARY else "(x)")
    if call is not None:
        _exports(f"torch.{name}{call}", per_row=name not in _CONSTANTS)


@pytest.mark.parametrize("name", names.FUNCTIONAL)
def test_every_functional_name_offered_can_be_used(name: str) -> None:
    _exports(f"F.{name}{_FUNCTIONAL.get(name, '(x)')}")
