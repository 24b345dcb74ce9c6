"""What is left out of a source, and that it changes nothing.

Examples and tests behind the last function are never run here, nor are annotations and assertions.
Plain Python runs them: where one could change what a function computes, the source is refused.
"""

from __future__ import annotations

import ast
import itertools
import symtable
from collections.abc import Iterator, Sequence

from sandbox.findings import Finding

_REACHING = set("globals locals vars exec eval compile setattr delattr __import__".split())
_PLAIN_ATTRIBUTES = {"__doc__", "__file__", "__name__", "__version__"}
_MAIN = ("__name__ == '__main__'", "'__main__' == __name__")
_FIXED = (
    ast.Constant, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.operator,
    ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip


def drop_what_follows(tree: ast.Module, code: str) -> list[Finding]:
    """Leave out examples and tests behind the last function; constants stay.

    Args:
        tree: the source, which is changed.
        code: its text.

    Returns:
        What was left out and could change what a function computes.
    """
    last = max((i for i, n in enumerate(tree.body) if isinstance(n, ast.FunctionDef)), default=None)
    if last is None:
        return []
    behind = tree.body[last + 1 :]
    del tree.body[last + 1 :]
    try:
        read = _names_of_functions(tree, code)
    except SyntaxError as error:
        message = f"does not compile: {str(error.msg)[:200]}"
        return [Finding("policy.syntax", message, error.lineno)] if behind else []
    kept: list[ast.stmt] = []
    for node in reversed(behind):
        if _is_constant(node, read):
            kept.insert(0, node)
            read |= set(_names_in(node))
    tree.body += kept
    dropped = [n for n in behind if n not in kept and not is_main(n)]
    return list(_changing(tree, read, dropped)) if dropped else []


def is_main(node: ast.stmt) -> bool:
    """Whether it is a block that runs only where the source is run as a program."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in _MAIN and not node.orelse


def _is_constant(node: ast.stmt, read: set[str]) -> bool:
    """Whether a function may need it: a class, an import, or a value that nothing computes."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return isinstance(node, (ast.ClassDef, ast.Import, ast.ImportFrom))
    if any(isinstance(n, (ast.Call, ast.NamedExpr)) for n in ast.walk(node)):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(name in read for t in targets for name in _names_in(t))


_BEHIND = (
    "stands behind the last function, where examples and tests are left out, but plain Python "
    "would let it change what a function computes; put it before the functions, or leave it out"
)


def _changing(tree: ast.Module, read: set[str], dropped: Sequence[ast.stmt]) -> Iterator[Finding]:
    functions = _functions_in(tree)
    shared = _aliases(read - functions, [*tree.body, *dropped])
    writers: set[str] = set()
    if shared or not all(_is_fixed(d, set()) for d in _defaults_in(tree)):
        writers = _writers(tree, shared)
    for statement in dropped:
        found = (_change(n, read, shared, writers) for n in ast.walk(statement))
        yield from itertools.islice(filter(None, found), 1)


def _defaults_in(tree: ast.AST) -> Iterator[ast.expr]:
    """What parameters of functions are without an argument: made once, for all calls."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from node.args.defaults
            yield from filter(None, node.args.kw_defaults)


def _writers(tree: ast.Module, shared: set[str]) -> set[str]:
    """The functions of a source that may write into what outlives their call, or hand it out."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    found = {f.name for f in functions if _may_write(f, shared)}
    while more := {f.name for f in functions if found & set(_names_in(f))} - found:
        found |= more
    return found


def _may_write(function: ast.FunctionDef, shared: set[str]) -> bool:
    own = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and _bound(n)}
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    kept = [d for d in _defaults_in(function) if not _is_fixed(d, set())]
    lasting = shared | ({a.arg for a in given} if kept else set())
    for node in ast.walk(function):
        named_expression = isinstance(node, ast.NamedExpr)
        if _writes(node) and not named_expression and _root(node) not in own:
            return True
        if isinstance(node, ast.Call) and _root(node.func) not in own:
            named = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if named in _MUTATING or any(k.arg in ("out", "inplace") for k in node.keywords):
                return True
        handed = node.iter if isinstance(node, (ast.For, ast.comprehension)) else None
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.Return)):
            handed = node.value
        whole = isinstance(node, (ast.For, ast.comprehension)) and isinstance(handed, ast.Name)
        if isinstance(handed, _PASSED_ON) and not whole and lasting & set(_names_in(handed)):
            return True
    return False


_MUTATING = set("append clear extend insert pop remove reverse setdefault sort update".split())
_PASSED_ON = (
    ast.Name, ast.Attribute, ast.Subscript, ast.IfExp, ast.BoolOp, ast.List, ast.Tuple, ast.Dict,
)  # fmt: skip
"""Expressions whose value may be, or hold, one of their parts itself."""


