"""The table of operations says what torch does, and lets no row see another."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from sandbox.graph import Batch, CreditGraph, DTypeArg, GraphError, Operation, Ref
from sandbox.runtime import CreditFunction
from sandbox.table import OPS, TensorType

B = Batch(0, 1)
SHAPES: list[tuple[Any, ...]] = [
    (), (1,), (3,), (2, 3), (1, 3), (3, 3), (B,), (B, 1), (B, 3), (B, 2, 3), (3, B), (2, B, 3),
    (B, 3, 3), (Batch(0, 2), 3), (0,), (B, 0), (0, 3), (B, 3, 1), (B, 1, 3), (3, 1, B),
]  # fmt: skip
DTYPES = ("float", "float", "int64", "bool")
TORCH = {"float": torch.float32, "int64": torch.int64, "bool": torch.bool}
NUMBERS = [0, 1, -1, 2, 3, 0.5, -2.0, 0.0, True, False, float("inf"), float("nan"), 2**53]
EVERYDAY, THOROUGH = 150, 4_000


def a_type(rng: random.Random) -> TensorType:
    """A tensor's type from the pool."""
    shape = rng.choice(SHAPES)
    axis = next((i for i, n in enumerate(shape) if isinstance(n, Batch)), None)
    sizes = tuple(n.c1 if isinstance(n, Batch) else n for n in shape)
    return TensorType(rng.choice(DTYPES), sizes, axis)  # type: ignore[arg-type]


class Call:
    """Random arguments of an operation, with types for the tensors among them."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.types: list[TensorType] = []
        self._rng = rng
        args, kwargs = [], {}
        for p in OPS[name].parameters:
            if not p.required and rng.random() < 0.4:
                break
            arg = None if p.optional and rng.random() < 0.3 else self._argument(p.kind)
            if p.by_keyword_only:
                kwargs[p.name] = arg
            else:
                args.append(arg)
        self.operation = Operation(name, tuple(args), tuple(sorted(kwargs.items())))

    def _tensor(self) -> Ref:
        known = self.types and self._rng.random() < 0.6
        if known:  # operands that fit each other are otherwise rare
            like = self._rng.choice(self.types)
            dtype = self._rng.choice(DTYPES) if self._rng.random() < 0.3 else like.dtype
            self.types.append(like.but(dtype))  # type: ignore[arg-type]
        else:
            self.types.append(a_type(self._rng))
        return Ref(len(self.types) - 1)

    def _argument(self, kind: str) -> Any:
        rng = self._rng
        match kind:
            case "tensor":
                return self._tensor()
            case "operand":
                return self._tensor() if rng.random() < 0.6 else rng.choice(NUMBERS)
            case "tensors":
                return tuple(self._tensor() for _ in range(rng.randrange(1, 4)))
            case "indices":
                return tuple(
                    None if rng.random() < 0.4 else self._tensor()
                    for _ in range(rng.randrange(1, 4))
                )
            case "number" | "finite":
                return rng.choice(NUMBERS)
            case "end":
                return rng.choice([0, 3, 5, -2, 0.5, 2.5, B])
            case "whole":
                return rng.choice([0, 1, -1, 2, -2, 3, 5])
            case "wholes":
                own = [list(t.shape) for t in self.types if t.shape]
                if own and rng.random() < 0.2:
                    return tuple(own[0][-rng.randrange(1, len(own[0]) + 1) :])
                return tuple(rng.choice([0, 1, -1, 2, 3]) for _ in range(rng.randrange(4)))
            case "size":
                return rng.choice([0, 1, 2, 3, B, Batch(0, 2), 2**53])
            case "sizes":
                return tuple(
                    rng.choice([1, 2, 3, 6, -1, B, B, Batch(0, 2)])
                    for _ in range(rng.randrange(1, 4))
                )
            case "dtype":
                return DTypeArg(rng.choice(["float", "int64", "bool"]))  # type: ignore[arg-type]
            case "flag":
                return rng.random() < 0.5
            case "text":
                return rng.choice(["floor", "trunc", "none", "tanh"])
        raise AssertionError(kind)

    def results(self) -> tuple[TensorType, ...]:
        """What the table says."""
        o = self.operation
        return OPS[o.op].results(o.args, dict(o.kwargs), lambda ref: self.types[ref.value])

    def values(self, rows: int, seed: int) -> list[Tensor]:
        """Tensors of the types, for a batch of many rows."""
        draw = torch.Generator().manual_seed(seed)
        made = []
        for t in self.types:
            shape = [n * (rows if i == t.axis else 1) for i, n in enumerate(t.shape)]
            x = torch.randint(-3, 4, shape, generator=draw)
            made.append(x.to(TORCH[t.dtype]) if t.dtype != "float" else x / 2 + 0.25)
        return made

    def run(self, values: list[Tensor], rows: int) -> list[Tensor]:
        """What torch makes of them."""
        graph = CreditGraph("mixing", 1, 1, "", (), (self.operation,), {"q_tot": Ref(0)})
        made = CreditFunction(graph).call(0, values, rows, torch.device("cpu"), torch.float32)
        return [made] if isinstance(made, Tensor) else list(made)

    def rows_of(self, x: Tensor, t: TensorType, chosen: list[int]) -> Tensor:
        """Some rows of a value."""
        if t.axis is None:
            return x
        wide = [row * t.shape[t.axis] + k for row in chosen for k in range(t.shape[t.axis])]
        return x.index_select(t.axis, torch.tensor(wide, dtype=torch.int64))


def hold_against_torch(name: str, count: int, seed: int) -> Counter[str]:
    """Random calls of an operation: what the table takes, torch must take, with that result."""
    rng = random.Random(f"{name}{seed}")
    seen: Counter[str] = Counter()
    for i in range(count):
        call = Call(name, rng)
        try:
            expected = call.results()
        except GraphError:
            seen["refused"] += 1
            continue
        seen["taken"] += 1
        for rows in (1, 2, 5):
            values = call.values(rows, i)
            made = call.run(values, rows)
            for x, t in zip(made, expected, strict=False):
                shape = tuple(n * (rows if k == t.axis else 1) for k, n in enumerate(t.shape))
                assert (tuple(x.shape), x.dtype) == (shape, TORCH[t.dtype]), (call.operation, t)
        chosen = [3, 0]
        some = [call.rows_of(x, t, chosen) for x, t in zip(values, call.types, strict=True)]
        for x, y, t in zip(made, call.run(some, 2), expected, strict=False):
            alone = call.rows_of(x, t, chosen)
            assert torch.allclose(alone.double(), y.double(), equal_nan=True), call.operation
    return seen


@pytest.mark.parametrize("name", sorted(OPS))
def test_what_the_table_takes_torch_takes_row_by_row(name: str) -> None:
    hold_against_torch(name, EVERYDAY, 0)


@pytest.mark.slow
def test_what_the_table_takes_torch_takes_row_by_row_at_length() -> None:
    never = [name for name in sorted(OPS) if not hold_against_torch(name, THOROUGH, 1)["taken"]]
    assert never == []
