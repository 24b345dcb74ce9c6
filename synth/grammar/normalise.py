"""A source in the grammar's own layout."""

from __future__ import annotations

import ast


def normalise(source: str) -> str:
    """The same program without comments, docstrings, annotations, assertions and other imports.

    For sources of our own only: it parses what it is given, which is not done to a model's reply
    outside the sandbox.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = _Plain().visit(ast.parse(source))
    code = ast.unparse(ast.fix_missing_locations(tree))
    uses_f = any(isinstance(n, ast.Name) and n.id == "F" for n in ast.walk(tree))
    uses_math = any(isinstance(n, ast.Name) and n.id == "math" for n in ast.walk(tree))
    head = "import torch\n"
    head += "import torch.nn.functional as F\n" if uses_f else ""
    head += "import math\n" if uses_math else ""
    return head + code.lstrip("\n") + "\n"


class _Plain(ast.NodeTransformer):
    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        plain = ast.Assign([node.target], node.value)
        return self.visit(ast.copy_location(plain, node))
