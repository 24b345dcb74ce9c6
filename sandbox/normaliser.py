"""Harmless habits of writers, rewritten into what the policy accepts, before anything is refused.

Imports of what is pre-bound are dropped, annotations and assertions stripped, `_` is renamed.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from typing import Any

from sandbox.findings import Finding
from sandbox.left_out import is_main, may_rebind, only_looks

UNUSED = "unused_value"
_SAID_ALREADY = ("F = torch.nn.functional", "F = nn.functional", "nn = torch.nn")

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

    def __init__(self, tree: ast.Module) -> None:
        self.findings: list[Finding] = []
        used = set(_names_of(tree))
        self._unused = next(n for n in _numbered(UNUSED) if n not in used)
        self._own = set(_bound_in(tree))

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
        self._refuse_annotation(node.returns)
        node.returns = None
        if node.decorator_list:
            message = "decorators are not allowed; leave them out"
            line = node.decorator_list[0].lineno
            self.findings.append(Finding("policy.decorator", message, line))
            node.decorator_list = []
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for arg in [*every, node.args.vararg, node.args.kwarg]:
            if arg is not None:
                self._refuse_annotation(arg.annotation)
                arg.annotation = None
                if arg.arg == "_":
                    arg.arg = self._unused
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> Any:
        """``_``, the usual name for what is not used, is renamed; no other such name is."""
        if node.id == "_":
            node.id = self._unused
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:
        """``F = torch.nn.functional`` says what is so already."""
        if ast.unparse(node) in _SAID_ALREADY:
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        """A ``if __name__ == "__main__":`` block would not run, and is left out."""
        if is_main(node):
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self._refuse_annotation(node.annotation)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Assert(self, node: ast.Assert) -> Any:
        """Assertions on shapes are common and left out: the sandbox checks shapes itself."""
        if not only_looks(node, self._own):
            message = (
                "assertions are left out here, so they may change nothing: take the call or the "
                "assignment out of it"
            )
            self.findings.append(Finding("policy.assert", message, node.lineno))
        return ast.copy_location(ast.Pass(), node)

    def _refuse_annotation(self, annotation: ast.expr | None) -> None:
        if annotation is not None and may_rebind(annotation):
            message = "annotations are left out here, so they may change nothing: leave it out"
            self.findings.append(Finding("policy.annotation", message, annotation.lineno))


def _bound_in(tree: ast.Module) -> Iterator[str]:
    """Every name that a source binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef):
            yield node.name


def _names_of(tree: ast.Module) -> Iterator[str]:
    """Every name that a source binds, reads or passes by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{n}" for n in itertools.count(2))
