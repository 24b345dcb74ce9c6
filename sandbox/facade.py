"""What a candidate can reach at run time: named functions, guarded values, few builtins.

Used only in the candidate's child.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional
from RestrictedPython.Guards import guarded_iter_unpack_sequence, guarded_unpack_sequence
from torch import Tensor

from sandbox import names
from sandbox.guards import (
    LONG_LIST,
    MAX_LENGTH,
    CandidateError,
    Namespace,
    guarded_getattr,
    guarded_getitem,
    guarded_inplace,
    guarded_inplace_item,
    guarded_is,
    guarded_operator,
    guarded_write,
    wrap,
)
from sandbox.helpers import HELPERS, pairwise_distance
from sandbox.policy import FILE_NAME

MAX_ITERATIONS = 20_000
"""Loop iterations of one candidate, over all its loops."""


def _where(*args: Any, **kwargs: Any) -> Any:
    if len(args) + len(kwargs) != 3:
        raise CandidateError(
            "export.data_dependent",
            "`torch.where(mask)` with one argument has a size that depends on values; give it "
            "three: torch.where(mask, a, b)",
        )
    return torch.where(*args, **kwargs)


def _cdist(a: Any, b: Any, p: float = 2.0, **other: Any) -> Any:
    if p != 2 or other:
        raise CandidateError(
            "export.arguments",
            "`torch.cdist` is the Euclidean distance here: torch.cdist(a, b); steps on a grid are "
            "(a.unsqueeze(2) - b.unsqueeze(1)).abs().sum(dim=3)",
        )
    return pairwise_distance(a, b)


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
        for value in args:
            _refuse_order(value)
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
        for value in args:
            _refuse_order(value)
        made = kind(*args)
        if len(made) > MAX_LENGTH:
            raise CandidateError("export.loop", LONG_LIST)
        return made

    return make


def _iterate(value: Any, budget: _Budget) -> Iterator[Any]:
    _refuse_rows(value)
    _refuse_order(value)
    for item in value:
        budget.spend()
        yield item


def _no_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """A builtin that iterates over its arguments, but never over the rows of the batch."""

    def over(*args: Any, **kwargs: Any) -> Any:
        for value in args:
            _refuse_rows(value)
            if function is not sorted or kwargs:  # a key may leave a tie
                _refuse_order(value)
        return function(*args, **kwargs)

    return over


def _refuse_order(value: Any) -> None:
    """Refuse to go through a set of anything but numbers: its order differs between two runs."""
    if isinstance(value, (set, frozenset)) and not all(type(x) in _NUMBERS for x in value):
        raise CandidateError(
            "export.set",
            "in which order a set is gone through differs from run to run: write a list, or "
            "`sorted(...)` of it",
        )


_NUMBERS = (int, float, bool)


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
        "F", {n: wrap(f"F.{n}", getattr(torch.nn.functional, n)) for n in names.FUNCTIONAL}
    )
    neural = Namespace("torch.nn", {"functional": functional})
    members: dict[str, Any] = {
        n: wrap(f"torch.{n}", getattr(torch, n)) for n in names.TORCH_FUNCTIONS
    }
    members["where"] = _where
    members["cdist"] = wrap("torch.cdist", _cdist)
    members["tensor"] = wrap("torch.tensor", _tensor)
    members |= {n: getattr(torch, n) for n in names.TORCH_DTYPES}
    members |= {n: getattr(torch, n) for n in names.TORCH_CONSTANTS}
    members["nn"] = neural
    members["Tensor"] = _TensorType()
    members["linalg"] = Namespace(
        "torch.linalg",
        {n: wrap(f"torch.linalg.{n}", getattr(torch.linalg, n)) for n in names.LINALG},
    )
    maths = {n: _number_only(n, v) if callable(v := getattr(math, n)) else v for n in names.MATH}

    def iterate(value: Any) -> Iterator[Any]:
        return _iterate(value, budget)

    plain = {
        "abs": abs, "all": all, "any": any, "divmod": divmod, "pow": _pow, "round": round,
        "len": _len, "slice": slice, "dict": dict, "set": set,
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
    types: dict[Any, tuple[type, ...]] = {
        # Plain Python has integers for sizes, and what it computes from them.
        builtins["int"]: (int, torch.SymInt, torch.SymBool),
        builtins["float"]: (float, torch.SymFloat),
        builtins["bool"]: (bool, torch.SymBool),
        builtins["list"]: (list,),
        builtins["tuple"]: (tuple,),
        builtins["range"]: (range,),
        slice: (slice,),
        dict: (dict,),
        set: (set,),
        members["Tensor"]: (Tensor,),
    }
    builtins["isinstance"] = _isinstance_of(types)
    return {
        "__builtins__": builtins,
        "__name__": FILE_NAME,
        "_getattr_": guarded_getattr,
        "_getitem_": guarded_getitem,
        "_getiter_": iterate,
        "_write_": guarded_write,
        "_inplacevar_": guarded_inplace,
        "_inplaceitem_": guarded_inplace_item,
        "_operator_": guarded_operator,
        "_is_": guarded_is,
        "_apply_": _apply,
        "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
        "_unpack_sequence_": guarded_unpack_sequence,
        **HELPERS,
        "torch": Namespace("torch", members),
        "F": functional,
        "nn": neural,
        "math": Namespace("math", maths),
        "np": Namespace("np", {n: members[t] for n, t in names.NUMPY.items()}),
    }


def _pow(base: Any, exponent: Any) -> Any:
    return guarded_operator("**", base, exponent)


def _isinstance_of(types: dict[Any, tuple[type, ...]]) -> Callable[[Any, Any], bool]:
    """``isinstance`` that knows what the facade hands out by the names of types."""

    def check(value: Any, kind: Any) -> bool:
        if isinstance(kind, tuple):
            return any(check(value, k) for k in kind)
        if not callable(kind) or kind not in types:
            known = "int, float, bool, list, tuple, dict, set, range and torch.Tensor"
            raise CandidateError("export.isinstance", f"`isinstance` knows {known} only")
        return isinstance(value, types[kind])

    return check


class _TensorType:
    """What ``torch.Tensor`` is here: a name for ``isinstance``, with which nothing can be made."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise CandidateError(
            "policy.torch", "`torch.Tensor(...)` has undefined contents; use torch.tensor"
        )
