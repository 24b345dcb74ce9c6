"""Results of a candidate whose meaning is certain though their form is not the contract's.

Used only in the candidate's child, on the tensors of a trace and of the evidence alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ELEMENTWISE = set(
    """add radd sub rsub subtract mul rmul multiply div rdiv divide truediv rtruediv true_divide
    floordiv floor_divide remainder mod pow rpow maximum minimum where eq ne lt le gt ge less
    less_equal greater greater_equal not_equal and rand or ror xor rxor logical_and logical_or
    logical_xor atan2 fmax fmin lerp""".split()
)
"""Functions of several tensors that are lined up by their last axes, as torch calls them."""


def as_meant(result: Any, n_agents: int, weights_form: bool, rows: Any, notes: list[str]) -> Any:
    """The result in the contract's form where one reading is possible, else the result as it is.

    Args:
        result: what the candidate returned.
        n_agents: columns of weights.
        weights_form: whether (weights, bias) is due, not q_tot.
        rows: of the batch, B.
        notes: told, in words, what was read as what.
    """
    if not weights_form:
        return _column(result, "q_tot", rows, notes) if isinstance(result, Tensor) else result
    if isinstance(result, Tensor) and n_agents > 1 and _is_row(result, n_agents, rows):
        notes.append("no bias was returned: it is taken as zero")
        result = (result, 0.0)
    if (
        isinstance(result, (tuple, list))
        and len(result) > 2
        and _begins_well(result, n_agents, rows)
    ):
        notes.append("what is returned behind weights and bias is left out")
        result = tuple(result[:2])
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        return result
    weights, bias = result
    return _weights(weights, n_agents, rows, notes), _bias(bias, rows, notes)


class RowsLinedUp(TorchFunctionMode):
    """Takes one number a row, [B], for [B, 1] where it meets [B, k] element by element.

    Torch sets a last axis against a last axis, so that rows would meet columns: that fits for no
    batch, or for [B, 1] mixes all rows with each other.

    Args:
        rows: of the batch, B.
        notes: told, in words, what was read so.
    """

    def __init__(self, rows: Any, notes: list[str]) -> None:
        super().__init__()
        self._rows, self._notes = str(rows), notes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call ``func``, its operands lined up."""
        if getattr(func, "__name__", "").strip("_") in _ELEMENTWISE:
            by_rows = [a for a in args if self._is_by_rows(a)]
            most = max((a.dim() for a in by_rows), default=0)
            if most > 1 and any(a.dim() == 1 for a in by_rows):
                self._notes.append("[B] beside [B, k] is taken as [B, 1]")
                args = tuple(
                    a.reshape(-1, *[1] * (most - 1)) if self._is_by_rows(a) and a.dim() == 1 else a
                    for a in args
                )
        return func(*args, **(kwargs or {}))

    def _is_by_rows(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and str(value.shape[0]) == self._rows


def _weights(weights: Any, n_agents: int, rows: Any, notes: list[str]) -> Any:
    if not isinstance(weights, Tensor):
        return weights
    if weights.dim() == 3 and weights.shape[2] == 1 and weights.shape[1] == n_agents:
        notes.append("weights [B, n, 1] are taken as [B, n]")
        return weights.squeeze(2)
    if list(weights.shape) in ([n_agents], [1, n_agents]):
        notes.append("weights without rows are taken for every row")
        return weights.reshape(1, n_agents).expand(rows, n_agents)
    return weights


def _bias(bias: Any, rows: Any, notes: list[str]) -> Any:
    if isinstance(bias, (int, float)) and not isinstance(bias, bool):
        if bias:
            notes.append(f"the bias {bias:g} is taken for every row")
        return torch.full((rows, 1), float(bias))
    if isinstance(bias, Tensor) and list(bias.shape) in ([], [1], [1, 1]):
        notes.append("a bias without rows is taken for every row")
        return bias.reshape(1, 1).expand(rows, 1)
    return _column(bias, "bias", rows, notes) if isinstance(bias, Tensor) else bias


def _column(value: Tensor, name: str, rows: Any, notes: list[str]) -> Tensor:
    """[B] and [B, 1, 1] as [B, 1]."""
    if value.dim() == 1 and str(value.shape[0]) == str(rows):
        notes.append(f"{name} [B] is taken as [B, 1]")
        return value.unsqueeze(1)
    if value.dim() == 3 and list(value.shape[1:]) == [1, 1]:
        notes.append(f"{name} [B, 1, 1] is taken as [B, 1]")
        return value.squeeze(2)
    return value


def _begins_well(result: Any, n_agents: int, rows: Any) -> bool:
    """Whether the first two of more results are weights [B, n_agents] and a bias [B, 1]."""
    weights, bias = result[:2]
    if not (isinstance(weights, Tensor) and isinstance(bias, Tensor)):
        return False
    return _is_row(weights, n_agents, rows) and _is_row(bias, 1, rows)


def _is_row(value: Tensor, columns: int, rows: Any) -> bool:
    """Whether a tensor is [B, columns]."""
    shape = list(value.shape)
    return len(shape) == 2 and shape[1] == columns and str(shape[0]) == str(rows)
