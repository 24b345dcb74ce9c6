"""What a traced candidate returned, and what it should have. Used only in the candidate's child."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sandbox.export_json import FLOATS, ExportError, linear_in_batch

EXAMPLE_BATCH = 7
"""Rows of the tensors that a candidate is traced with."""


def checked_result(result: Any, n_agents: int, weights_form: bool) -> tuple[Tensor, ...]:
    """A candidate's result as a tuple of tensors, held against the contract's shapes.

    Raises:
        ExportError: it is something else.
    """
    if weights_form:
        if not (isinstance(result, (tuple, list)) and len(result) == 2):
            raise ExportError(
                "export.result",
                f"a function without agent_qs must return (weights, bias), not {_shown(result)}: "
                f"end with `return weights, bias`, weights [B, {n_agents}] and bias [B, 1] "
                f"(`{_NO_BIAS}` for none); with agent_qs among its parameters it returns q_tot",
            )
        expected = [("weights", result[0], n_agents), ("bias", result[1], 1)]
    else:
        expected = [("q_tot", result, 1)]
    outputs: list[Tensor] = []
    for name, value, width in expected:
        if not isinstance(value, Tensor):
            raise ExportError(
                "export.result",
                f"{name} must be a tensor [B, {width}], not {_shown(value)}"
                f"{_hint_for_result(name, value)}",
            )
        sizes = list(value.shape)
        if (
            len(sizes) != 2
            or linear_in_batch(sizes[0]) != (0, 1)
            or linear_in_batch(sizes[1]) != (width, 0)
        ):
            raise ExportError(
                "export.shape",
                f"{name} has shape {shape_text(sizes)}; it must be [B, {width}]"
                f"{_hint_for_shape(name, sizes)}",
            )
        if value.dtype not in FLOATS:
            raise ExportError(
                "export.dtype",
                f"{name} is {value.dtype}; it must be a float tensor: use `.float()`",
            )
        outputs.append(value)
    return tuple(outputs)


_NO_BIAS = "torch.zeros(weights.shape[0], 1)"


def _hint_for_result(name: str, value: Any) -> str:
    if name == "bias" and isinstance(value, (int, float)):
        return f"; `{_NO_BIAS}` is a bias of zero"
    if name == "q_tot" and value is None:
        return "; end with `return q_tot`"
    if name == "q_tot" and isinstance(value, (tuple, list)):
        return (
            "; a function of agent_qs returns q_tot alone, and one that returns (weights, bias) "
            "does not take agent_qs"
        )
    return ""


def _hint_for_shape(name: str, sizes: list[Any]) -> str:
    rows = [n for n in sizes if linear_in_batch(n) == (0, 1)]
    if sizes and not rows and linear_in_batch(sizes[0]) == (EXAMPLE_BATCH, 0):
        return (
            "; the number of rows was fixed to an example's, as by writing into a piece of "
            "`unbind`: write into `x[:, i]` instead"
        )
    if name == "weights":
        if len(sizes) == 2 and rows:
            return "; return (weights, bias) in this order, and one column of weights per agent"
        if len(sizes) == 1 and rows:
            return "; put the agents' weights side by side with torch.stack([w0, w1, ...], dim=1)"
        if not rows:
            return "; repeat it for every row: `weights.expand(state.shape[0], -1)`"
        return ""
    if not rows:
        return (
            "; every row needs its own value: sum over the agents with `.sum(dim=1, keepdim=True)`"
            if name == "q_tot"
            else f"; a bias of zero is `{_NO_BIAS}`"
        )
    if len(sizes) == 1:
        return "; add `.unsqueeze(1)` or sum with keepdim=True"
    if len(sizes) == 2:
        return "; sum over the agents with `.sum(dim=1, keepdim=True)`"
    if all(linear_in_batch(n) == (1, 0) for n in sizes[1:]):
        return "; add `.reshape(-1, 1)`"
    return ""


def _shown(value: Any) -> str:
    if value is ...:
        return "`...` (write the code out)"
    if isinstance(value, Tensor):
        return f"a tensor {shape_text(list(value.shape))}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing (is the return missing?)" if value is None else f"a {type(value).__name__}"


def shape_text(sizes: list[Any]) -> str:
    """Sizes in brackets, the number of rows as B."""
    parts = []
    for n in sizes:
        coefficients = linear_in_batch(n)
        if coefficients is None:
            parts.append("?")
        else:
            c0, c1 = coefficients
            b = "" if not c1 else "B" if c1 == 1 else f"{c1}*B"
            parts.append(f"{b}+{c0}" if b and c0 else b or str(c0))
    return f"[{', '.join(parts)}]"
