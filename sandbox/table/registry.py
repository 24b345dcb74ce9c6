"""How an operation enters the table: a rule whose annotations are the operation's schema.

A rule is a function of the operation's arguments, annotated with the kinds below, that returns the
type of the result (or of each result) or raises :class:`GraphError`. Names of parameters are
ATen's, so that they can be given by keyword; an argument of another kind than the annotation is
refused before the rule sees it.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

from sandbox.graph import Batch, DTypeArg, GraphError, Ref
from sandbox.table.tensors import DType, TensorType, refuse

Family = Literal[
    "pointwise",  # one output element from the broadcast input elements at its place
    "structural",  # moves elements about, computes nothing
    "reduction",  # folds dimensions
    "normalise",  # softmax and its kind: along one dimension, shape kept
    "matmul",
    "indexed",  # reads or writes at computed places
    "create",  # from sizes and numbers
]

Results = TensorType | tuple[TensorType, ...]

Number = Annotated[float, "number"]
"""A plain number, infinities and NaN included."""
Finite = Annotated[float, "finite"]
"""A plain number that is finite."""
Whole = Annotated[int, "whole"]
"""A plain integer."""
Wholes = Annotated[tuple[int, ...], "wholes"]
Sizes = Annotated[tuple["int | Batch", ...], "sizes"]
"""Sizes of a tensor: integers and multiples of the batch size."""
Size = Annotated["int | Batch", "size"]
End = Annotated["float | Batch", "end"]
"""An end of a range; the batch size is told apart for its message."""
Operand = Annotated["TensorType | float", "operand"]
"""A tensor or a plain number."""
Tensors = Annotated[tuple[TensorType, ...], "tensors"]
Indices = Annotated[tuple["TensorType | None", ...], "indices"]
Cast = Annotated[DType, "dtype"]
Text = Annotated[str, "text"]


@dataclass(frozen=True)
class _Parameter:
    name: str
    kind: str
    optional: bool
    required: bool
    by_keyword_only: bool
    default: Any


@dataclass(frozen=True)
class OpSpec:
    """An operation of the table."""

    family: Family
    cost: int
    """Floating-point operations for one element of the output, roughly."""
    is_view: bool
    """Whether the result shares its operand's memory."""
    rule: Callable[..., Results]
    parameters: tuple[_Parameter, ...]

    def results(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        type_of: Callable[[Ref], TensorType],
    ) -> tuple[TensorType, ...]:
        """The types of the results.

        Raises:
            GraphError: the arguments do not fit the operation.
        """
        made = self.rule(**self._bound(args, kwargs, type_of))
        return (made,) if isinstance(made, TensorType) else made

    def positioned(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The same arguments with none given by keyword that has a position.

        Raises:
            ValueError: an argument before one of them has neither been given nor a default.
        """
        placed, left = list(args), dict(kwargs)
        places = [p for p in self.parameters if not p.by_keyword_only]
        last = max((k for k, p in enumerate(places) if p.name in left), default=-1)
        for p in places[len(placed) : last + 1]:
            if p.name not in left and p.required:
                raise ValueError(f"no argument '{p.name}'")
            placed.append(left.pop(p.name, p.default))
        return placed, left

    def _bound(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], type_of: Callable[[Ref], TensorType]
    ) -> dict[str, Any]:
        places = [p for p in self.parameters if not p.by_keyword_only]
        if len(args) > len(places):
            raise refuse(f"{len(args)} arguments, where it takes {len(places)}")
        given: dict[str, Any] = {p.name: a for p, a in zip(places, args, strict=False)}
        for name, arg in kwargs.items():
            if name in given or all(p.name != name for p in self.parameters[1:]):
                raise refuse(f"no keyword '{name}'")
            given[name] = arg
        bound: dict[str, Any] = {}
        for p in self.parameters:
            if p.name not in given:
                if p.required:
                    raise refuse(f"no argument '{p.name}'")
            elif given[p.name] is None:
                if not p.optional:
                    raise refuse(f"'{p.name}' must be given")
                bound[p.name] = None
            else:
                bound[p.name] = _KINDS[p.kind](given[p.name], p.name, type_of)
        return bound


OPS: dict[str, OpSpec] = {}
"""By full name, such as ``aten.add.Tensor``."""


_Rule = TypeVar("_Rule", bound=Callable[..., Results])


def operation(
    names: str, family: Family, *, cost: int = 1, is_view: bool = False
) -> Callable[[_Rule], _Rule]:
    """Enter a rule into the table for operations, named without their ``aten.`` prefix."""

    def enter(rule: _Rule) -> _Rule:
        parameters = _parameters(rule)
        for name in names.split():
            assert f"aten.{name}" not in OPS, name
            own = tuple(_of_overload(name, p) for p in parameters)
            OPS[f"aten.{name}"] = OpSpec(family, cost, is_view, rule, own)
        return rule

    return enter


_EITHER = (
    "add.Tensor sub.Tensor mul.Tensor div.Tensor div.Tensor_mode floor_divide.default"
).split()
"""Overloads for tensors that take plain numbers as well."""
_NUMBERS = ("clamp_min.default", "clamp_max.default")


def _of_overload(name: str, p: _Parameter) -> _Parameter:
    """A parameter of a rule that overloads share, as one of them takes it."""
    if p.kind != "operand" or name in _EITHER:
        return p
    overload = name.partition(".")[2]
    takes_number = overload.startswith("Scalar") or name in _NUMBERS
    if overload in ("ScalarOther", "ScalarSelf"):
        takes_number = p.name == overload.removeprefix("Scalar").lower()
    return replace(p, kind="number" if takes_number else "tensor")


def _parameters(rule: Callable[..., Results]) -> tuple[_Parameter, ...]:
    hints = typing.get_type_hints(rule, include_extras=True)
    found = []
    for name, parameter in inspect.signature(rule).parameters.items():
        hint = hints[name]
        options = [hint] if typing.get_origin(hint) is Annotated else typing.get_args(hint)
        kinds = [h for h in options or [hint] if h is not type(None)]
        found.append(
            _Parameter(
                name,
                _kind_of(kinds[0]),
                type(None) in options,
                parameter.default is parameter.empty,
                parameter.kind is parameter.KEYWORD_ONLY,
                parameter.default,
            )
        )
    return tuple(found)


def _kind_of(hint: Any) -> str:
    if typing.get_origin(hint) is Annotated:
        return str(typing.get_args(hint)[1])
    return {TensorType: "tensor", bool: "flag"}[hint]


# ---- kinds of arguments --------------------------------------------------------------------------

_TypeOf = Callable[[Ref], TensorType]
_Check = Callable[[Any, str, _TypeOf], Any]


def _tensor(arg: Any, name: str, type_of: _TypeOf) -> TensorType:
    if not isinstance(arg, Ref):
        raise refuse(f"'{name}' must be a tensor")
    return type_of(arg)


def _number(arg: Any, name: str, type_of: _TypeOf) -> float:
    if type(arg) not in (int, float, bool):
        raise _no_number(arg, name)
    return arg


def _no_number(arg: Any, name: str) -> GraphError:
    if isinstance(arg, Batch):
        return GraphError(
            "it uses the batch size as a number; every row of the batch is a different moment, so "
            "treat every row alike",
            "graph.batch",
        )
    return refuse(f"'{name}' must be a plain number")


def _finite(arg: Any, name: str, type_of: _TypeOf) -> float:
    number = _number(arg, name, type_of)
    if not math.isfinite(number):
        raise refuse(f"'{name}' must be finite")
    return number


def _whole(arg: Any, name: str, type_of: _TypeOf) -> int:
    if type(arg) is not int:
        raise _no_number(arg, name)
    return arg


def _flag(arg: Any, name: str, type_of: _TypeOf) -> bool:
    if type(arg) is not bool:
        raise refuse(f"'{name}' must be true or false")
    return arg


def _list(arg: Any, name: str) -> tuple[Any, ...]:
    if type(arg) is not tuple:
        raise refuse(f"'{name}' must be a list")
    return arg


def _wholes(arg: Any, name: str, type_of: _TypeOf) -> tuple[int, ...]:
    return tuple(_whole(a, name, type_of) for a in _list(arg, name))


def _size(arg: Any, name: str, type_of: _TypeOf) -> int | Batch:
    if isinstance(arg, Batch):
        if arg.c0 or arg.c1 < 1:
            raise GraphError(
                f"a size of {arg.c1} * B + {arg.c0}: rows must stay rows, so a size is a multiple "
                "of the batch size or a fixed number",
                "graph.batch",
            )
        return arg
    return _whole(arg, name, type_of)


def _sizes(arg: Any, name: str, type_of: _TypeOf) -> tuple[int | Batch, ...]:
    return tuple(_size(a, name, type_of) for a in _list(arg, name))


def _end(arg: Any, name: str, type_of: _TypeOf) -> float | Batch:
    return arg if isinstance(arg, Batch) else _finite(arg, name, type_of)


def _operand(arg: Any, name: str, type_of: _TypeOf) -> TensorType | float:
    return type_of(arg) if isinstance(arg, Ref) else _number(arg, name, type_of)


def _tensors(arg: Any, name: str, type_of: _TypeOf) -> tuple[TensorType, ...]:
    listed = _list(arg, name)
    if not listed:
        raise refuse(f"'{name}' must hold a tensor")
    return tuple(_tensor(a, name, type_of) for a in listed)


def _indices(arg: Any, name: str, type_of: _TypeOf) -> tuple[TensorType | None, ...]:
    return tuple(None if a is None else _tensor(a, name, type_of) for a in _list(arg, name))


def _dtype(arg: Any, name: str, type_of: _TypeOf) -> DType:
    if not isinstance(arg, DTypeArg):
        raise refuse(f"'{name}' must be a dtype: float, int64 or bool")
    return arg.name


def _text(arg: Any, name: str, type_of: _TypeOf) -> str:
    if type(arg) is not str:
        raise refuse(f"'{name}' must be a text")
    return arg


_KINDS: dict[str, _Check] = {
    "tensor": _tensor,
    "number": _number,
    "finite": _finite,
    "whole": _whole,
    "flag": _flag,
    "wholes": _wholes,
    "size": _size,
    "sizes": _sizes,
    "end": _end,
    "operand": _operand,
    "tensors": _tensors,
    "indices": _indices,
    "dtype": _dtype,
    "text": _text,
}
