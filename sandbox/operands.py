"""What a failing expression of a candidate worked on: each operand's text and shape.

Python 3.11 knows which expression of a line is being evaluated. While a candidate is traced, every
operation is noted under the place of its expression; where one fails, its operands are looked up
by their places. Used only in the candidate's child.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

from torch import Tensor

from sandbox.policy import FILE_NAME

Place = tuple[int | None, int | None, int | None, int | None]
"""First and last line, first and last column."""
_MOST_OPERANDS = 4
_LONGEST_TEXT = 50


class Places:
    """Which traced operation each expression came to."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[CodeType, Place], Any] = {}
        self._positions: dict[CodeType, list[Place]] = {}

    def note(self, frame: FrameType, node: Any) -> None:
        """An operation was made by the expression that a frame is at."""
        self._nodes[frame.f_code, self.of(frame, frame.f_lasti)] = node

    def of(self, frame: FrameType, instruction: int) -> Place:
        """The place of the expression that an instruction belongs to."""
        code = frame.f_code
        if code not in self._positions:
            self._positions[code] = list(code.co_positions())
        return self._positions[code][instruction // 2]

    def operands(self, error: BaseException, source: str) -> list[tuple[str, list[Any]]]:
        """Text and sizes of what the failing expression worked on; empty where that is unknown."""
        found = _innermost(error)
        if found is None:
            return []
        frame, instruction = found
        expression = _at(source, self.of(frame, instruction))
        known = []
        for operand in _parts(expression)[:_MOST_OPERANDS]:
            sizes = self._sizes(frame, operand)
            text = ast.get_source_segment(source, operand)
            if sizes is not None and text is not None:
                known.append((_short(text), sizes))
        return known

    def _sizes(self, frame: FrameType, operand: ast.expr) -> list[Any] | None:
        if isinstance(operand, ast.Name):
            value = frame.f_locals.get(operand.id, frame.f_globals.get(operand.id))
            return list(value.shape) if isinstance(value, Tensor) else None
        value = self._nodes.get((frame.f_code, _place(operand)))
        made = value.meta.get("val") if value is not None else None
        return list(made.shape) if isinstance(made, Tensor) else None


def _innermost(error: BaseException) -> tuple[FrameType, int] | None:
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            found = trace.tb_frame, trace.tb_lasti
        trace = trace.tb_next
    return found


def _place(node: ast.expr) -> Place:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _at(source: str, place: Place) -> ast.expr | None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr) and _place(node) == place:
            return node
    return None


def _parts(node: ast.expr | None) -> list[ast.expr]:
    """What an expression works on, those that can be tensors."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, (ast.Subscript, ast.Attribute)):
        return [node.value]
    if not isinstance(node, ast.Call):
        return []
    first = node.args[0] if node.args else None
    listed = first.elts if isinstance(first, (ast.List, ast.Tuple)) else []
    given = [*listed, *(a for a in node.args if a is not first or not listed)]
    return [node.func.value, *given] if isinstance(node.func, ast.Attribute) else given


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 3]}..."


def in_words(operands: Sequence[tuple[str, list[Any]]], shape: Callable[[list[Any]], str]) -> str:
    """Each operand with its shape, and how two of them can be lined up."""
    said = ", ".join(f"`{text}` is {shape(sizes)}" for text, sizes in operands)
    remedy = _remedy(*operands, shape=shape) if len(operands) == 2 else ""
    return f"{said}{'; ' if remedy else ''}{remedy}"


def _remedy(
    one: tuple[str, list[Any]], other: tuple[str, list[Any]], *, shape: Callable[[list[Any]], str]
) -> str:
    (a, m), (b, n) = one, other
    if not m or not n or not _same(m[0], n[0]):
        return ""  # rows are not in the same place, and lining up the rest would hide that
    if len(m) == len(n) >= 2:
        apart = [i for i in range(1, len(m)) if not _same(m[i], n[i]) and 1 not in (m[i], n[i])]
        if apart == [1]:
            pairs = shape([m[0], m[1], *n[1:]])
            return (
                f"for every pair write `{a}.unsqueeze(2)` and `{b}.unsqueeze(1)`, which go "
                f"together as {pairs}"
            )
        return ""
    short, long = (one, other) if len(m) < len(n) else (other, one)
    sizes, more = short[1], len(long[1]) - len(short[1])
    if more == 1 and all(_same(x, y) for x, y in zip(sizes, long[1], strict=False)):
        return f"write `{short[0]}.unsqueeze(-1)`, so that it goes with {shape(long[1])}"
    return ""


def _same(x: Any, y: Any) -> bool:
    """Whether two sizes are the same; sizes that depend on the batch are compared as text."""
    return str(x) == str(y)
