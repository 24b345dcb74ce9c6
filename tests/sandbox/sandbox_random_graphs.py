"""Random credit graphs, written directly in their operations: every family that the prover follows.

A value is kept with an example tensor, so that an operation is only kept where torch accepts it.
Sizes that occur often (the agents, one, a few features) make shapes meet.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prompts.cards import TaskCard
from sandbox.graph import (
    Batch,
    Constant,
    CreditGraph,
    DTypeArg,
    GraphError,
    Operation,
    Ref,
    refs_of,
)
from sandbox.runtime import CreditFunction
from sandbox.table import OPS, TensorType

BATCH = 7
Made = tuple[tuple[Any, ...], dict[str, Any]]


class Maker:
    """Grows one graph, operation by operation."""

    def __init__(self, card: TaskCard, seed: int) -> None:
        self.card, self.rng = card, random.Random(seed)
        self.constants: list[Constant] = []
        self.examples: list[Any] = []
        self.operations: list[Operation] = []
        self.types: list[tuple[TensorType, ...]] = []
        for _ in range(self.rng.randrange(1, 4)):
            self._constant()
        torch.manual_seed(seed)
        low, high = (
            torch.tensor([r[k] for r in card.column_intervals()], dtype=torch.float64)
            for k in (0, 1)
        )
        state = low + (high - low) * torch.rand(BATCH, card.state_dim, dtype=torch.float64)
        self.types = [
            (TensorType("float", (1, card.n_agents), 0),),
            (TensorType("float", (1, card.state_dim), 0),),
            *((TensorType(c.dtype, c.shape),) for c in self.constants),
        ]
        self.examples = [
            torch.randn(BATCH, card.n_agents), state.float(), *self.function([]).literal_tensors()
        ]  # fmt: skip

    # ---- choosing --------------------------------------------------------------------------------

    def number(self) -> float:
        """A plain number, ordinary or awkward."""
        common = [0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 0.1, 1e-6, 10.0, -0.3]
        common.append(self.card.column_intervals()[0][1])
        return self.rng.choice(common) if self.rng.random() < 0.8 else self.rng.uniform(-5, 5)

    def pick(self, want: Callable[[Tensor], bool] = lambda t: True) -> Ref | None:
        """A value that fits; later ones more often."""
        fitting = [
            Ref(i, k)
            for i, example in enumerate(self.examples)
            for k, t in enumerate([example] if isinstance(example, Tensor) else example)
            if want(t)
        ]
        if not fitting:
            return None
        at = max(self.rng.random(), self.rng.random() * 0.9)
        return fitting[int(at * len(fitting))]

    def floats(self, least: int = 0) -> Ref | None:
        """A float value with at least so many dimensions."""
        return self.pick(lambda t: t.is_floating_point() and t.dim() >= least)

    def truths(self) -> Ref | None:
        """A condition."""
        return self.pick(lambda t: t.dtype == torch.bool)

    def example(self, ref: Ref) -> Tensor:
        """The example tensor of a value."""
        made = self.examples[ref.value]
        return made if isinstance(made, Tensor) else made[ref.out]

    def partner(self, ref: Ref, kind: str = "float") -> Ref | None:
        """A value that broadcasts with another one."""
        x = self.example(ref)

        def fits(t: Tensor) -> bool:
            if kind == "float" and t.dtype == torch.bool:
                return False
            try:
                return len(torch.broadcast_shapes(t.shape, x.shape)) <= 4
            except RuntimeError:
                return False

        return self.pick(fits)

    def dim(self, ref: Ref) -> int:
        """A dimension, seldom the batch."""
        rank = self.example(ref).dim()
        dim = self.rng.randrange(rank)
        if dim == 0 and rank > 1 and self.rng.random() < 0.9:
            dim = self.rng.randrange(1, rank)
        return dim - rank if self.rng.random() < 0.3 else dim

    # ---- growing ---------------------------------------------------------------------------------

    def _constant(self) -> None:
        n = self.card.n_agents
        shape = self.rng.choice([(), (n,), (1, n), (n, n), (self.card.state_dim, n), (3,)])
        count = 1
        for size in shape:
            count *= size
        kind = self.rng.choice(["float", "float", "int64", "bool"])
        if kind == "float":
            data: tuple[Any, ...] = tuple(self.number() for _ in range(count))
        elif kind == "int64":
            data = tuple(self.rng.randrange(-1, n + 1) for _ in range(count))
        else:
            data = tuple(self.rng.random() < 0.5 for _ in range(count))
        self.constants.append(Constant(kind, shape, data))  # type: ignore[arg-type]

    def function(self, operations: list[Operation]) -> _Step:
        """The graph so far as something that can run."""
        return _Step(self.graph(operations, Ref(0)))

    def graph(self, operations: list[Operation], q_tot: Ref) -> CreditGraph:
        """A mixing-form graph with a result."""
        return CreditGraph(
            "mixing", self.card.n_agents, self.card.state_dim, self.card.schema_hash(),
            tuple(self.constants), tuple(operations), {"q_tot": q_tot},
        )  # fmt: skip

    def append(
        self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> Ref | None:
        """Add an operation if torch accepts it."""
        operation = Operation(f"aten.{op}", args, tuple(sorted((kwargs or {}).items())))
        try:
            types = OPS[operation.op].results(args, kwargs or {}, self.type_of)
            result = _run(operation, self.examples)
        except GraphError:
            return None
        tensors = [result] if isinstance(result, Tensor) else list(result)[: len(types)]
        if any(t.numel() > 6000 or t.dim() > 4 or not _one_batch(t) for t in tensors):
            return None
        if any(t.dtype not in (torch.float32, torch.int64, torch.bool) for t in tensors):
            return None
        self.operations.append(operation)
        self.types.append(types)
        self.examples.append(result if isinstance(result, Tensor) else tensors)
        return Ref(len(self.examples) - 1)

    def type_of(self, ref: Ref) -> TensorType:
        """The type of a value, as the table has it."""
        return self.types[ref.value][ref.out]

    def grow(self, steps: int) -> None:
        """Add random operations."""
        weights = [weight for _, weight, _ in TEMPLATES]
        for _ in range(steps):
            name, _, make = self.rng.choices(TEMPLATES, weights)[0]
            made = make(self)
            if made is not None:
                self.append(name, *made)

    def reads_qs(self, ref: Ref) -> bool:
        """Whether a value depends on the agents' Qs."""
        first = 2 + len(self.constants)
        seen, stack = set(), [ref.value]
        while stack:
            value = stack.pop()
            if value == 0:
                return True
            if value >= first and value not in seen:
                seen.add(value)
                stack.extend(r.value for r in refs_of(self.operations[value - first]))
        return False

    def to_column(self, ref: Ref, width: int) -> Ref | None:
        """A value brought to [B, width], if it has a batch dimension in front."""
        made: Ref | None = ref
        shape = self.example(ref).shape
        if not shape or shape[0] != BATCH:
            return None
        for dim in range(len(shape) - 1, 1, -1):
            made = made and self.append("sum.dim_IntList", (made, (dim,), False))
        if len(shape) == 1:
            made = made and self.append("unsqueeze.default", (made, 1))
        if made and self.example(made).shape[1] != width:
            made = self.append("mean.dim", (made, (1,), True))
            if made and width > 1:
                made = self.append("expand.default", (made, (Batch(0, 1), width)))
        return made if made and self.example(made).is_floating_point() else None


