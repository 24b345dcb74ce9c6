"""Results of a candidate whose meaning is certain though their form is not the contract's.

Used only in the candidate's child, on the tensors of a trace and of the evidence alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
    if isinstance(result, Tensor) and _is_row(result, n_agents, rows):
        notes.append("no bias was returned: it is taken as zero")
        result = (result, 0.0)
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        return result
    weights, bias = result
    return _weights(weights, n_agents, rows, notes), _bias(bias, rows, notes)


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


def _is_row(value: Tensor, n_agents: int, rows: Any) -> bool:
    """Whether a tensor has the form of weights, and can be nothing else that is returned."""
    shape = list(value.shape)
    return len(shape) == 2 and shape[1] == n_agents > 1 and str(shape[0]) == str(rows)
