"""What stands between a candidate and the values that it holds: attributes, items, operators.

A candidate never holds a module object. ``torch``, ``F`` and ``math`` are :class:`Namespace`
objects that hand out listed names only; every attribute access passes :func:`guarded_getattr`.
Used only in the candidate's child.
"""

from __future__ import annotations

import difflib
import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox import names

SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)
"""What sizes are while the batch is a symbol, and what is computed from them."""
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


def wrap(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
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
            return wrap(name, member) if callable(member) and name not in ("T", "mT") else member
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
        _refuse_rows_as_columns(keys)
        return value[key]
    if isinstance(value, (list, tuple, dict, range)):
        return value[key]
    raise CandidateError("policy.item", f"a {type(value).__name__} cannot be indexed")


def _refuse_rows_as_columns(keys: tuple[Any, ...]) -> None:
    """Refuse ``x[:, :B]``: how many columns there are would depend on the number of rows."""
    for key in keys[1:]:
        ends = (key.start, key.stop, key.step) if isinstance(key, slice) else (key,)
        if any(isinstance(end, SYMBOLIC) for end in ends):
            raise CandidateError(
                "export.index",
                "the number of rows of the batch is no place in another dimension: write the "
                "number of columns",
            )


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
                raise CandidateError("export.loop", LONG_LIST)
    if isinstance(left, int) and isinstance(right, int):
        bits = {"**": left.bit_length() * right, "<<": left.bit_length() + right}.get(sign, 0)
        if bits > 64 or max(abs(left), abs(right)) > MAX_INTEGER:
            raise CandidateError("policy.number", "integers this large are not allowed; use floats")
    return _OPERATORS[sign](left, right)


_NUMBERS = (int, float)
LONG_LIST = "a list this long is not needed; use tensors"
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


def guarded_inplace_item(op: str, value: Any, key: Any) -> Callable[[Any], None]:
    """``value[key] op= right`` as a function of ``right``; the item is read at once."""
    item, target = guarded_getitem(value, key), guarded_write(value)

    def store(right: Any) -> None:
        if isinstance(value, Tensor) and op in _INTO_TENSOR:
            target[key] = _for_place(op, item, right)
        else:
            target[key] = guarded_inplace(op, item, right)

    return store


_INTO_TENSOR: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.add, "-=": operator.sub, "*=": operator.mul, "/=": operator.truediv,
    "//=": operator.floordiv, "%=": operator.mod, "**=": operator.pow, "&=": operator.and_,
    "|=": operator.or_, "^=": operator.xor,
}  # fmt: skip
"""What is written back into a tensor: as in place, in half as many traced operations."""


def _for_place(op: str, item: Tensor, right: Any) -> Any:
    made = _INTO_TENSOR[op](item, right)
    if not torch.can_cast(made.dtype, item.dtype):
        raise CandidateError(
            "export.dtype",
            f"`{op}` into a tensor of {item.dtype} cannot keep values of {made.dtype}; convert the "
            "tensor first, such as with `.float()`",
        )
    if type(item) is Tensor:
        return _INPLACE[op](item, right)  # a run shows what torch makes of overlapping places
    return made


def guarded_is(left: Any, right: Any) -> bool:
    """``left is right`` for plain values: a trace has its own objects for tensors and sizes."""
    if any(isinstance(v, (Tensor, *SYMBOLIC)) for v in (left, right)):
        raise CandidateError(
            "policy.is",
            "`is` on a tensor or on the batch size may mean one thing in a trace and another in a "
            "run; compare values with `==`",
        )
    return left is right