def _one_batch(t: Tensor) -> bool:
    return sum(n == BATCH for n in t.shape) <= 1 and all(n > 0 for n in t.shape)


def _run(operation: Operation, values: list[Any]) -> Any:
    """One operation on the examples."""
    function = CreditFunction(CreditGraph("mixing", 1, 1, "", (), (operation,), {"q_tot": Ref(0)}))
    return function.call(0, values, BATCH, torch.device("cpu"), torch.float32)


class _Step(CreditFunction):
    def literal_tensors(self) -> list[Tensor]:
        """The graph's constants."""
        return self._make_constants(torch.device("cpu"), torch.float32)


# ---- how each operation gets its arguments -------------------------------------------------------


def _unary(m: Maker) -> Made | None:
    x = m.floats()
    return ((x,), {}) if x else None


def _any_unary(m: Maker) -> Made | None:
    x = m.pick()
    return ((x,), {}) if x else None


def _binary(m: Maker) -> Made | None:
    x = m.floats()
    y = m.partner(x) if x else None
    if not x or not y:
        return None
    return ((x, y), {}) if m.rng.random() < 0.5 else ((y, x), {})


def _scalar(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dtype != torch.bool)
    return ((x, m.number()), {}) if x else None


def _whole_scalar(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dtype == torch.int64)
    return ((x, m.rng.choice([1, 2, 3, -2])), {}) if x else None


