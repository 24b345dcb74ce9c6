"""Harmless habits of writers, rewritten into what the policy accepts, before anything is refused.

Imports of what is pre-bound are dropped, annotations stripped, examples
and tests behind the last function left out.
"""

from __future__ import annotations

import ast
from typing import Any

from sandbox import names
from sandbox.findings import Finding

UNUSED = "unused_value"
_SAID_ALREADY = ("F = torch.nn.functional", "F = nn.functional", "nn = torch.nn")
_MAIN = ("__name__ == '__main__'", "'__main__' == __name__")

_IMPORTS = {
    "torch": "torch",
    "torch.nn.functional": "F",
    "torch.nn": "nn",
    "math": "math",
    "numpy": "np",
    "typing": None,
    "__future__": None,
}


_MODULES = {"torch": "torch", "math": "math", "torch.nn.functional": "F"}
"""Modules whose members may be imported by name, and what those are called here."""


class Normaliser(ast.NodeTransformer):
    """Rewrite what is harmless into what the policy accepts, before anything is refused."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def visit_Import(self, node: ast.Import) -> Any:
        bindings = []
        for alias in node.names:
            known = _IMPORTS.get(alias.name, "")
            if known == "":
                self._refuse_import(alias.name, node.lineno)
            elif known and alias.asname and alias.asname != known:
                value = ast.Name(known, ast.Load())
                bindings.append(ast.Assign([ast.Name(alias.asname, ast.Store())], value))
        return [ast.copy_location(b, node) for b in bindings] or ast.copy_location(ast.Pass(), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        module = node.module or ""
        bindings = []
        for alias in node.names:
            if module in ("typing", "__future__") and not node.level:
                continue
            if module == "torch.nn" and alias.name == "functional":
                source: ast.expr = ast.Name("F", ast.Load())
            elif module == "torch" and alias.name == "nn":
                source = ast.Name("nn", ast.Load())
            elif module in _MODULES and alias.name != "*" and not node.level:
                if module == "torch" and alias.name == "Tensor":
                    continue
                root = ast.Name(_MODULES[module], ast.Load())
                source = ast.Attribute(root, alias.name, ast.Load())
            else:
                self._refuse_import(module or ".", node.lineno)
                continue
            target = alias.asname or alias.name
            if not (isinstance(source, ast.Name) and source.id == target):
                bindings.append(ast.Assign([ast.Name(target, ast.Store())], source))
        return [ast.copy_location(b, node) for b in bindings] or ast.copy_location(ast.Pass(), node)

    def _refuse_import(self, name: str, line: int) -> None:
        hint = "write it with torch functions" if name.startswith("numpy") else "leave it out"
        message = (
            f"`import {name[:60]}` is not allowed; torch, F and math are there already: {hint}"
        )
        self.findings.append(Finding("policy.import", message, line))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        if node.decorator_list:
            message = "decorators are not allowed; leave them out"
            line = node.decorator_list[0].lineno
            self.findings.append(Finding("policy.decorator", message, line))
            node.decorator_list = []
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for arg in [*every, node.args.vararg, node.args.kwarg]:
            if arg is not None:
                arg.annotation = None
                if arg.arg == "_":
                    arg.arg = UNUSED
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> Any:
        """``_``, the usual name for what is not used, is renamed; no other such name is."""
        if node.id == "_":
            node.id = UNUSED
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:
        """``F = torch.nn.functional`` says what is so already."""
        if ast.unparse(node) in _SAID_ALREADY:
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        """A ``if __name__ == "__main__":`` block would not run, and is left out."""
        if ast.unparse(node.test) in _MAIN and not node.orelse:
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Assert(self, node: ast.Assert) -> Any:
        """Assertions on shapes are common and left out: the sandbox checks shapes itself."""
        if not all(map(_changes_nothing, ast.walk(node))):
            message = (
                "assertions are left out here, so they may change nothing: take the call or the "
                "assignment out of it"
            )
            self.findings.append(Finding("policy.assert", message, node.lineno))
        return ast.copy_location(ast.Pass(), node)


_LOOKING = {*names.BUILTINS, *names.TORCH_FUNCTIONS, *names.TENSOR_METHODS, *names.MATH}
_LOOKING |= {"copy", "count", "get", "index", "items", "keys", "values"}


def _changes_nothing(node: ast.AST) -> bool:
    """Whether an expression is none that may change a value; a call of an unknown name may."""
    if isinstance(node, ast.Call):
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        return name in _LOOKING and not name.endswith("_")
    return not isinstance(node, ast.NamedExpr)


def drop_what_follows(tree: ast.Module) -> None:
    """Leave out examples and tests behind the last function; constants stay."""
    last = max((i for i, n in enumerate(tree.body) if isinstance(n, ast.FunctionDef)), default=None)
    if last is not None:
        tree.body[last + 1 :] = [n for n in tree.body[last + 1 :] if _is_constant(n)]


def _is_constant(node: ast.stmt) -> bool:
    """Whether a function may need it: a class, an import, or a value that nothing computes."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return isinstance(node, (ast.ClassDef, ast.Import, ast.ImportFrom))
    return not any(isinstance(n, ast.Call) for n in ast.walk(node))
