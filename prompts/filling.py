"""Templates of cards, filled in bounded time and memory.

A template may come with a card from somebody else, and Jinja2's sandbox keeps it from Python but
not from looping for ever or from ``'x' * 10**10``. So only what cards need is understood: values,
arithmetic and comparisons of them, ``set``, ``if``, ``for`` over ``range`` and a few filters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TURNS = 10_000
"""Numbers that all of a template's ranges give together."""
MAX_NUMBER = 10**15
_MOST_DECIMALS = 20

_UNDERSTOOD = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Assign,
    nodes.If, nodes.For, nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare,
    nodes.Operand, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Neg, nodes.Pos, nodes.Filter, nodes.Call, nodes.List,
)  # fmt: skip
_FORM = re.compile(r"%[0-9]{0,2}(\.[0-9]{1,2})?[dfgs]")  # of a number, such as "%5d" % k
_FILTERS = (
    "abs",
    "float",
    "int",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "round",
    "trim",
    "upper",
)


class FillingError(ValueError):
    """A template that is not understood or goes beyond a limit; one line."""


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        form = operator == "%" and isinstance(left, str) and _FORM.fullmatch(left)
        if not isinstance(right, int | float) or not (form or isinstance(left, int | float)):
            raise FillingError(f"{left} {operator} {right}: needs numbers")
        result = super().call_binop(context, operator, left, right)
        if not form and abs(result) > MAX_NUMBER:
            raise FillingError(f"a number beyond {MAX_NUMBER:.0e}")
        return result


_JINJA = _Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class _Ranges:
    """``range`` as a template has it."""

    def __init__(self) -> None:
        self._left = MAX_TURNS

    def __call__(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self._left -= len(numbers)
        if self._left < 0:
            raise FillingError(f"its ranges have more than {MAX_TURNS:,} numbers together")
        return numbers


def fill(source: str, values: Mapping[str, Any], limit: int) -> str:
    """The text of a template.

    Args:
        source: of the template.
        values: of its parameters: numbers, words, true and false.
        limit: characters of the text.

    Raises:
        FillingError: it is wrong, or goes beyond a limit.
    """
    for name, value in values.items():
        if not isinstance(value, str | int | float):
            raise FillingError(f"{name} must be a number, a word, true or false")
    try:
        _require_understood(_JINJA.parse(source))
        template = _JINJA.from_string(source, globals={"range": _Ranges()})
        parts, left = [], limit
        for part in template.generate(values):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise FillingError(f"it writes more than {limit:,} characters")
        return "".join(parts)
    except jinja2.TemplateSyntaxError as error:
        raise FillingError(f"line {error.lineno}: {error.message}") from None
    except (jinja2.TemplateError, ArithmeticError, TypeError) as error:
        raise FillingError(str(error)) from None
    except RecursionError:
        raise FillingError("an expression is nested too deeply") from None


def _require_understood(template: nodes.Template) -> None:
    chosen_from = [f.node for f in template.find_all(nodes.Filter) if f.name in ("min", "max")]
    for node in template.find_all(nodes.Node):
        known = isinstance(node, _UNDERSTOOD)
        if isinstance(node, nodes.For):
            known = isinstance(node.iter, nodes.Call) and not node.recursive
        elif isinstance(node, nodes.Call):
            known = isinstance(node.node, nodes.Name) and node.node.name == "range"
        elif isinstance(node, nodes.Assign):
            known = isinstance(node.target, nodes.Name) and node.target.name != "range"
        elif isinstance(node, nodes.Filter):
            known = node.name in _FILTERS and not node.kwargs and all(map(_is_small, node.args))
        elif isinstance(node, nodes.List):
            known = any(node is one for one in chosen_from)  # lists of lists could double for ever
        if not known:
            what = getattr(node, "name", type(node).__name__.lower())
            raise FillingError(
                f"line {node.lineno}: '{what}' is not understood in a card's template, which has "
                f"values, arithmetic, set, if, for over range(...) and {', '.join(_FILTERS)}"
            )


def _is_small(argument: nodes.Node) -> bool:
    if not isinstance(argument, nodes.Const):
        return False
    value = argument.value
    return isinstance(value, str) or (isinstance(value, int) and abs(value) <= _MOST_DECIMALS)
