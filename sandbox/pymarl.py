"""A gated credit graph written out as a mixer of PyMARL and EPyMARL: one file, nothing but torch.

It is written from the graph, which is what was proved, tested and trained, and not from the source:
helpers and named views are plain operations in it already. Each statement is one operation of the
graph; the source's lines stand above theirs as comments.
"""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from prompts.cards import TaskCard
from sandbox import runtime
from sandbox.evidence import draw_inputs
from sandbox.graph import FIRST_CONSTANT, Batch, Constant, CreditGraph, DTypeArg, Operation, Ref
from sandbox.inference import Types, infer_types
from sandbox.table import OPS

_WIDTH = 96
_ROUNDING = 1e-5
_DTYPES = {"float": "torch.float32", "int64": "torch.int64", "bool": "torch.bool"}
_INFIX = {
    f"aten.{name}.{overload}": sign
    for names, overloads, sign in (
        ("add", "Tensor", "+"), ("sub", "Tensor", "-"), ("mul", "Tensor", "*"),
        ("div", "Tensor", "/"), ("eq", "Tensor Scalar", "=="), ("ne", "Tensor Scalar", "!="),
        ("lt", "Tensor Scalar", "<"), ("le", "Tensor Scalar", "<="), ("gt", "Tensor Scalar", ">"),
        ("ge", "Tensor Scalar", ">="),
    )
    for name in names.split()
    for overload in overloads.split()
}  # fmt: skip
"""Operations that Python has a sign for, which calls the same kernel."""
_NEEDS = {
    "_gather": ("_clamp_index",), "_index_select": ("_clamp_index",),
    "_scatter_src": ("_clamp_index",), "_scatter_value": ("_clamp_index",),
    "_scatter_add": ("_clamp_index",), "_index": ("_clamp_index", "_safe_indices"),
    "_index_put": ("_clamp_index", "_safe_indices"),
}  # fmt: skip
"""What the runtime's own functions call of each other."""


