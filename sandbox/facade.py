"""What a candidate can reach at run time: named functions, guarded attributes, few builtins.

A candidate never holds a module object. ``torch``, ``F`` and ``math`` are :class:`Namespace`
objects that hand out listed names only; every attribute access passes :func:`guarded_getattr`;
iteration, item writes and some operators pass guards of their own. Used only in the candidate's
child.
"""

from __future__ import annotations

import difflib
import inspect
import math
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional
from RestrictedPython.Guards import guarded_iter_unpack_sequence, guarded_unpack_sequence
from torch import Tensor

from sandbox import names
from sandbox.policy import FILE_NAME

MAX_ITERATIONS = 20_000
"""Loop iterations of one candidate, over all its loops."""
MAX_LENGTH = 10_000
"""Items of a list that repetition or conversion may make."""


class CandidateError(Exception):
    """The candidate did what a credit function may not do."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


class Namespace:
    """A fixed set of named values; nothing else can be read from it."""

    __slots__ = ("_members", "_title")

    def __init__(self, title: str, members: dict[str, Any]) -> None:
        self._title, self._members = title, members

    def member(self, name: str) -> Any:
        """The value with this name.

        Raises:
            CandidateError: there is none (near names in the message).
        """
        if name in self._members:
            return self._members[name]
        near = difflib.get_close_matches(name, self._members, n=3, cutoff=0.6)
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise CandidateError("policy.torch", f"`{self._title}.{name}` is not available{hint}")


_REFUSED_KEYWORDS = {
    "out": "assign the result instead",
    "requires_grad": "nothing in a credit function is trained",
    "generator": "a credit function is deterministic",
    "layout": "leave it out",
    "pin_memory": "leave it out",
    "inplace": "assign the result instead",
    "training": "leave it out",
    "memory_format": "leave it out",
    "names": "leave it out",
    "non_blocking": "leave it out",
    "p_dropout": "leave it out",
}


def _wrap(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A listed function that refuses keywords with side effects and computed sizes."""

    place = _place_of_inplace(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        for key, hint in _REFUSED_KEYWORDS.items():
            if key in kwargs:
                raise CandidateError("policy.keyword", f"`{title}(..., {key}=...)`: {hint}")
        if place is not None and len(args) > place:
            hint = _REFUSED_KEYWORDS["inplace"]
            raise CandidateError("policy.keyword", f"`{title}(..., inplace)`: {hint}")
        return function(*args, **kwargs)

    return call


def _place_of_inplace(function: Callable[..., Any]) -> int | None:
    """Where a function of ``torch.nn.functional`` takes ``inplace`` when it is not named."""
    if not inspect.isfunction(function):
        return None
    names_of = list(inspect.signature(function).parameters)
    return names_of.index("inplace") if "inplace" in names_of else None


def _where(*args: Any, **kwargs: Any) -> Any:
    if len(args) + len(kwargs) != 3:
        raise CandidateError(
            "export.data_dependent",
            "`torch.where(mask)` with one argument has a size that depends on values; give it "
            "three: torch.where(mask, a, b)",
        )
    return torch.where(*args, **kwargs)


def _tensor(*args: Any, **kwargs: Any) -> Any:
    if args and isinstance(args[0], (list, tuple)) and _holds_tensor(args[0]):
        raise CandidateError(
            "export.tensor",
            "`torch.tensor([...])` takes plain numbers; join tensors with "
            "torch.stack([a, b], dim=1), or with torch.cat([a, b], dim=1) if they are [B, 1]",
        )
    return torch.tensor(*args, **kwargs)


def _holds_tensor(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return any(_holds_tensor(v) for v in values)
    return isinstance(values, Tensor)


def _number_only(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if any(isinstance(a, Tensor) for a in args):
            raise CandidateError(
                "export.math", f"`math.{name}` works on Python numbers only; use `torch.{name}`"
            )
        return function(*args)

    return call


# ---- builtins ------------------------------------------------------------------------------------


class _Budget:
    """Counts loop iterations of one candidate."""

    def __init__(self) -> None:
        self.left = MAX_ITERATIONS

    def spend(self, amount: int = 1) -> None:
        self.left -= amount
        if self.left < 0:
            raise CandidateError(
                "export.loop",
                f"loops run over {MAX_ITERATIONS:,} times in all; use tensor operations instead",
            )


_SPECIAL_NUMBERS = ("inf", "-inf", "+inf", "nan")
"""The only texts that ``float`` takes."""


def _to_number(kind: Callable[[Any], Any], title: str) -> Callable[..., Any]:
    def convert(*args: Any) -> Any:
        if any(isinstance(a, Tensor) for a in args):
            whole = "long" if title == "int" else title
            raise CandidateError(
                "export.branch",
                f"`{title}(tensor)` would fix one row's value for all; stay in tensors "
                f"(x.{whole}() converts every value, torch.where chooses by value)",
            )
        _refuse_symbolic(title, args)
        special = len(args) == 1 and isinstance(args[0], str) and args[0] in _SPECIAL_NUMBERS
        if title == "float" and special:
            return float(args[0])
        if any(isinstance(a, str) for a in args):
            raise CandidateError("policy.format", f"`{title}` of a text is not allowed")
        return kind(*args)

    return convert


_ALL_ROWS = (
    "write the function for all rows at once (state[:, j] is column j of every row, agent_qs[:, i] "
    "agent i's value in every row)"
)


def _refuse_symbolic(title: str, args: tuple[Any, ...]) -> None:
    if any(isinstance(a, torch.SymInt) and not _is_plain(a) for a in args):
        raise CandidateError(
            "export.batch_loop",
            f"`{title}` was given the batch size; do not loop over rows or fix their number: "
            f"{_ALL_ROWS}",
        )


def _is_plain(a: torch.SymInt) -> bool:
    return a.node.maybe_as_int() is not None


def _range(*args: Any) -> range:
    if any(isinstance(a, Tensor) for a in args):
        raise CandidateError(
            "export.branch", "`range(tensor)` depends on values; use a fixed range"
        )
    _refuse_symbolic("range", args)
    made = range(*args)
    if len(made) > MAX_ITERATIONS:
        raise CandidateError("export.loop", f"range over {len(made):,} numbers is too long")
    return made


def _compare(kind: Callable[..., Any], title: str) -> Callable[..., Any]:
    def pick(*args: Any, **kwargs: Any) -> Any:
        values = args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
        if any(isinstance(a, Tensor) for a in values):
            raise CandidateError(
                "export.branch",
                f"Python's `{title}` cannot compare tensors row by row; use "
                f"`torch.{title}imum(a, b)` or `x.{title}(dim=...)`",
            )
        return kind(*args, **kwargs)

    return pick


def _sequence(kind: Callable[[Any], Any], budget: _Budget) -> Callable[..., Any]:
    def make(*args: Any) -> Any:
        if args and isinstance(args[0], Tensor):
            return kind(_iterate(args[0], budget))
        made = kind(*args)
        if len(made) > MAX_LENGTH:
            raise CandidateError("export.loop", _LONG_LIST)
        return made

    return make


def _iterate(value: Any, budget: _Budget) -> Iterator[Any]:
    _refuse_rows(value)
    for item in value:
        budget.spend()
        yield item


def _no_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """A builtin that iterates over its arguments, but never over the rows of the batch."""

    def over(*args: Any, **kwargs: Any) -> Any:
        for value in args:
            _refuse_rows(value)
        return function(*args, **kwargs)

    return over


def _len(value: Any) -> int:
    if isinstance(value, Tensor) and value.dim() and not isinstance(value.shape[0], int):
        raise CandidateError(
            "export.batch_loop",
            "`len` of this tensor is the number of rows: write it as x.shape[0] where a new tensor "
            f"needs it, but never loop over rows: {_ALL_ROWS}",
        )
    return len(value)


def _refuse_rows(value: Any) -> None:
    if isinstance(value, Tensor) and value.dim() and not isinstance(value.shape[0], int):
        raise CandidateError(
            "export.batch_loop",
            "iterating over a tensor's first dimension loops over the rows of the batch; "
            f"{_ALL_ROWS}",
        )


# ---- guards --------------------------------------------------------------------------------------

_TENSOR_MEMBERS = frozenset(names.TENSOR_METHODS + names.TENSOR_ATTRIBUTES)
_LIST_MEMBERS = frozenset(names.LIST_METHODS)
_DICT_MEMBERS = frozenset(names.DICT_METHODS)
_INDEX_RESULT = frozenset({"values", "indices"})


def guarded_getattr(value: Any, name: str, *default: Any) -> Any:
    """``value.name`` for what is listed, else an error that says what to use."""
    if isinstance(value, Namespace):
        return value.member(name)
    if isinstance(value, Tensor):
        if name in _TENSOR_MEMBERS:
            member = getattr(value, name)
            return _wrap(name, member) if callable(member) and name not in ("T", "mT") else member
        if name in names.REFUSED_METHODS:
            raise CandidateError(
                f"policy.{name.strip('_')}",
                f"`.{name}` is not allowed: {names.REFUSED_METHODS[name]}",
            )
        if name.endswith("_") and name.rstrip("_") in _TENSOR_MEMBERS:
            new = name.rstrip("_")
            raise CandidateError(
                "policy.method", f"`.{name}` writes in place; write `x = x.{new}(...)` instead"
            )
        near = difflib.get_close_matches(name, _TENSOR_MEMBERS, n=3, cutoff=0.6)
        hint = f"; near names: {', '.join(near)}" if near else ""
        raise CandidateError("policy.method", f"tensors have no `.{name}` here{hint}")
    if isinstance(value, list) and name in _LIST_MEMBERS:
        return getattr(value, name)
    if isinstance(value, dict) and name in _DICT_MEMBERS:
        return getattr(value, name)
    if isinstance(value, tuple) and name in _INDEX_RESULT | {"count", "index"}:
        return getattr(value, name)
    if isinstance(value, torch.Size) and name == "numel":
        return value.numel
    if isinstance(value, tuple) and hasattr(value, "values") and name in _TENSOR_MEMBERS:
        raise CandidateError(
            "policy.attribute",
            f"`.{name}` of a result that is a pair (values, indices): take `.values` of it first, "
            "or call amax or amin instead of max or min",
        )
    raise CandidateError(
        "policy.attribute", f"`.{name}` of a {type(value).__name__} is not available here"
    )


def guarded_getitem(value: Any, key: Any) -> Any:
    """``value[key]`` for tensors and plain containers."""
    if isinstance(value, Tensor):
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, Tensor) and k.dtype in (torch.bool, torch.uint8) for k in keys):
            raise CandidateError(
                "export.data_dependent",
                "reading with a boolean mask, x[mask], gives a result whose size depends on "
                "values; use torch.where(mask, x, other)",
            )
        _refuse_nowhere(value, keys)
        return value[key]
    if isinstance(value, (list, tuple, dict, range)):
        return value[key]
    raise CandidateError("policy.item", f"a {type(value).__name__} cannot be indexed")


def _refuse_nowhere(value: Tensor, keys: tuple[Any, ...]) -> None:
    """Refuse ``state[:, 4:6]`` of two columns: Python would give nothing and say nothing."""
    if (
        any(k is None or k is Ellipsis or isinstance(k, bool) for k in keys)
        or len(keys) > value.dim()
    ):
        return
    for at, key in enumerate(keys):
        size = value.shape[at]
        if not (isinstance(key, slice) and isinstance(size, int)):
            continue
        start, stop = key.start, key.stop
        if type(start) is int and type(stop) is int and 0 < size <= start < stop:
            raise CandidateError(
                "export.index",
                f"`{start}:{stop}` of dimension {at} is empty: the size there is {size}, so "
                f"indices go from 0 to {size - 1}",
            )


class _ItemWriter:
    """What ``_write_`` returns for a tensor: it can store items and do nothing else."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def __setitem__(self, key: Any, value: Any) -> None:
        self._target[key] = value


def guarded_write(value: Any) -> Any:
    """Allow item assignment into tensors, lists and dicts; nothing else can be written."""
    if isinstance(value, (Tensor, list, dict)):
        return _ItemWriter(value)
    raise CandidateError("policy.write", f"a {type(value).__name__} cannot be written into")


MAX_INTEGER = 2**63


def guarded_operator(sign: str, left: Any, right: Any) -> Any:
    """``left sign right`` for ``%``, ``**``, ``<<`` and ``*``, which can blow up what is no tensor.

    Raises:
        CandidateError: a text is formatted, or a number or list becomes too large.
    """
    if isinstance(left, str) and sign == "%":
        raise CandidateError("policy.format", "`%` on a text is not allowed: no text is made here")
    if sign == "*" and not (isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS)):
        for many, count in ((left, right), (right, left)):
            sequence = isinstance(many, (list, tuple, str)) and isinstance(count, int)
            if sequence and len(many) * count > MAX_LENGTH:
                raise CandidateError("export.loop", _LONG_LIST)
    if isinstance(left, int) and isinstance(right, int):
        bits = {"**": left.bit_length() * right, "<<": left.bit_length() + right}.get(sign, 0)
        if bits > 64 or max(abs(left), abs(right)) > MAX_INTEGER:
            raise CandidateError("policy.number", "integers this large are not allowed; use floats")
    return _OPERATORS[sign](left, right)


_NUMBERS = (int, float)
_LONG_LIST = "a list this long is not needed; use tensors"
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "%": operator.mod,
    "**": operator.pow,
    "<<": operator.lshift,
    "*": operator.mul,
}

_INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv,
    "//=": operator.ifloordiv, "%=": operator.imod, "**=": operator.ipow, "@=": operator.imatmul,
    "&=": operator.iand, "|=": operator.ior, "^=": operator.ixor,
}  # fmt: skip


def guarded_inplace(op: str, left: Any, right: Any) -> Any:
    """``left op= right``, in place where Python does so."""
    if op not in _INPLACE:
        raise CandidateError("policy.operator", f"`{op}` is not allowed")
    if isinstance(left, (list, str, tuple)) and op != "+=":
        raise CandidateError("policy.operator", f"`{op}` on a {type(left).__name__} is not allowed")
    if op in ("%=", "**=", "*=") and not isinstance(left, Tensor):
        return guarded_operator(op[:-1], left, right)
    return _INPLACE[op](left, right)


def _guarded_import(name: str, *rest: Any, **more: Any) -> Any:
    # torch imports some of its own parts late, through the running frame's builtins. They were all
    # imported before the candidate was forked; a candidate itself has no way to call this.
    if name.split(".")[0] in ("torch", "sympy", "numpy") and name in sys.modules:
        return __import__(name, *rest, **more)
    raise CandidateError("policy.import", f"import of {name[:60]} is not allowed")


def _apply(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def make_namespace() -> dict[str, Any]:
    """Globals for one candidate."""
    budget = _Budget()
    functional = Namespace(
        "F", {n: _wrap(f"F.{n}", getattr(torch.nn.functional, n)) for n in names.FUNCTIONAL}
    )
    neural = Namespace("torch.nn", {"functional": functional})
    members: dict[str, Any] = {
        n: _wrap(f"torch.{n}", getattr(torch, n)) for n in names.TORCH_FUNCTIONS
    }
    members["where"] = _where
    members["tensor"] = _wrap("torch.tensor", _tensor)
    members |= {n: getattr(torch, n) for n in names.TORCH_DTYPES}
    members |= {n: getattr(torch, n) for n in names.TORCH_CONSTANTS}
    members["nn"] = neural
    members["linalg"] = Namespace(
        "torch.linalg",
        {n: _wrap(f"torch.linalg.{n}", getattr(torch.linalg, n)) for n in names.LINALG},
    )
    maths = {n: _number_only(n, v) if callable(v := getattr(math, n)) else v for n in names.MATH}

    def iterate(value: Any) -> Iterator[Any]:
        return _iterate(value, budget)

    plain = {
        "abs": abs, "all": all, "any": any, "divmod": divmod, "pow": _pow, "round": round,
        "len": _len, "slice": slice, "dict": dict, "set": set, "isinstance": _isinstance,
        "enumerate": _no_rows(enumerate), "reversed": _no_rows(reversed),
        "sorted": _no_rows(sorted), "zip": _no_rows(zip), "sum": _no_rows(sum),
        "None": None, "True": True, "False": False,
    }  # fmt: skip
    builtins = {
        **plain,
        "bool": _to_number(bool, "bool"),
        "float": _to_number(float, "float"),
        "int": _to_number(int, "int"),
        "list": _sequence(list, budget),
        "tuple": _sequence(tuple, budget),
        "max": _compare(max, "max"),
        "min": _compare(min, "min"),
        "range": _range,
        "__import__": _guarded_import,
    }
    return {
        "__builtins__": builtins,
        "__name__": FILE_NAME,
        "_getattr_": guarded_getattr,
        "_getitem_": guarded_getitem,
        "_getiter_": iterate,
        "_write_": guarded_write,
        "_inplacevar_": guarded_inplace,
        "_operator_": guarded_operator,
        "_apply_": _apply,
        "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
        "_unpack_sequence_": guarded_unpack_sequence,
        "torch": Namespace("torch", members),
        "F": functional,
        "nn": neural,
        "math": Namespace("math", maths),
        "np": Namespace("np", {n: members[t] for n, t in names.NUMPY.items()}),
    }


def _pow(base: Any, exponent: Any) -> Any:
    return guarded_operator("**", base, exponent)


def _isinstance(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(_isinstance(value, k) for k in kind)
    if isinstance(kind, type):
        return isinstance(value, kind)
    return isinstance(value, (int, float)) and not isinstance(value, bool)
