"""Evaluate a credit graph on inputs and follow single values back to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sandbox.graph import CreditGraph, Ref
from sandbox.inference import Types
from sandbox.reach.edges import Edge, by_row
from sandbox.runtime import CreditFunction


def gradient_of(total: Tensor, leaf: Tensor) -> Tensor:
    """d total / d leaf; zeros where there is none, or torch has no derivative for an operation.

    What is not finite is left as it is.
    """
    if not total.requires_grad:
        return torch.zeros_like(leaf)
    try:
        (found,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
    except RuntimeError:
        found = None
    return torch.zeros_like(leaf) if found is None else found


class Probe:
    """A graph on inputs ``[N, D]``: the state's columns, then the agents' Qs, float64."""

    def __init__(self, graph: CreditGraph, types: Types) -> None:
        self.graph, self.types = graph, types
        self.function = CreditFunction(graph)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Qs and states."""
        return z[:, self.graph.state_dim :], z[:, : self.graph.state_dim]

    def values(self, z: Tensor) -> list[Any]:
        """Every value of the graph."""
        return self.function.evaluate(*self.split(z))

    def scalars(self, values: list[Any], ref: Ref, rows: int) -> Tensor:
        """A value as ``[rows, elements]`` float64."""
        made = values[ref.value]
        x = made if isinstance(made, Tensor) else made[ref.out]
        return by_row(x.double(), self.types.of(ref), rows)

    def edge_values(self, edges: list[Edge], z: Tensor) -> Tensor:
        """How far inputs are from each edge, ``[N, E]``; every element of an edge is one."""
        return torch.cat(self.edge_parts(edges, z), 1)

    def edge_parts(self, edges: list[Edge], z: Tensor) -> list[Tensor]:
        """The same for each edge by itself."""
        values = self.values(z)
        return [by_row(e.at(values), e.of, len(z)) for e in edges]

    def linearised(self, read: Any, z: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Values ``[K]`` and gradients ``[K, D]`` of K quantities at one input ``[1, D]``.

        Args:
            read: from the graph's values to a tensor ``[1, K]``.
        """
        leaf = z.detach().clone().expand(1, -1).requires_grad_()
        count = int(read(self.values(leaf.detach())).shape[1])
        wide = leaf.detach().expand(count, -1).clone().requires_grad_()
        made = read(self.values(wide))  # [K, K], of which the diagonal counts
        diagonal = made.diagonal()
        slopes = gradient_of(diagonal.sum(), wide).nan_to_num(0.0, 0.0, 0.0)
        return diagonal.detach().numpy(), slopes.numpy()