def _truth_pair(m: Maker) -> Made | None:
    x = m.truths()
    y = m.partner(x, "any") if x else None
    return ((x, y), {}) if x and y else None


def _bool_pair(m: Maker) -> Made | None:
    x, y = m.truths(), m.truths()
    return ((x, y), {}) if x and y else None


def _where(m: Maker) -> Made | None:
    c = m.truths()
    a = m.partner(c) if c else None
    b = m.partner(a) if a else None
    return ((c, a, b), {}) if c and a and b else None


def _along(keep: bool = True, extra: tuple[Any, ...] = ()) -> Callable[[Maker], Made | None]:
    def make(m: Maker) -> Made | None:
        x = m.floats(1)
        if not x:
            return None
        more = (m.rng.random() < 0.5,) if keep else ()
        return (x, m.dim(x), *extra, *more), {}

    return make


def _over(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    return ((x, (m.dim(x),), m.rng.random() < 0.5), {}) if x else None


def _float_over(m: Maker) -> Made | None:
    x = m.floats(1)
    return ((x, (m.dim(x),), m.rng.random() < 0.5), {}) if x else None


def _norm(m: Maker) -> Made | None:
    x = m.floats(1)
    order = m.rng.choice([2, 1, float("inf")])
    return ((x, order, (m.dim(x),), m.rng.random() < 0.5), {}) if x else None


def _spread(m: Maker) -> Made | None:
    x = m.floats(1)
    more = {"correction": m.rng.choice([0, 1]), "keepdim": m.rng.random() < 0.5}
    return ((x, (m.dim(x),)), more) if x else None


def _clamp(m: Maker) -> Made | None:
    x = m.floats()
    low, high = m.number(), m.number()
    ends = m.rng.choice([(low, high), (min(low, high), max(low, high)), (low, None), (None, high)])
    return ((x, *ends), {}) if x else None


def _power(m: Maker) -> Made | None:
    x = m.floats()
    p = m.rng.choice([2, 3, 4, 0.5, -1, 1.5, -2, 0, 1, 2.0, -0.5])
    return ((x, p), {}) if x else None


def _base(m: Maker) -> Made | None:
    x = m.floats()
    return ((m.rng.choice([0.5, 0.9, 1.1, 2.0, 0.99, 10.0]), x), {}) if x else None


def _mode(m: Maker) -> Made | None:
    made = _binary(m)
    return (made[0], {"rounding_mode": m.rng.choice(["floor", "trunc"])}) if made else None


def _cast(m: Maker) -> Made | None:
    x = m.pick()
    return (
        ((x,), {"dtype": DTypeArg(m.rng.choice(["float", "float", "int64", "bool"]))})
        if x
        else None
    )  # type: ignore[arg-type]


def _reshape(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    if not x:
        return None
    shape = list(m.example(x).shape)
    if m.rng.random() < 0.3 and len(shape) > 2:
        shape[-2:] = [shape[-1] * shape[-2]]
    elif shape[-1] % 2 == 0 and m.rng.random() < 0.5:
        shape[-1:] = m.rng.choice([[2, shape[-1] // 2], [shape[-1] // 2, 2]])
    elif len(shape) > 1 and m.rng.random() < 0.2:
        shape[0], shape[1] = shape[1], shape[0]
    else:
        shape.insert(m.rng.randrange(len(shape) + 1), 1)
    return (x, tuple(Batch(0, 1) if n == BATCH else n for n in shape)), {}


def _expand(m: Maker) -> Made | None:
    x = m.pick(lambda t: 1 in t.shape)
    if not x:
        return None
    wide = m.rng.choice([m.card.n_agents, 2, Batch(0, 1)])
    shape: list[Any] = [Batch(0, 1) if n == BATCH else n for n in m.example(x).shape]
    at = m.rng.choice([i for i, n in enumerate(shape) if n == 1])
    shape[at] = wide
    return (x, tuple(shape)), {}


def _permute(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 2)
    if not x:
        return None
    dims = list(range(m.example(x).dim()))
    m.rng.shuffle(dims)
    return (x, tuple(dims)), {}


def _transpose(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 2)
    return ((x, m.dim(x), m.dim(x)), {}) if x else None


def _unsqueeze(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() <= 3)
    return ((x, m.rng.randrange(-1, m.example(x).dim() + 1)), {}) if x else None


def _one_dim(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    return ((x, m.dim(x)), {}) if x else None


def _select(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    if not x:
        return None
    d = m.dim(x)
    size = m.example(x).shape[d]
    return (x, d, m.rng.randrange(-size, size)), {}


def _slice(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    if not x:
        return None
    d = m.dim(x)
    size = m.example(x).shape[d]
    a, b = sorted([m.rng.randrange(size + 1), m.rng.randrange(size + 1)])
    return ((x, d, a, max(b, a + 1)), {}) if a < size else None


def _state_slice(m: Maker) -> Made | None:
    spans = [(at, at + part.size) for part, at in m.card.offsets()]
    a, b = m.rng.choice(spans)
    return (Ref(1), 1, a, b), {}


def _join(m: Maker) -> Made | None:
    x = m.floats(1)
    if not x:
        return None
    d = m.dim(x)
    shape = list(m.example(x).shape)

    def alike(t: Tensor) -> bool:
        other = list(t.shape)
        if len(other) != len(shape) or not t.is_floating_point():
            return False
        other[d] = shape[d]
        return other == shape

    y = m.pick(alike)
    return (((x, y), d), {}) if y else None


def _stack(m: Maker) -> Made | None:
    x = m.floats()
    if not x:
        return None
    shape = m.example(x).shape
    y = m.pick(lambda t: t.shape == shape and t.is_floating_point())
    return (((x, y), m.rng.randrange(-1, len(shape) + 1)), {}) if y else None


def _split(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    return ((x, m.rng.choice([1, 2, 3]), m.dim(x)), {}) if x else None


def _sizes(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    if not x:
        return None
    d = m.dim(x)
    size = m.example(x).shape[d]
    first = m.rng.randrange(size + 1)
    return ((x, (first, size - first), d), {}) if 0 < first < size else None


def _roll(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 1)
    return ((x, (m.rng.choice([1, -1, 2]),), (m.dim(x),)), {}) if x else None


def _repeat(m: Maker) -> Made | None:
    x = m.pick(lambda t: 1 <= t.dim() <= 2)
    if not x:
        return None
    times = [1] * m.example(x).dim()
    times[m.rng.randrange(len(times))] = 2
    return (x, tuple(times)), {}


def _triangle(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 2)
    return ((x, m.rng.choice([0, 0, 1, -1])), {}) if x else None


def _diagonal(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() >= 2)
    return ((x, 0, m.dim(x), m.dim(x)), {}) if x else None


def _embed(m: Maker) -> Made | None:
    x = m.pick(lambda t: 1 <= t.dim() <= 2)
    return ((x,), {}) if x else None


def _pad(m: Maker) -> Made | None:
    x = m.floats(1)
    return ((x, m.rng.choice([(1, 0), (0, 1), (1, 1)]), m.number()), {}) if x else None


def _write(m: Maker) -> Made | None:
    x = m.floats(2)
    if not x:
        return None
    d = m.dim(x)
    shape = list(m.example(x).shape)
    at = m.rng.randrange(shape[d])
    shape.pop(d)
    y = m.pick(lambda t: list(t.shape) == shape and t.is_floating_point())
    return ((x, y, d, at), {}) if y else None


def _write_slice(m: Maker) -> Made | None:
    x = m.floats(2)
    if not x:
        return None
    d = m.dim(x)
    shape = list(m.example(x).shape)
    shape[d] = 1
    y = m.pick(lambda t: list(t.shape) == shape and t.is_floating_point())
    at = m.rng.randrange(m.example(x).shape[d])
    return ((x, y, d, at, at + 1), {}) if y else None


def _gather(m: Maker) -> Made | None:
    i = m.pick(lambda t: t.dtype == torch.int64 and t.dim() >= 1)
    if not i:
        return None
    rank = m.example(i).dim()
    x = m.pick(lambda t: t.dim() == rank and t.is_floating_point())
    return ((x, m.rng.randrange(rank), i), {}) if x else None


def _index_select(m: Maker) -> Made | None:
    i = m.pick(lambda t: t.dtype == torch.int64 and t.dim() == 1)
    x = m.floats(1)
    return ((x, m.dim(x), i), {}) if x and i else None


def _index(m: Maker) -> Made | None:
    i = m.pick(lambda t: t.dtype == torch.int64)
    x = m.floats(2)
    if not x or not i:
        return None
    holes = [None] * m.rng.randrange(1, m.example(x).dim())
    return (x, (*holes, i)), {}


def _scatter(value: str) -> Callable[[Maker], Made | None]:
    def make(m: Maker) -> Made | None:
        made = _gather(m)
        if made is None:
            return None
        x, d, i = made[0]
        if value == "number":
            return (x, d, i, m.number()), {}
        shape = m.example(x).shape
        y = m.pick(lambda t: t.shape == shape and t.is_floating_point())
        return ((x, d, i, y), {}) if y else None

    return make


def _masked_write(m: Maker) -> Made | None:
    mask = m.truths()
    if not mask or not m.example(mask).dim():
        return None
    shape = m.example(mask).shape
    x = m.pick(lambda t: t.shape[: len(shape)] == shape and t.is_floating_point())
    y = m.pick(lambda t: t.is_floating_point() and t.numel() == 1)
    return ((x, (mask,), y), {}) if x and y else None


def _put(m: Maker) -> Made | None:
    x = m.floats(2)
    i = m.pick(lambda t: t.dtype == torch.int64 and t.dim() <= 1)
    y = m.pick(lambda t: t.is_floating_point() and t.numel() == 1)
    return ((x, (None, i), y), {}) if x and i and y else None


def _matrices(rank: int) -> Callable[[Maker], Made | None]:
    def make(m: Maker) -> Made | None:
        x = m.pick(lambda t: t.dim() == rank and t.is_floating_point())
        if not x:
            return None
        inner = m.example(x).shape[-1]
        y = m.pick(
            lambda t: (
                t.dim() == rank
                and t.is_floating_point()
                and t.shape[-2] == inner
                and (rank == 2 or t.shape[0] == m.example(x).shape[0])
            )
        )
        return ((x, y), {}) if y else None

    return make


def _matrix_vector(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() == 2 and t.is_floating_point())
    if not x:
        return None
    inner = m.example(x).shape[-1]
    y = m.pick(lambda t: t.dim() == 1 and t.is_floating_point() and t.shape[0] == inner)
    return ((x, y), {}) if y else None


def _vectors(m: Maker) -> Made | None:
    x = m.pick(lambda t: t.dim() == 1 and t.is_floating_point() and t.shape[0] != BATCH)
    if not x:
        return None
    y = m.pick(lambda t: t.shape == m.example(x).shape and t.is_floating_point())
    return ((x, y), {}) if y else None


def _plus_product(rank: int) -> Callable[[Maker], Made | None]:
    def make(m: Maker) -> Made | None:
        made = _matrices(rank)(m)
        c = m.floats()
        return ((c, *made[0]), {}) if made and c else None

    return make


def _three(m: Maker) -> Made | None:
    made = _binary(m)
    z = m.floats()
    return ((z, *made[0]), {"value": m.number()}) if made and z else None


def _lerp(m: Maker) -> Made | None:
    x = m.floats()
    y = m.partner(x) if x else None
    return ((x, y, m.number()), {}) if x and y else None


def _fill(m: Maker) -> Made | None:
    x = m.floats(1)
    return ((x, m.rng.choice([m.number(), 1, 0])), {}) if x else None


def _masked_fill(m: Maker) -> Made | None:
    mask = m.truths()
    x = m.partner(mask) if mask else None
    value = m.rng.choice([m.number(), -1e9, float("-inf"), 0.0])
    return ((x, mask, value), {}) if x and mask else None


def _sizes_only(m: Maker) -> Made | None:
    n = m.card.n_agents
    shape = m.rng.choice([(n,), (Batch(0, 1), n), (Batch(0, 1), 1), (n, n), (Batch(0, 1),)])
    return (shape,), {}


def _full(m: Maker) -> Made | None:
    made = _sizes_only(m)
    assert made
    return (*made[0], m.number()), {}


def _arange(m: Maker) -> Made | None:
    end = m.rng.choice([m.card.n_agents, 3, Batch(0, 1)])
    return (end,), m.rng.choice([{}, {"dtype": DTypeArg("float")}])


def _linspace(m: Maker) -> Made | None:
    return (m.number(), m.number(), m.rng.choice([2, m.card.n_agents, 5])), {}


def _like_size(m: Maker) -> Made | None:
    x = m.floats()
    made = _sizes_only(m)
    return ((x, *made[0]), {}) if made and x else None


def _topk(m: Maker) -> Made | None:
    x = m.floats(1)
    if not x:
        return None
    d = m.dim(x)
    k = m.rng.randrange(1, m.example(x).shape[d] + 1)
    return (x, k, d, m.rng.random() < 0.5), {}


def _layer_norm(m: Maker) -> Made | None:
    x = m.floats(2)
    return ((x, (m.example(x).shape[-1],), None, None, 1e-5), {}) if x else None


def _softplus(m: Maker) -> Made | None:
    x = m.floats()
    return ((x, *m.rng.choice([(), (2.0,), (0.5, 20.0), (1.0, 3.0)])), {}) if x else None


def _clamp_tensor(m: Maker) -> Made | None:
    x = m.floats()
    y = m.partner(x) if x else None
    return ((x, y, m.rng.choice([None, y])), {}) if x and y else None


def _softmax(m: Maker) -> Made | None:
    x = m.floats(1)
    return ((x, m.dim(x), False), {}) if x else None


TEMPLATES: list[tuple[str, float, Callable[[Maker], Made | None]]] = []
"""An operation, how often it is drawn, and how it gets its arguments."""


def _add(weight: float, make: Callable[[Maker], Made | None], names: str) -> None:
    TEMPLATES.extend((name, weight, make) for name in names.split())


_add(1, _unary, """neg.default abs.default sign.default relu.default square.default floor.default
    ceil.default round.default trunc.default frac.default sigmoid.default tanh.default exp.default
    expm1.default exp2.default log.default log1p.default log2.default log10.default sqrt.default
    rsqrt.default reciprocal.default sin.default cos.default tan.default asin.default acos.default
    atan.default sinh.default cosh.default erf.default silu.default gelu.default elu.default
    leaky_relu.default hardtanh.default hardsigmoid.default hardswish.default mish.default
    log_sigmoid_forward.default nan_to_num.default isnan.default isinf.default zeros_like.default
    ones_like.default""")  # fmt: skip
_add(1, _any_unary, "logical_not.default bitwise_not.default any.default all.default")
_add(4, _binary, "add.Tensor sub.Tensor mul.Tensor div.Tensor")
_add(1, _binary, """maximum.default minimum.default remainder.Tensor fmod.Tensor
    floor_divide.default atan2.default pow.Tensor_Tensor clamp_min.Tensor
    clamp_max.Tensor""")  # fmt: skip
_add(2, _binary, "eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor")
_add(2, _scalar, """add.Scalar sub.Scalar rsub.Scalar mul.Scalar div.Scalar remainder.Scalar
    fmod.Scalar clamp_min.default clamp_max.default eq.Scalar ne.Scalar lt.Scalar le.Scalar
    gt.Scalar ge.Scalar add.Tensor mul.Tensor sub.Tensor div.Tensor""")  # fmt: skip
_add(1, _whole_scalar, "add.Tensor mul.Tensor remainder.Scalar floor_divide.default sub.Scalar")
_add(1, _truth_pair, "logical_and.default logical_or.default logical_xor.default add.Tensor")
_add(1, _bool_pair, "bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor mul.Tensor")
_add(6, _where, "where.self")
_add(1, _masked_fill, "masked_fill.Scalar")
_add(1, _along(), "max.dim min.dim median.dim argmax.default argmin.default prod.dim_int")
_add(1, _along(False), "cumsum.default cumprod.default sort.default")
_add(2, _softmax, "_softmax.default _log_softmax.default")
_add(2, _over, "any.dims all.dims sum.dim_IntList")
_add(2, _float_over, "sum.dim_IntList mean.dim amax.default amin.default logsumexp.default")
_add(1, _norm, "linalg_vector_norm.default")
_add(1, _spread, "var.correction std.correction")
_add(0.3, _unary, "sum.default mean.default prod.default max.default")
_add(2, _clamp, "clamp.default")
_add(1, _clamp_tensor, "clamp.Tensor")
_add(2, _power, "pow.Tensor_Scalar")
_add(1, _base, "pow.Scalar")
_add(1, _mode, "div.Tensor_mode")
_add(3, _cast, "_to_copy.default")
_add(2, _reshape, "reshape.default")
_add(2, _expand, "expand.default")
_add(1, _permute, "permute.default")
_add(1, _transpose, "transpose.int")
_add(2, _unsqueeze, "unsqueeze.default")
_add(1, _one_dim, "squeeze.dim unbind.int")
_add(2, _select, "select.int")
_add(1, _slice, "slice.Tensor")
_add(5, _state_slice, "slice.Tensor")
_add(2, _join, "cat.default")
_add(1, _stack, "stack.default")
_add(1, _split, "split.Tensor")
_add(1, _sizes, "split_with_sizes.default")
_add(1, _roll, "roll.default")
_add(1, lambda m: ((x, (m.dim(x),)), {}) if (x := m.floats(1)) else None, "flip.default")
_add(1, _repeat, "repeat.default")
_add(1, _triangle, "tril.default triu.default")
_add(1, _diagonal, "diagonal.default")
_add(1, _embed, "diag_embed.default")
_add(1, _pad, "constant_pad_nd.default")
_add(1, _write, "select_scatter.default")
_add(1, _write_slice, "slice_scatter.default")
_add(2, _gather, "gather.default")
_add(2, _index_select, "index_select.default")
_add(2, _index, "index.Tensor")
_add(1, _scatter("number"), "scatter.value")
_add(1, _scatter("tensor"), "scatter.src scatter_add.default")
_add(2, _masked_write, "index_put.default")
_add(1, _put, "index_put.default")
_add(3, _matrices(2), "mm.default")
_add(2, _matrices(3), "bmm.default")
_add(1, _matrix_vector, "mv.default")
_add(1, _vectors, "dot.default")
_add(1, _plus_product(2), "addmm.default")
_add(1, _plus_product(3), "baddbmm.default")
_add(1, _three, "addcmul.default addcdiv.default")
_add(1, _lerp, "lerp.Scalar")
_add(0.5, _fill, "fill.Scalar")
_add(0.5, _sizes_only, "zeros.default ones.default")
_add(0.5, _full, "full.default")
_add(0.5, _like_size, "new_zeros.default new_ones.default")
_add(1, _arange, "arange.default")
_add(0.5, _linspace, "linspace.default")
_add(0.5, lambda m: ((m.card.n_agents,), {}), "eye.default")
_add(1, _topk, "topk.default")
_add(1, _layer_norm, "native_layer_norm.default")
_add(1, _softplus, "softplus.default")


def random_graph(card: TaskCard, seed: int) -> CreditGraph:
    """One ungated graph, in mixing or in weights form."""
    m = Maker(card, seed)
    m.grow(m.rng.randrange(4, 22))
    n = card.n_agents
    if m.rng.random() < 0.4:
        weights = bias = None
        for _ in range(8):
            ref = m.pick(lambda t: t.is_floating_point() and t.dim() > 0 and t.shape[0] == BATCH)
            made = m.to_column(ref, n) if ref and not m.reads_qs(ref) else None
            weights, bias = made or weights, bias or (m.to_column(made, 1) if made else None)
        if weights and bias:
            return CreditGraph(
                "weights", n, card.state_dim, card.schema_hash(), tuple(m.constants),
                tuple(m.operations), {"weights": weights, "bias": bias},
            )  # fmt: skip
    total = None
    for _ in range(4):
        ref = m.pick(lambda t: t.is_floating_point() and t.dim() > 0 and t.shape[0] == BATCH)
        made = m.to_column(ref, n) if ref else None
        if made is None:
            continue
        if m.rng.random() < 0.6:
            shape_up = m.rng.choice(["abs.default", "sigmoid.default", "relu.default"])
            made = m.append(shape_up, (made,))
            made = m.append("mul.Tensor", (made, Ref(0)))
        part = m.append("sum.dim_IntList", (made, (1,), True))
        total = part if total is None else m.append("add.Tensor", (total, part))
    return m.graph(m.operations, total or m.to_column(Ref(0), 1))  # type: ignore[arg-type]