def mixer_source(graph: CreditGraph, card: TaskCard, source: str, title: Sequence[str]) -> str:
    """The mixer's file as text.

    Args:
        graph: gated.
        card: the task, for the layout of the state.
        source: of the candidate, whose lines become comments; empty where unknown.
        title: lines of the comment at the top.
    """
    assert graph.gate is not None
    writer = _Writer(graph, source)
    body = "\n".join(writer.statements())
    helpers = writer.helpers  # now that they are known
    for name, start in (("rows", "state.shape[0]"), ("device", "state.device")):
        if re.search(rf"^v.*\b{name}\b", body, re.MULTILINE):
            body = f"{name} = {start}\n{body}"
    parts = [
        # First, so that no comment of the two lines where Python looks for it names another.
        "# -*- coding: utf-8 -*-\n" + "\n".join(_comments([*title, "", *_USE, "", *_layout(card)])),
        f"import torch\nfrom torch import {'Tensor, nn' if 'Tensor)' in helpers else 'nn'}",
        "aten = torch.ops.aten",
        helpers,
        _CLASS.format(
            constants="".join(f"{line}\n" for line in writer.constants()),
            agents=graph.n_agents,
            state=graph.state_dim,
            body=textwrap.indent(body, " " * 8),
            q_tot=writer.value(graph.outputs["q_tot"]),
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def mixer_difference(path: Path, graph: CreditGraph, card: TaskCard) -> float:
    """Run a mixer's file and compare it with its graph on states within the card's ranges.

    Args:
        path: a file that `mixer_source` wrote of the graph.

    Returns:
        The largest absolute difference of q_tot.

    Raises:
        ArithmeticError: they differ beyond float32's rounding.
    """
    mixer = runpy.run_path(str(path))["Mixer"]()  # which leaves no compiled file beside it
    function, worst = runtime.CreditFunction(graph), 0.0
    for drawn in draw_inputs(card, 0):
        qs, states = torch.tensor(drawn["agent_qs"]), torch.tensor(drawn["state"])
        here = function(qs, states)
        apart = (mixer(qs[None], states[None])[0] - here).abs()
        worst = max(worst, float(apart.max()))
        if not bool((apart <= _ROUNDING * (1 + here.abs())).all()):  # also where it is no number
            raise ArithmeticError(f"the mixer and its graph differ by {worst:.3g}")
    return worst


_USE = (
    "PyMARL, EPyMARL: save this file as src/modules/mixers/tfcaf.py, import it in",
    "src/learners/q_learner.py (`from modules.mixers.tfcaf import Mixer`), add beside QMixer there",
    '`elif args.mixer == "tfcaf": self.mixer = Mixer(args)`, and set `mixer: tfcaf` in the config.',
)
_CLASS = '''
class Mixer(nn.Module):
    """A credit assignment function in the mixing network's place; nothing in it is trained."""

    def __init__(self, args=None):
        super().__init__()
{constants}
    def forward(self, agent_qs, states):
        """[batch, time, {agents}] and [batch, time, {state}] -> q_tot [batch, time, 1]."""
        if agent_qs.shape[-1] != {agents} or states.shape[-1] != {state}:
            raise ValueError(
                "this mixer is for {agents} agents and {state} state columns, not for %d and %d"
                % (agent_qs.shape[-1], states.shape[-1])
            )
        shape = agent_qs.shape[:-1]
        q_tot = self.mix(agent_qs.reshape(-1, {agents}), states.reshape(-1, {state}))
        return q_tot.reshape(*shape, 1)

    def mix(self, agent_qs, state):
        """[rows, {agents}] and [rows, {state}] -> q_tot [rows, 1]."""
        agent_qs, state = agent_qs.float(), state.float()
{body}
        return {q_tot}
'''


def _comments(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"# {_harmless(line)}".rstrip()


def _harmless(text: str) -> str:
    """One line that ends no comment, whatever was written."""
    return "".join(c if c.isprintable() else " " for c in text)


def _layout(card: TaskCard) -> Iterator[str]:
    yield "`states` has the columns of the task's card, in this order:"
    for s, at in card.offsets():
        end = at + s.size
        what = "unused" if s.unused else " ".join(s.meaning.split())
        line = f"  {at}:{end} {s.name} {list(s.shape)}: {what}"
        yield from textwrap.wrap(line, _WIDTH, subsequent_indent="      ")


class _Writer:
    """The statements of a graph, and what they need beside them."""

    def __init__(self, graph: CreditGraph, source: str) -> None:
        self._graph = graph
        self._types: Types = infer_types(graph)
        self._lines = re.split(r"\r\n|\r|\n", source) if source else []
        self._used: dict[str, None] = {}
        """Names of the runtime's functions, in the order of their use."""
        self._divisions: dict[str, str] = {}

    def statements(self) -> Iterator[str]:
        """One for each operation, with the source's lines above them."""
        above = ""
        for number, operation in enumerate(self._graph.operations, self._graph.first_operation):
            origin = self._origin(operation)
            if origin != above:
                above = origin
                yield f"# {origin}"
            yield f"v{number} = {self._call(operation)}"

    def _origin(self, o: Operation) -> str:
        number = o.line
        if number is None:
            gate = self._graph.gate
            assert gate is not None
            if OPS[o.op].family == "structural":
                return "parts of the state by name"
            function = f" ({gate.function})" if gate.mode == "enforce" else ""
            return f"the gate: {gate.mode}{function}"
        known = 0 < number <= len(self._lines)
        text = self._lines[number - 1].strip() if known else ""
        return _harmless(f"line {number}: {text}" if text else f"line {number}")

    def value(self, ref: Ref) -> str:
        """The name of a value."""
        if ref.value < self._graph.first_operation:
            return {0: "agent_qs", 1: "state"}.get(ref.value, f"self.c{ref.value}")
        several = len(self._types.values[ref.value]) > 1
        return f"v{ref.value}[{ref.out}]" if several else f"v{ref.value}"

    def _text(self, arg: Any) -> str:
        if isinstance(arg, Ref):
            return self.value(arg)
        if isinstance(arg, Batch):
            times = "rows" if arg.c1 == 1 else f"{arg.c1} * rows"
            return f"{arg.c0} + {times}" if arg.c0 else times
        if isinstance(arg, DTypeArg):
            return _DTYPES[arg.name]
        if isinstance(arg, tuple):
            return f"[{', '.join(map(self._text, arg))}]"
        return _number(arg) if isinstance(arg, float) else repr(arg)

    def _call(self, o: Operation) -> str:
        args = [self._text(a) for a in o.args]
        named = {k: self._text(v) for k, v in o.kwargs}
        short = self._converted(o) if named else self._short(o, args)
        if short is not None:
            return short
        if o.op in runtime.CREATE:
            named["device"] = "device"
            ranged = o.op.startswith("aten.arange") and any(type(a) is float for a in o.args)
            if (ranged or o.op in runtime.FLOAT_BY_DEFAULT) and "dtype" not in named:
                named["dtype"] = _DTYPES["float"]
        given = ", ".join([*args, *(f"{k}={v}" for k, v in named.items())])
        return f"{self._function(o.op)}({given})"

    def _converted(self, o: Operation) -> str | None:
        """A conversion that torch makes as the runtime does."""
        (_, dtype), *others = o.kwargs
        if o.op != "aten._to_copy.default" or others or not isinstance(dtype, DTypeArg):
            return None
        if dtype.name == "int64" and self._types.of(o.args[0]).dtype == "float":
            return None
        method = {"float": "float", "int64": "long", "bool": "bool"}[dtype.name]
        return f"{self.value(o.args[0])}.{method}()"

    def _short(self, o: Operation, args: list[str]) -> str | None:
        """A call as people write it; None where it is written as the operation it is."""
        if o.op in _INFIX and len(args) == 2:
            return f"{args[0]} {_INFIX[o.op]} {args[1]}"
        if o.op.startswith("aten.where.Scalar"):
            return f"torch.where({', '.join([args[0], *map(self._scalar, o.args[1:])])})"
        if o.op == "aten.slice.Tensor" and len(args) == 4 and o.args[1] == 1:
            return f"{args[0]}[:, {args[2]}:{args[3]}]"
        if o.op == "aten.select.int" and o.args[1] == 1:
            return f"{args[0]}[:, {args[2]}]"
        return None

    def _scalar(self, arg: Any) -> str:
        if isinstance(arg, Ref):
            return self.value(arg)
        kind = {float: "float", bool: "bool"}.get(type(arg), "int64")
        return f"torch.scalar_tensor({self._text(arg)}, dtype={_DTYPES[kind]}, device=device)"

    def _function(self, op: str) -> str:
        if op in runtime.WHOLE_DIVISIONS:
            name = "_" + op.removeprefix("aten.").replace(".", "_").lower()
            call = "_floor" if op == "aten.floor_divide.default" else op
            self._use(runtime._whole_divisor)
            self._divisions[name] = f"_whole_divisor({call}, {runtime.WHOLE_DIVISIONS[op]})"
            return name
        careful = runtime.CAREFUL.get(op)
        return op if careful is None else self._use(careful)

    def _use(self, function: Callable[..., Any]) -> str:
        name: str = function.__name__
        self._used |= dict.fromkeys((*_NEEDS.get(name, ()), name))
        return name

    @property
    def helpers(self) -> str:
        """The runtime's functions that the statements call, as the trainer has them."""
        numbers = []
        if "_whole_divisor" in self._used:
            numbers.append(f"_LEAST_INT64 = {runtime._LEAST_INT64}")
        if "_to_copy" in self._used:
            numbers.append(f"_MOST_WHOLE = {runtime._MOST_WHOLE}")
        parts = ["\n".join(numbers)] if numbers else []
        parts += [_plain(getattr(runtime, name)) for name in self._used]
        if any("(_floor," in made for made in self._divisions.values()):
            parts.append('def _floor(a, b):\n    return torch.div(a, b, rounding_mode="floor")')
        parts += [f"{name} = {made}" for name, made in self._divisions.items()]
        return "\n\n\n".join(parts).replace("torch.ops.aten.", "aten.")

    def constants(self) -> Iterator[str]:
        """Statements of the constructor; constants follow the module to its device."""
        for number, c in enumerate(self._graph.constants, FIRST_CONSTANT):
            yield textwrap.fill(
                f'self.register_buffer("c{number}", {_tensor(c)}, persistent=False)',
                _WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 12,
                break_long_words=False,
                break_on_hyphens=False,
            )


def _tensor(c: Constant) -> str:
    data = ", ".join(map(_number, c.data))
    return f"torch.tensor([{data}], dtype={_DTYPES[c.dtype]}).reshape({list(c.shape)})"


def _number(x: float | int | bool) -> str:
    return f'float("{x}")' if isinstance(x, float) and x - x != 0 else repr(x)


def _plain(function: Callable[..., Any]) -> str:
    """A function's source without its annotations, which would need imports."""
    tree = ast.parse(inspect.getsource(function))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            spec = node.args
            for a in (*spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg):
                if a is not None:
                    a.annotation = None
    return ast.unparse(tree)
