"""Mistakes of writers whose meaning is certain, mended in the syntax tree.

Only a source that cannot be exported as it is is mended, so that nothing which works is read
otherwise; and only where its meaning does not hang on what an expression changes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from sandbox import names

_OPERATORS: dict[type[ast.boolop], type[ast.operator]] = {ast.And: ast.BitAnd, ast.Or: ast.BitOr}
_PLAIN_CALLS = {"_getattr_", "_getitem_", "abs", "float", "int", "len", "range", "round"}
"""Functions that change nothing, beside the helpers, as the policy has rewritten their calls."""
_PLAIN_MEMBERS = {
    n
    for listed in (names.TENSOR_METHODS, names.TENSOR_ATTRIBUTES, names.TORCH_FUNCTIONS,
                   names.FUNCTIONAL, names.LINALG, names.MATH, ("nn", "functional", "linalg"))
    for n in listed
    if not n.endswith("_")
}  # fmt: skip


class JoinedConditions(ast.NodeTransformer):
    """``a > 0 and b > 0`` as ``(a > 0) & (b > 0)``, and ``0 < a < 1`` likewise.

    Of numbers both are the same; of tensors only the second has a meaning. Conditions of ``if``,
    ``while`` and comprehensions stay as they are: there a number is needed.
    """

    def visit_If(self, node: ast.If) -> ast.AST:
        node.body = [self.visit(n) for n in node.body]
        node.orelse = [self.visit(n) for n in node.orelse]
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.iter = self.visit(node.iter)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if not all(map(_is_condition, node.values)):
            return node
        return _joined(node.values, _OPERATORS[type(node.op)](), node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        plain = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
        simple = all(isinstance(n, (ast.Name, ast.Constant)) for n in node.comparators[:-1])
        if len(node.ops) < 2 or not simple or not all(isinstance(o, plain) for o in node.ops):
            return node
        sides = [node.left, *node.comparators]
        pairs: list[ast.expr] = [
            ast.copy_location(ast.Compare(a, [op], [b]), node)
            for a, op, b in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return _joined(pairs, ast.BitAnd(), node)


def _is_condition(node: ast.expr) -> bool:
    """Whether it compares, or joins what compares, and calls nothing that a joint would skip."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
        return _is_condition(node.left) and _is_condition(node.right)
    calls = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)
    return isinstance(node, ast.Compare) and not any(isinstance(n, calls) for n in ast.walk(node))


def _joined(parts: list[ast.expr], operator: ast.operator, at: ast.expr) -> ast.expr:
    result = parts[0]
    for part in parts[1:]:
        result = ast.copy_location(ast.BinOp(result, operator, part), at)
    return result


