"""A credit graph evaluated on expressions instead of numbers.

Every element of every value becomes an expression over state columns and agents' Qs; the batch
dimension is folded to 1. Moving elements about leaves no trace: what is computed remains. One file
above 400 lines: a rule for each operation, and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from prompts.cards import TaskCard
from sandbox.graph import Arg, Batch, CreditGraph, Operation, Ref
from sandbox.inference import Types
from sandbox.mathematics.terms import Term, Terms, TooLargeError
from sandbox.runtime import operation_call
from sandbox.table import OPS

MAX_ELEMENTS = 20_000
"""Expressions kept over the whole graph; beyond, the function is called too large to write out."""

_Array = np.ndarray

_RELATIONS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}
_LOGIC = {
    f"{kind}_{name}": name
    for kind in ("logical", "bitwise")
    for name in ("and", "or", "xor", "not")
}
_BY_NAME = set(
    "exp exp2 expm1 log log2 log10 sqrt sin cos tan asin acos atan sinh cosh sigmoid tanh erf "
    "floor ceil round trunc sign frac silu gelu mish hardswish hardsigmoid softplus elu "
    "leaky_relu isnan isinf nan_to_num".split()
)
"""Operations that are written as a function of their operand and of the numbers that are given."""


class Writer:
    """The expressions of a graph's values, by the values' numbers (and outputs) in ``values``.

    Raises:
        TooLargeError: there is no readable form.
    """

    def __init__(self, graph: CreditGraph, card: TaskCard, types: Types) -> None:
        self.graph, self.types, self.terms = graph, types, Terms()
        self._left = MAX_ELEMENTS
        self._unary, self._binary = _unary(self.terms), _binary(self.terms)
        qs = [self.terms.symbol(f"Q[{i}]") for i in range(graph.n_agents)]
        columns = [self.terms.symbol(card.column_name(i)) for i in range(graph.state_dim)]
        self.values: list[tuple[_Array, ...]] = [
            (_array(qs, (1, -1)),),
            (_array(columns, (1, -1)),),
        ]
        for c in graph.constants:
            self.values.append((_array([self.terms.number(x) for x in c.data], c.shape),))
        for number, operation in enumerate(graph.operations, graph.first_operation):
            made = self._operation(operation, number)
            self._spend(sum(m.size for m in made))
            self.values.append(made)

    def of(self, ref: Ref) -> list[Term]:
        """The elements of a value, as numbers."""
        return [self.terms.value(e) for e in self.values[ref.value][ref.out].reshape(-1)]

    def _spend(self, elements: int) -> None:
        self._left -= elements
        if self._left < 0:
            raise TooLargeError(f"it has over {MAX_ELEMENTS:,} elements")

    def _operation(self, operation: Operation, number: int) -> tuple[_Array, ...]:
        args = [self._build(a) for a in operation.args]
        kwargs = {k: self._build(v) for k, v in operation.kwargs}
        shape = self.types.values[number][0].shape
        name = operation.op.removeprefix("aten.")
        match OPS[operation.op].family:
            case "create":
                return (self._created(operation, shape),)
            case "pointwise":
                return (self._pointwise(name, args, kwargs, shape, operation),)
            case "matmul":
                return (self._matmul(name, args, shape),)
            case "reduction" | "normalise":
                return self._folding(name, args, kwargs, shape)
        if name == "gather.default":
            return (self._gathered(args[0], args[1], args[2]),)
        if name == "index_put.default":
            return (self._masked_write(args, shape),)
        return self._moved(operation)

    def _build(self, arg: Arg) -> Any:
        if isinstance(arg, Ref):
            return self.values[arg.value][arg.out]
        if isinstance(arg, Batch):
            return arg.at(1)
        if type(arg) is tuple:
            return [self._build(a) for a in arg]
        return arg

    def _created(self, operation: Operation, shape: tuple[int, ...]) -> _Array:
        name = operation.op.removeprefix("aten.").split(".")[0]
        plain = [a for a in operation.args if not isinstance(a, Ref)]
        if name in ("arange", "linspace", "eye"):
            made = operation_call(operation.op)(*plain, dtype=torch.float64)
            return _array([self.terms.number(float(x)) for x in made.reshape(-1)], shape)
        value: Any = 0 if "zeros" in name else 1 if "ones" in name else plain[-1]
        return _array([self.terms.number(value)] * math.prod(shape), shape)

    # ---- places --------------------------------------------------------------------------------

    def _moved(self, operation: Operation) -> tuple[_Array, ...]:
        """Run the movement itself on numbered elements, and look up what came where."""
        pool: list[Term] = [self.terms.number(0)]
        first = operation.args[0]

        def numbered(arg: Arg) -> Any:
            if isinstance(arg, Ref):
                expressions = self.values[arg.value][arg.out]
                indexed = OPS[operation.op].family == "indexed"
                if arg is not first and indexed and self.types.of(arg).dtype != "float":
                    return _literal_index(expressions)
                start = len(pool)
                pool.extend(expressions.reshape(-1))
                ids = torch.arange(start, len(pool), dtype=torch.float64)
                return ids.reshape(expressions.shape)
            if isinstance(arg, Batch):
                return arg.at(1)
            if type(arg) is tuple:
                return [numbered(a) for a in arg]
            return arg

        if operation.op == "aten.scatter_add.default":
            raise TooLargeError("it adds at computed places")
        args = [numbered(a) for a in operation.args]
        if operation.op == "aten.constant_pad_nd.default" and len(args) > 2:
            pool[0] = self.terms.number(args[2])
            args = args[:2]
        if operation.op == "aten.scatter.value":
            pool.append(self.terms.number(args[3]))
            args[3] = len(pool) - 1
        made = operation_call(operation.op)(*args)
        results = made if isinstance(made, (list, tuple)) else (made,)
        return tuple(_array([pool[int(k)] for k in r.reshape(-1)], tuple(r.shape)) for r in results)

    def _gathered(self, x: _Array, dim: int, index: _Array) -> _Array:
        """``pick(place, x0, x1, ...)`` where the place is computed, else the element itself."""
        moved, places = np.moveaxis(x, dim, -1), np.moveaxis(index, dim, -1)
        made = np.empty(places.shape, dtype=object)
        for at in np.ndindex(*places.shape):
            row = list(moved[at[:-1]])
            place = self.terms.value(places.item(at))
            if place.is_number:
                made[at] = row[min(max(int(place.value), 0), len(row) - 1)]
            else:
                made[at] = self.terms.call("pick", place, *row)
        return np.moveaxis(made, -1, dim)

    def _masked_write(self, args: list[Any], shape: tuple[int, ...]) -> _Array:
        """``x[mask] = v``: a choice at every place."""
        target, (mask, *more), value = args[0], args[1], args[2]
        if more or value.size != 1:
            raise TooLargeError("it writes at computed places")
        mask = mask.reshape((*mask.shape, *(1,) * (target.ndim - mask.ndim)))
        return self._map(self.terms.choose, [mask, value.reshape(()), target], shape)

    # ---- arithmetic ----------------------------------------------------------------------------

    def _map(
        self, f: Callable[..., Term], operands: Sequence[Any], shape: tuple[int, ...]
    ) -> _Array:
        arrays = [
            a if isinstance(a, np.ndarray) else _array([self.terms.number(a)], ()) for a in operands
        ]
        wide = [np.broadcast_to(a, shape).reshape(-1) for a in arrays]
        return _array([f(*items) for items in zip(*wide, strict=True)], shape)

    def _pointwise(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        shape: tuple[int, ...],
        operation: Operation,
    ) -> _Array:
        terms = self.terms
        base, overload = name.split(".")
        if base in _RELATIONS:
            return self._map(lambda a, b: terms.relation(_RELATIONS[base], a, b), args, shape)
        if base in _LOGIC:
            if base.startswith("bitwise") and self._dtype(operation) != "bool":
                raise TooLargeError("it computes with the bits of whole numbers")
            return self._map(lambda *xs: terms.logic(_LOGIC[base], *xs), args, shape)
        if base == "_to_copy":
            return self._cast(args[0], kwargs, operation, shape)
        if base in _BY_NAME and not kwargs.keys() - {"approximate"}:
            name = "gelu_tanh" if kwargs.get("approximate") == "tanh" else base
            return self._map(lambda x, *more: terms.call(name, x, *more), args, shape)
        if base in self._unary:
            return self._map(self._unary[base], args[:1], shape)
        if base in ("add", "sub", "rsub"):
            alpha = float(kwargs.get("alpha", 1))
            first, second = (args[1], args[0]) if base == "rsub" else (args[0], args[1])
            weight = alpha if base == "add" else -alpha
            return self._map(lambda a, b: terms.add(a, b, weight), [first, second], shape)
        if base in self._binary:
            made = self._map(self._binary[base], args[:2], shape)
            rounding = kwargs.get("rounding_mode")
            if rounding and overload.endswith("_mode"):
                made = self._map(lambda x: terms.call(str(rounding), x), [made], shape)
            return made
        if base == "where":
            return self._map(terms.choose, args, shape)
        if base == "masked_fill":
            return self._map(lambda x, m, v: terms.choose(m, v, x), args, shape)
        if base == "fill":
            return self._map(lambda _x, v: v, args, shape)
        if base.startswith(("clamp", "hardtanh")) and not kwargs:
            return self._clamped(base, args, shape)
        if base == "lerp":
            return self._map(
                lambda a, b, w: terms.add(a, terms.multiply(w, terms.add(b, a, -1))), args, shape
            )
        if base in ("addcmul", "addcdiv"):
            scale, power = float(kwargs.get("value", 1)), 1.0 if base == "addcmul" else -1.0
            return self._map(
                lambda a, x, y: terms.add(a, terms.multiply(x, y, power), scale), args, shape
            )
        raise TooLargeError(f"it uses {base}, which has no short form")

    def _clamped(self, base: str, args: list[Any], shape: tuple[int, ...]) -> _Array:
        ends = args[1:] if len(args) > 1 else [-1.0, 1.0]  # hardtanh's
        low = None if base == "clamp_max" else ends[0]
        high = ends[-1] if base == "clamp_max" or len(ends) > 1 else None
        out = args[0]
        for name, end in (("max", low), ("min", high)):
            if end is not None:
                out = self._map(
                    lambda x, m, name=name: self.terms.call(name, m, x), [out, end], shape
                )
        return out

    def _dtype(self, operation: Operation) -> str | None:
        """The dtype of the first operand."""
        first = operation.args[0]
        return self.types.of(first).dtype if isinstance(first, Ref) else None

    def _cast(
        self, x: _Array, kwargs: dict[str, Any], operation: Operation, shape: tuple[int, ...]
    ) -> _Array:
        wanted = kwargs["dtype"].name if kwargs.get("dtype") else self._dtype(operation)
        if wanted == "bool":
            return self._map(self.terms.condition, [x], shape)
        if wanted == "int64" and self._dtype(operation) == "float":
            return self._map(lambda e: self.terms.call("trunc", e), [x], shape)
        return self._map(self.terms.value, [x], shape)

    def _matmul(self, name: str, args: list[Any], shape: tuple[int, ...]) -> _Array:
        bias = None
        if name.startswith(("addmm", "baddbmm")):
            bias, *args = args
        a, b = args[:2]
        self._spend(math.prod(shape) * a.shape[-1])
        batched = a.ndim == 3
        made = np.empty(shape, dtype=object)
        for at in np.ndindex(*shape):
            k, (i, j) = (at[0], at[1:]) if batched else (None, (*at, None, None)[:2])
            left, right = (a[k], b[k]) if batched else (a, b)
            row = left[i] if left.ndim == 2 else left
            column = right[:, j] if right.ndim == 2 else right
            pairs = zip(row, column, strict=True)
            made[at] = self.terms.total((1.0, self.terms.multiply(x, y)) for x, y in pairs)
        return made if bias is None else self._map(self.terms.add, [made, bias], shape)

    # ---- dimensions ----------------------------------------------------------------------------

    def _folding(
        self, name: str, args: list[Any], kwargs: dict[str, Any], shape: tuple[int, ...]
    ) -> tuple[_Array, ...]:
        terms = self.terms
        base, overload = name.split(".")
        x = args[0]
        if base in ("_softmax", "_log_softmax"):
            prefix = base.removeprefix("_")
            return (
                _along(
                    x,
                    args[1],
                    lambda row: [terms.call(f"{prefix}{i}", *row) for i in range(len(row))],
                ),
            )
        if base in ("cumsum", "cumprod"):
            join = terms.add if base == "cumsum" else terms.multiply
            return (_along(x, args[1], lambda row: list(itertools.accumulate(row, join))),)
        folders = _folders(terms)
        at = 2 if base in ("linalg_vector_norm", "norm") else 1
        if at == 2 and len(args) > 1 and args[1] not in (2, 2.0):
            raise TooLargeError("it uses a norm that has no short form")
        dims = _dims(x, args[at] if len(args) > at else None)
        if base in ("std", "var"):
            correction = kwargs.get("correction")
            if correction not in (None, 0, 1):
                raise TooLargeError("it uses a correction that has no short form")
            base = f"p{base}" if correction == 0 else base
        if base in ("max", "min"):
            folded = _fold(x, dims, folders[f"a{base}"], shape)
            return (
                (folded,)
                if overload != "dim"
                else (folded, _fold(x, dims, folders[f"arg{base}"], shape))
            )
        if base in folders:
            return (_fold(x, dims, folders[base], shape),)
        raise TooLargeError(f"it uses {base}, which has no short form")


def _unary(terms: Terms) -> dict[str, Callable[[Term], Term]]:
    """What a function of one number is written as, where not by its name."""
    one = terms.number(1)
    return {
        "neg": lambda x: terms.total([(-1.0, x)]),
        "abs": lambda x: terms.call("|", x),
        "square": lambda x: terms.multiply(x, x),
        "reciprocal": lambda x: terms.multiply(one, x, -1),
        "rsqrt": lambda x: terms.multiply(one, terms.call("sqrt", x), -1),
        "relu": lambda x: terms.call("max", terms.number(0), x),
        "log1p": lambda x: terms.call("log", terms.add(x, one)),
        "log_sigmoid_forward": lambda x: terms.call("log_sigmoid", x),
    }


def _binary(terms: Terms) -> dict[str, Callable[[Term, Term], Term]]:
    return {
        "mul": terms.multiply,
        "div": lambda a, b: terms.multiply(a, b, -1),
        "floor_divide": lambda a, b: terms.call("floor", terms.multiply(a, b, -1)),
        "pow": terms.power,
        "maximum": lambda a, b: terms.call("max", a, b),
        "minimum": lambda a, b: terms.call("min", a, b),
        "remainder": lambda a, b: terms.call("mod", a, b),
        "fmod": lambda a, b: terms.call("fmod", a, b),
        "atan2": lambda a, b: terms.call("atan2", a, b),
    }


def _folders(terms: Terms) -> dict[str, Callable[[list[Term]], Term]]:
    """What a folded dimension is written as, from its elements."""

    def total(row: list[Term]) -> Term:
        return terms.total((1.0, e) for e in row)

    def norm(row: list[Term]) -> Term:
        return terms.call("sqrt", total([terms.multiply(e, e) for e in row]))

    def product(row: list[Term]) -> Term:
        return list(itertools.accumulate(row, terms.multiply, initial=terms.number(1)))[-1]

    def by_name(name: str) -> Callable[[list[Term]], Term]:
        return lambda row: terms.call(name, *row)

    return {
        "sum": total,
        "mean": lambda row: terms.multiply(total(row), terms.number(len(row)), -1),
        "prod": product,
        "any": lambda row: terms.logic("or", *row),
        "all": lambda row: terms.logic("and", *row),
        "amax": by_name("max"),
        "amin": by_name("min"),
        "linalg_vector_norm": norm,
        "norm": norm,
        **{
            name: by_name(name)
            for name in ("logsumexp", "argmax", "argmin", "var", "std", "pvar", "pstd")
        },
    }


def _literal_index(expressions: _Array) -> torch.Tensor:
    flat = list(expressions.reshape(-1))
    if not all(x.is_number and type(x.value) is int for x in flat):
        raise TooLargeError("it picks elements at computed places")
    return torch.tensor([x.value for x in flat], dtype=torch.int64).reshape(expressions.shape)


def _array(items: Sequence[Term], shape: tuple[int, ...]) -> _Array:
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out.reshape(shape)


def _dims(x: _Array, dim: Any) -> list[int]:
    if dim is None or dim == []:
        return list(range(x.ndim))
    return [d % x.ndim for d in (dim if isinstance(dim, list) else [dim])]


def _fold(
    x: _Array, dims: list[int], f: Callable[[list[Term]], Term], shape: tuple[int, ...]
) -> _Array:
    rest = [d for d in range(x.ndim) if d not in dims]
    kept = math.prod(x.shape[d] for d in rest)
    rows = x.transpose(rest + dims).reshape(kept, -1)
    return _array([f(list(row)) for row in rows], shape)


def _along(x: _Array, dim: int, f: Callable[[list[Term]], list[Term]]) -> _Array:
    moved = np.moveaxis(x, dim, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    made = _array([e for row in rows for e in f(list(row))], moved.shape)
    return np.moveaxis(made, -1, dim)
