"""A program while it is being written: its statements, the names in use, its helper functions."""

from __future__ import annotations

import random
import re
import textwrap
from dataclasses import dataclass

from synth.programs.views import Axis, View

_NOTE_WIDTH = 92
_NOTE_LINES = 2
_WORD = re.compile(r"[A-Za-z_]\w*")
_RESERVED = frozenset(
    # what the contract and the language already use
    """torch F math state agent_qs q_tot tfcaf and as assert async await break class continue def
    del elif else except finally for from global if import in is lambda match nonlocal not or pass
    raise return try type while with yield abs all any float int len list max min range sum tuple
    """.split()  # noqa: SIM905 - fifty quoted words would hide what the list is
)

HELPERS = {
    "soft_step": (
        "def soft_step(x, threshold, sharpness):\n"
        "    # rises smoothly from 0 to 1 where x passes the threshold\n"
        "    return torch.sigmoid(sharpness * (x - threshold))\n"
    ),
    "near": (
        "def near(x, centre, width):\n"
        "    # 1 at the centre, falling to 0 a few widths away\n"
        "    return torch.exp(-(((x - centre) / width) ** 2))\n"
    ),
    "share": (
        "def share(x):\n"
        "    # each agent's part of the team's total; the constant keeps the divisor positive\n"
        "    return x / (x.sum(dim=1, keepdim=True) + 0.001)\n"
    ),
}


@dataclass(frozen=True)
class Term:
    """A named quantity of the program, between 0 and 1 for every state that the card allows.

    Its shape is [B, n_agents], [B, entities] or, for the team, [B, 1].
    """

    name: str
    axis: Axis
    mark: bool = False
    """Whether it is either 0 or 1."""


@dataclass(frozen=True)
class _Statement:
    name: str
    code: str
    note: str

    def lines(self) -> list[str]:
        return [*(f"# {line}" for line in _comment(self.note)), f"{self.name} = {self.code}"]


def literal(x: float) -> str:
    """A number as Python source; whole ones without a point, since they are compared with."""
    return str(int(x)) if float(x).is_integer() and abs(x) < 1e15 else repr(float(x))


def decimal(x: float) -> str:
    """A number as a Python float literal."""
    return repr(float(x))


class Draft:
    """Collects statements; every name is made once and refers to what was said before.

    Args:
        rng: Where all choices come from.
        helpers: Whether recurring formulas are written as helper functions.
    """

    def __init__(self, rng: random.Random, *, helpers: bool) -> None:
        self.rng = rng
        self._helpers = helpers
        self._statements: list[_Statement] = []
        self._names: set[str] = set()
        self._known: dict[str, Term] = {}
        self._views: dict[str, str] = {}

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def let(self, hint: str, code: str, note: str = "") -> str:
        """Write ``name = code`` under a comment, with a new name like ``hint``; gives the name."""
        name = self._new_name(hint)
        self._statements.append(_Statement(name, code, note))
        return name

    def term(self, axis: Axis, hint: str, code: str, note: str, *, mark: bool = False) -> Term:
        """``let`` for a term; the same code is written once, however often it is wanted."""
        if code not in self._known:
            self._known[code] = Term(self.let(hint, code, note), axis, mark)
        return self._known[code]

    def view(self, view: View) -> str:
        """The name of a view's columns, which are sliced out where they are first wanted."""
        if view.code not in self._views:
            note = f"{view.slice.name}: {view.slice.meaning}"
            if view.slice.sentinels:
                special = ", ".join(literal(s) for s in view.slice.sentinels)
                note += f" ({special}: {view.slice.sentinel_meaning})"
            self._views[view.code] = self.let(view.name, view.code, note)
        return self._views[view.code]

    def call(self, helper: str, inline: str, *args: str) -> str:
        """A call of a helper function, or the same written out, as this program does it."""
        return f"{helper}({', '.join(args)})" if self._helpers else inline

    def source(self, parameters: str, result: str) -> str:
        """The whole program, without the statements that the result does not need."""
        wanted, kept = set(_WORD.findall(result)), []
        for statement in reversed(self._statements):
            if statement.name in wanted:
                kept.append(statement)
                wanted.update(_WORD.findall(statement.code))
        body = [line for statement in reversed(kept) for line in statement.lines()]
        functions = [HELPERS[name] for name in HELPERS if name in wanted]
        entry = [f"def tfcaf({parameters}):", *(f"    {line}" for line in body)]
        functions.append("\n".join([*entry, f"    return {result}\n"]))
        return "\n\n".join(functions)

    def _new_name(self, hint: str) -> str:
        base = re.sub(r"\W+", "_", hint.lower(), flags=re.ASCII).strip("_") or "x"
        if base[0].isdigit():
            base = f"n{base}"
        name, n = base, 2
        while name in self._names or name in _RESERVED or name in HELPERS:
            name, n = f"{base}_{n}", n + 1
        self._names.add(name)
        return name


def _comment(text: str) -> list[str]:
    """A comment's lines: plain characters only, and no fence that would end the code block."""
    plain = "".join(c if c.isprintable() else " " for c in text.replace("`", "'"))
    return textwrap.wrap(plain, _NOTE_WIDTH, max_lines=_NOTE_LINES, placeholder=" ...")
