"""The language wall: which Python a candidate may be written in.

Sources are normalised before they are judged (`sandbox.normaliser`), then a RestrictedPython
transformer refuses what a credit function has no use for, each refusal with a rule, a line and a
substitute. This module parses hostile text, so it runs only inside the candidate's own child.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from RestrictedPython.transformer import IOPERATOR_TO_STR, RestrictingNodeTransformer

from sandbox import names
from sandbox.binding import BindingError, add_forgotten, bind
from sandbox.extract import MAX_SOURCE_BYTES
from sandbox.findings import Finding, PolicyError
from sandbox.left_out import drop_what_follows
from sandbox.normaliser import Normaliser

MAX_NESTING = 60
FILE_NAME = "<candidate>"
ENTRY = "tfcaf"
"""What the credit function is called; a source's last function counts where none is."""


@dataclass(frozen=True)
class CheckedSource:
    """Compiled code that passed the policy, and its entry function."""

    code: CodeType
    entry: str
    parameters: tuple[str, ...]
    """What the entry is given, in its order: ``agent_qs``, ``state`` or the names of views."""
    arguments: tuple[str, ...]
    """What the entry itself calls them."""
    line: int
    notes: tuple[str, ...] = ()
    """What was taken as meant, in words."""


def check_source(
    code: str, views: Mapping[str, str] | None = None, *, forgetful: bool = False
) -> CheckedSource:
    """Judge a source and compile it.

    Args:
        code: the source.
        views: the task's views that a function may take, and each one's shape in words.
        forgetful: whether the credit function may read what it should have as parameters.

    Raises:
        PolicyError: with every finding, at most ten.
    """
    if len(code.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        size = len(code.encode("utf-8", "replace"))
        message = f"the source has {size:,} bytes; the limit is {MAX_SOURCE_BYTES:,}"
        raise PolicyError([Finding("policy.size", message)])
    if "\x00" in code:
        raise PolicyError([Finding("policy.syntax", "the source contains a NUL character")])
    try:
        tree = ast.parse(code, FILE_NAME)
    except SyntaxError as error:
        raise PolicyError([_syntax(code, error)]) from None
    except (RecursionError, MemoryError):
        raise PolicyError([Finding("policy.nesting", _NESTED)]) from None
    except ValueError as error:
        raise PolicyError(
            [Finding("policy.syntax", f"the parser gave up: {str(error)[:100]}")]
        ) from None
    _refuse_deep_nesting(tree)
    findings = drop_what_follows(tree, code)
    normaliser = Normaliser(tree)
    tree = ast.fix_missing_locations(normaliser.visit(tree))
    findings += normaliser.findings
    entry = _entry(tree)
    if entry is None and not any(isinstance(n, ast.ClassDef) for n in tree.body):
        findings.append(Finding("policy.entry", _NO_FUNCTION))
    judge = _Judge()
    judge.visit(tree)
    findings += judge.findings
    if findings or entry is None:
        # What has a line comes first: without it there would often be a function.
        findings.sort(key=lambda f: f.line or len(code))
        raise PolicyError(findings[:10])
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    added = add_forgotten(entry, tree, views or {}) if forgetful else []
    try:
        parameters = bind(entry, functions, views or {})
    except BindingError as error:
        raise PolicyError([Finding("policy.signature", str(error), entry.lineno)]) from None
    try:
        compiled = compile(tree, FILE_NAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PolicyError(
            [Finding("policy.syntax", f"does not compile: {str(error)[:200]}")]
        ) from None
    arguments = tuple(a.arg for a in entry.args.args[: len(parameters)])
    notes = (f"{', '.join(added)} taken as a parameter, too",) if added else ()
    return CheckedSource(compiled, entry.name, parameters, arguments, entry.lineno, notes)


_NO_FUNCTION = (
    "there is no function: define one as `def tfcaf(state):` or `def tfcaf(agent_qs, state):` at "
    "the top level, and answer with that Python code itself, not with words, JSON or formulas"
)
_DEF = re.compile(r"\b(def|class)\s+\w+\s*[(:]")


def _syntax(code: str, error: SyntaxError) -> Finding:
    if not _DEF.search(code):
        return Finding("policy.syntax", f"the reply is not Python: {_NO_FUNCTION}")
    said = (error.msg or "invalid syntax")[:200]
    return Finding("policy.syntax", f"syntax error: {said}", error.lineno)


_NESTED = "expressions or blocks are nested too deeply; use named steps"


def _refuse_deep_nesting(tree: ast.AST) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_NESTING):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    line = getattr(level[0], "lineno", None)
    raise PolicyError([Finding("policy.nesting", _NESTED, line)])


_NO_CLASS = (
    "classes are not allowed; write a plain function `def tfcaf(agent_qs, state):` or "
    "`def tfcaf(state):` with fixed numbers instead of layers: nothing is trained"
)
_BANNED: dict[str, tuple[str, str]] = {
    "While": (
        "policy.while",
        "`while` is not allowed; use `for i in range(...)` over a fixed range",
    ),
    "ClassDef": ("policy.class", _NO_CLASS),
    "With": ("policy.with", "`with` is not allowed; leave it out and indent its lines less"),
    "Try": ("policy.try", "`try` is not allowed; avoid the error with torch.where or torch.clamp"),
    "TryStar": ("policy.try", "`try` is not allowed; avoid the error with torch.where"),
    "Raise": ("policy.raise", "`raise` is not allowed; return a value for every state"),
    "Lambda": ("policy.lambda", "`lambda` is not allowed; define a helper function"),
    "Yield": ("policy.yield", "`yield` is not allowed; return a tensor"),
    "YieldFrom": ("policy.yield", "`yield` is not allowed; return a tensor"),
    "AsyncFunctionDef": ("policy.async", "`async` is not allowed"),
    "AsyncFor": ("policy.async", "`async` is not allowed"),
    "AsyncWith": ("policy.async", "`async` is not allowed"),
    "Await": ("policy.async", "`await` is not allowed"),
    "Match": ("policy.match", "`match` is not allowed; use torch.where"),
    "Global": ("policy.global", "`global` is not allowed; pass values as arguments"),
    "Nonlocal": ("policy.global", "`nonlocal` is not allowed; return the value"),
    "JoinedStr": ("policy.format", "f-strings are not allowed; a credit function makes no text"),
    "FormattedValue": ("policy.format", "f-strings are not allowed"),
    "TemplateStr": ("policy.format", "template strings are not allowed"),
    "NamedExpr": ("policy.walrus", "`:=` is not allowed; assign on a line of its own"),
    "Delete": ("policy.delete", "`del` is not allowed; leave it out"),
    "TypeAlias": ("policy.type", "type aliases are not allowed; leave them out"),
}

_BANNED_NAMES = {
    "print": "leave it out: nobody reads it",
    "open": "a credit function reads nothing but its arguments",
    "eval": "write the expression itself",
    "exec": "write the statements themselves",
    "getattr": "write the attribute itself",
    "setattr": "assign to a variable of your own",
    "input": "a credit function reads nothing but its arguments",
    "numpy": "use the torch function of the same name",
}


_QUOTED = re.compile(r'"(\w{1,80})"')
_NAMING = (ast.Name, ast.FunctionDef, ast.arg)

_GUARDED_OPERATORS: dict[type[ast.operator], str] = {
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.Mult: "*",
}


def _entry(tree: ast.Module) -> ast.FunctionDef | None:
    """The credit function: the last one called ``tfcaf``, or else the last one."""
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    named = [n for n in functions if n.name == ENTRY]
    return next(reversed(named or functions), None)


class _Judge(RestrictingNodeTransformer):
    """RestrictedPython's transformer with rules, lines and substitutes."""

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []

    def refuse(self, rule: str, node: ast.AST, message: str) -> None:
        self.findings.append(Finding(rule, message, getattr(node, "lineno", None)))

    def error(self, node: ast.AST, info: str) -> None:
        """RestrictedPython's own findings, in our form."""
        rule = "policy.underscore" if '"_"' in info or "__" in info else "policy.restricted"
        name = _QUOTED.match(info)
        if rule == "policy.underscore" and name:
            info = f"`{name[1]}`: names must not begin or end with an underscore; "
            other = name[1].strip("_")
            naming = other and isinstance(node, _NAMING)
            info += f"rename it to `{other}`" if naming else "rename it or leave it out"
        self.refuse(rule, node, info[:300])

    def visit(self, node: ast.AST) -> Any:
        banned = _BANNED.get(type(node).__name__)
        if banned:
            self.refuse(banned[0], node, banned[1])
            if isinstance(node, (ast.With, ast.While, ast.Try)):
                for inside in node.body:  # whose mistakes would otherwise be told one reply later
                    self.visit(inside)
            return node
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id in _BANNED_NAMES and isinstance(node.ctx, ast.Load):
            self.refuse(
                "policy.name", node, f"`{node.id}` is not available: {_BANNED_NAMES[node.id]}"
            )
        elif isinstance(node.ctx, ast.Store) and node.id in names.PREBOUND:
            self.refuse(
                "policy.name", node, f"`{node.id}` may not be assigned; choose another name"
            )
        return super().visit_Name(node)

    def visit_Starred(self, node: ast.Starred) -> Any:
        """``*x``, which goes through x as a loop does."""
        super().visit_Starred(node)
        if isinstance(node.ctx, ast.Load):
            through = ast.Name("_getiter_", ast.Load())
            node.value = ast.copy_location(ast.Call(through, [node.value], []), node.value)
            ast.fix_missing_locations(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if not isinstance(node.ctx, ast.Load):
            self.refuse(
                "policy.attribute", node, f"`.{node.attr} = ...` is not allowed; use a variable"
            )
            return node
        root = node.value
        if isinstance(root, ast.Name) and root.id in names.PREBOUND:
            self._check_module_member(node, root.id)
        elif node.attr in names.REFUSED_METHODS:
            self.refuse(
                f"policy.{node.attr.strip('_')}",
                node,
                f"`.{node.attr}` is not allowed: {names.REFUSED_METHODS[node.attr]}",
            )
        return super().visit_Attribute(node)

    def _check_module_member(self, node: ast.Attribute, root: str) -> None:
        if root == "nn" or (root == "torch" and node.attr == "nn"):
            if root == "nn" and node.attr != "functional":
                message = f"`nn.{node.attr}`: {names.REFUSED_TORCH['nn']}"
                self.refuse("policy.trainable", node, message)
            return
        known = members_of(root)
        if node.attr in known:
            return
        if root == "torch" and node.attr in names.REFUSED_TORCH:
            message = f"`torch.{node.attr}` is not allowed: {names.REFUSED_TORCH[node.attr]}"
            self.refuse("policy.torch", node, message)
            return
        near = difflib.get_close_matches(node.attr, known, n=3, cutoff=0.6)
        hint = _NOT_LISTED
        if root == "np" and node.attr in _NOT_NUMPY:
            hint = _NOT_NUMPY[node.attr]
        elif root != "torch" and node.attr in names.TORCH_FUNCTIONS:
            hint = f"there is `torch.{node.attr}`, whose arguments may have other names"
        elif near:
            hint = f"near names: {', '.join(f'{root}.{n}' for n in near)}"
        self.refuse("policy.torch", node, f"`{root}.{node.attr}` is not available; {hint}")

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        """Operators that can blow up a number, a list or a text pass a guard."""
        changed = super().visit_BinOp(node)
        sign = _GUARDED_OPERATORS.get(type(node.op))
        if sign is None:
            return changed
        call = ast.Call(
            ast.Name("_operator_", ast.Load()), [ast.Constant(sign), node.left, node.right], []
        )
        return ast.fix_missing_locations(ast.copy_location(call, node))

    def visit_Compare(self, node: ast.Compare) -> Any:
        """``a is b`` passes a guard: a trace has other objects than a run on numbers."""
        operands = [node.left, *node.comparators]
        identity = [isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops]
        if not any(identity) or (len(operands) == 2 and any(map(_is_none, operands))):
            return super().visit_Compare(node)
        if len(operands) > 2:
            self.refuse("policy.is", node, "`is` in a chain is not allowed; compare two at a time")
            return node
        left, right = map(self.visit, operands)
        call: ast.expr = ast.Call(ast.Name("_is_", ast.Load()), [left, right], [])
        if isinstance(node.ops[0], ast.IsNot):
            call = ast.UnaryOp(ast.Not(), call)
        return ast.fix_missing_locations(ast.copy_location(call, node))

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        if node.is_async:
            self.refuse("policy.async", node.target, "`async` is not allowed")
        return super().visit_comprehension(node)

    def visit_Constant(self, node: ast.Constant) -> Any:
        value = node.value
        if isinstance(value, int) and abs(value) > 2**53:
            self.refuse("policy.number", node, "this integer is too large; use a float")
        elif isinstance(value, (complex, bytes)):
            self.refuse("policy.number", node, "only plain numbers, texts and booleans are allowed")
        return super().visit_Constant(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        if isinstance(node.target, ast.Attribute):
            self.refuse("policy.attribute", node, "assigning to attributes is not allowed")
            return node
        if isinstance(node.target, ast.Subscript):
            return self._inplace_item(node, node.target)
        return super().visit_AugAssign(node)

    def _inplace_item(self, node: ast.AugAssign, target: ast.Subscript) -> ast.Expr:
        """``a[i] op= v`` becomes ``_inplaceitem_("op=", a, i)(v)``.

        As in Python, a and i are evaluated once, and the item is read before v is computed.
        """
        sign = ast.Constant(IOPERATOR_TO_STR[type(node.op)])
        place = [self.visit(target.value), self.visit(target.slice)]
        opened = ast.Call(ast.Name("_inplaceitem_", ast.Load()), [sign, *place], [])
        call = ast.Expr(ast.Call(opened, [self.visit(node.value)], []))
        return ast.fix_missing_locations(ast.copy_location(call, node))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_NOT_LISTED = (
    "it is not in the list of names; say it with simpler ones, such as arithmetic, torch.where, "
    "torch.stack and sums over dim=1"
)
_NOT_NUMPY = {
    "linalg": "use torch.linalg.norm(x, dim=...)",
    "random": "a credit function is deterministic; use fixed numbers",
    "ndarray": "results are tensors",
}


def members_of(root: str) -> tuple[str, ...]:
    """The names that ``torch``, ``F`` or ``math`` has for a candidate."""
    if root == "torch":
        return (
            *names.TORCH_FUNCTIONS,
            *names.TORCH_DTYPES,
            *names.TORCH_CONSTANTS,
            "nn",
            "linalg",
            "Tensor",
        )
    return {"F": names.FUNCTIONAL, "math": names.MATH, "np": tuple(names.NUMPY)}[root]