def _root(node: ast.AST) -> str:
    """The name that ``a.b[0].c`` begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _change(node: ast.AST, read: set[str], shared: set[str], writers: set[str]) -> Finding | None:
    """What a node that is left out would change, if anything."""
    line = getattr(node, "lineno", None)
    name = next((n for n in _bound(node) if n in read or n == "*"), None)
    if name is not None:
        return Finding("policy.behind", f"`{name}` is bound anew: this {_BEHIND}", line)
    if isinstance(node, ast.Name) and node.id in shared:
        message = f"`{node.id}` may be written into: this {_BEHIND}"
        return Finding("policy.behind", message, line)
    if isinstance(node, ast.Name) and node.id in writers:
        message = f"`{node.id}` may write into what other calls read: this {_BEHIND}"
        return Finding("policy.behind", message, line)
    return Finding("policy.behind", f"this {_BEHIND}", line) if _reaches_far(node) else None


def _functions_in(tree: ast.Module) -> set[str]:
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


def _names_of_functions(tree: ast.Module, code: str) -> set[str]:
    """The functions of a source and the global names that they read, builtins included.

    Raises:
        SyntaxError: the source does not compile.
    """
    places = {(n.name, n.lineno) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    level = [symtable.symtable(code, "<candidate>", "exec")]
    found = _functions_in(tree) | {n for d in _defaults_in(tree) for n in _names_in(d)}
    inside: list[symtable.SymbolTable] = []
    while level:
        table = level.pop()
        of_function = (table.get_name(), table.get_lineno()) in places
        (inside if of_function else level).extend([table] if of_function else table.get_children())
    while inside:
        table = inside.pop()
        found |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        inside.extend(table.get_children())
    return found


def _bound(node: ast.AST) -> list[str]:
    """The names that a node binds, in whatever scope."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.alias):
        return [node.asname or node.name.partition(".")[0]]
    if isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return [node.name] if node.name else []
    if isinstance(node, ast.MatchMapping):
        return [node.rest] if node.rest else []
    return []


def _reaches_far(node: ast.AST) -> bool:
    """Whether it may change names and modules by other ways than by binding a name."""
    if isinstance(node, ast.Name):
        return node.id in _REACHING
    if isinstance(node, ast.Attribute):
        hidden = node.attr.startswith("__") and node.attr not in _PLAIN_ATTRIBUTES
        return hidden or not isinstance(node.ctx, ast.Load) or node.attr.startswith("set_default")
    return False


def _aliases(read: set[str], body: Sequence[ast.stmt]) -> set[str]:
    """The names among those read that may hold lists or tensors, and all made of them."""
    bindings: list[tuple[set[str], ast.AST]] = []
    for node in (n for statement in body for n in _outside_functions(statement)):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bindings.append(({n for t in targets for n in _names_in(t)}, node.value))
        elif isinstance(node, (ast.For, ast.comprehension)):
            bindings.append((set(_names_in(node.target)), node.iter))
    fixed = set().union(*(made for made, _ in bindings)) if bindings else set()
    while loose := {n for made, of in bindings for n in made if not _is_fixed(of, fixed)} & fixed:
        fixed -= loose
    found = {n for made, _ in bindings for n in made} & read - fixed
    while more := {n for made, of in bindings for n in made if found & set(_names_in(of))} - found:
        found |= more
    return found


def _outside_functions(statement: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(statement, ast.FunctionDef):
        return iter(())
    return ast.walk(statement)


def _is_fixed(value: ast.AST, fixed: set[str]) -> bool:
    """Whether a value is a number, a text or a tuple of such."""
    return all(
        isinstance(n, _FIXED) or (isinstance(n, ast.Name) and n.id in fixed)
        for n in ast.walk(value)
    )


def _names_in(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


# ---- assertions and annotations ------------------------------------------------------------------

_ASKING = set("all any dim isfinite isinf isinstance isnan len max min numel size sum".split())
_KEYWORDS = {"dim", "keepdim"}


def only_looks(node: ast.AST, own: set[str]) -> bool:
    """Whether nothing in an assertion may change a value; a call of an unknown name may.

    Args:
        node: the expression.
        own: the names that the source binds, which may be called like one of ours.
    """
    return all(_looks(n, own) for n in ast.walk(node))


def _looks(node: ast.AST, own: set[str]) -> bool:
    if not isinstance(node, ast.Call):
        return not _writes(node)
    called = node.func
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    known = name in _ASKING and not (isinstance(called, ast.Name) and name in own)
    return known and all(k.arg in _KEYWORDS for k in node.keywords)


def may_rebind(annotation: ast.AST) -> bool:
    """Whether an annotation, which plain Python evaluates, may change what a function computes."""
    return any(isinstance(n, ast.Call) or _writes(n) for n in ast.walk(annotation))


def _writes(node: ast.AST) -> bool:
    """Whether an expression writes: by ``:=``, or a comprehension into an element, as in
    ``[0 for w[0] in values]``."""
    into = isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load)
    return into or isinstance(node, ast.NamedExpr)