def free_helpers(entry: ast.FunctionDef) -> list[str]:
    """Rename variables that are named like a helper which the entry calls, too.

    ``nearest = nearest(distance)`` makes the helper a variable that has no value yet. One that may
    hold a function is left alone.

    Returns:
        The helpers.
    """
    of_calls = {id(n.func): n.func.id for n in ast.walk(entry)
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
    found = [n for n in ast.walk(entry) if isinstance(n, ast.Name)]
    stored = {n.id for n in found if isinstance(n.ctx, ast.Store)}
    given = {a.arg for a in ast.walk(entry) if isinstance(a, ast.arg)}
    taken = stored | given | {n.id for n in found}
    may_call = {n for n in stored if not _holds_tensors(entry, n)}
    shadowed = sorted(set(of_calls.values()) & stored & set(names.HELPERS) - given - may_call)
    for helper in shadowed:
        free = next(
            n for n in (f"{helper}_{k}" for k in range(1, len(taken) + 2)) if n not in taken
        )
        for node in found:
            if node.id == helper and id(node) not in of_calls:
                node.id = free
    return shadowed


def _holds_tensors(entry: ast.FunctionDef, name: str) -> bool:
    """Whether a variable is only ever set to what its helper gives, or to what is computed."""
    assigned = [n for n in ast.walk(entry) if isinstance(n, ast.Assign)]
    values = [n.value for n in assigned if any(_is_name(t, name) for t in n.targets)]
    sets = [n for n in ast.walk(entry) if _is_name(n, name) and isinstance(n.ctx, ast.Store)]  # type: ignore[attr-defined]
    return len(values) == len(sets) and all(
        (isinstance(v, ast.Call) and _is_name(v.func, name))
        or isinstance(v, (ast.BinOp, ast.UnaryOp, ast.Compare))
        for v in values
    )


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def add_forgotten(
    entry: ast.FunctionDef, tree: ast.Module, views: Mapping[str, str], given: set[str | None]
) -> list[str]:
    """Add what the entry reads under its documented name, and nothing sets, to its parameters.

    ``B``, the documented name of the number of rows, is set at its beginning.

    Args:
        entry: the credit function, which is changed.
        tree: the whole source.
        views: names of the task's views.
        given: what its parameters stand for.

    Returns:
        The names that were added.
    """
    a = entry.args
    if a.vararg or a.kwarg or a.kwonlyargs or a.posonlyargs:
        return []
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    bound = {n.id for n in found if not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    read = {n.id for n in ast.walk(entry) if isinstance(n, ast.Name)} - bound
    if "B" in read and a.args:
        rows = ast.parse(f"B = {a.args[0].arg}.shape[0]").body[0]
        for node in ast.walk(rows):
            ast.copy_location(node, entry.body[0])
        entry.body.insert(0, rows)
    added = [name for name in ("agent_qs", "state", *views) if name in read and name not in given]
    for name in added:
        at = 0 if name == "agent_qs" else len(a.args) - len(a.defaults)
        a.args.insert(at, ast.copy_location(ast.arg(name), entry))
    return list(dict.fromkeys(added))


def drop_unused(entry: ast.FunctionDef, tree: ast.Module) -> list[str]:
    """Leave out assignments whose variables nothing reads, though computing them may fail.

    Args:
        entry: the credit function, as the policy has rewritten it; it is changed.
        tree: the whole source.

    Returns:
        The variables.
    """
    every = list(ast.walk(tree))
    bound = {n.id for n in every if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in every if isinstance(n, ast.arg)}
    bound |= {n.name for n in every if isinstance(n, ast.FunctionDef)}
    removable = {
        id(n): n for n in ast.walk(entry) if isinstance(n, ast.Assign) and _is_removable(n, bound)
    }
    live = set(_read_outside(entry, removable))
    while more := {
        name
        for n in removable.values()
        if _target(n) in live
        for name in _read_in(n.value)
    } - live:  # fmt: skip
        live |= more
    unused = {key: _target(n) for key, n in removable.items() if _target(n) not in live}
    if unused:
        _Without(set(unused)).visit(entry)
    return sorted(set(unused.values()))


class _Without(ast.NodeTransformer):
    def __init__(self, numbers: set[int]) -> None:
        self._numbers = numbers

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return ast.copy_location(ast.Pass(), node) if id(node) in self._numbers else node


def _is_removable(node: ast.Assign, bound: set[str]) -> bool:
    named = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    return named and _changes_nothing(node.value, bound)


def _changes_nothing(node: ast.expr, bound: set[str]) -> bool:
    """Whether computing an expression changes no value; what is not known to may.

    Args:
        node: the expression, as the policy has rewritten it.
        bound: names that the source gives a meaning of its own.
    """
    plain = (
        ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword,
        ast.Tuple, ast.List, ast.Slice, ast.Subscript, ast.IfExp,
        ast.operator, ast.unaryop, ast.cmpop, ast.expr_context,
    )  # fmt: skip
    callable_ = (_PLAIN_CALLS | set(names.HELPERS)) - bound
    for n in ast.walk(node):
        if not isinstance(n, plain):
            return False
        if not isinstance(n, ast.Call):
            continue
        called = n.func
        if isinstance(called, ast.Call) and _is_name(called.func, "_getattr_"):
            member = called.args[1] if len(called.args) > 1 else None
            if not (isinstance(member, ast.Constant) and member.value in _PLAIN_MEMBERS):
                return False
        elif not (isinstance(called, ast.Name) and called.id in callable_):
            return False
    return True


def _target(node: ast.Assign) -> str:
    target = node.targets[0]
    assert isinstance(target, ast.Name)
    return target.id


def _read_outside(node: ast.AST, left_out: Mapping[int, ast.Assign]) -> Iterator[str]:
    """Names that are read in a tree, but for those assignments."""
    if id(node) in left_out:
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _read_outside(child, left_out)


def _read_in(node: ast.AST) -> Iterator[str]:
    return _read_outside(node, {})
