"""A program while it is being written: its statements, the names in use, its helper functions."""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from synth.programs.views import Axis, View

_NOTE_WIDTH = 92
_NOTE_LINES = 2
_LONG_NAME = 24
_WORD = re.compile(r"[A-Za-z_]\w*")
_RESERVED = frozenset(
    # what the contract and the language already use
    """torch F math state agent_qs q_tot tfcaf and as assert async await break class continue def
    del elif else except finally for from global if import in is lambda match nonlocal not or pass
    raise return try type while with yield abs all any float int len list max min range sum tuple
    """.split()
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
        parts: Names of the state's parts, in the order in which they are parameters.
    """

    def __init__(self, rng: random.Random, *, helpers: bool, parts: Iterable[str]) -> None:
        self.rng = rng
        self._helpers = helpers
        self._parts = dict.fromkeys(parts, "")
        """What is said of each part that was read."""
        self._statements: list[_Statement] = []
        self._names = set(self._parts)
        self._known: dict[str, str] = {}

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def let(self, hint: str, code: str, note: str = "") -> str:
        """Write ``name = code`` under a comment, with a new name like ``hint``; gives the name.

        Names are made once, so the same code is the same value: it is written once as well.
        """
        if code not in self._known:
            self._known[code] = self._new_name(hint)
            self._statements.append(_Statement(self._known[code], code, note))
        return self._known[code]

    def term(self, axis: Axis, hint: str, code: str, note: str, *, mark: bool = False) -> Term:
        """``let`` for a term."""
        return Term(self.let(hint, code, note), axis, mark)

    def short(self, hint: str, name: str) -> str:
        """A shorter name where ``name`` would make lines long that use it twice."""
        return self.let(hint, name) if len(name) > _LONG_NAME else name

    def view(self, view: View) -> str:
        """The name of a view, which is taken out of its part where it is first wanted."""
        s, part = view.slice, view.part
        note = f"{part.name} {part.known.shape_text}: {part.known.meaning}"
        if s.sentinels:
            special = ", ".join(literal(x) for x in s.sentinels)
            note += f" ({special}: {s.sentinel_meaning})"
        self._parts[part.name] = note
        return part.name if view.code == part.name else self.let(view.name, view.code)

    def call(self, helper: str, inline: str, *args: str) -> str:
        """A call of a helper function, or the same written out, as this program does it."""
        return f"{helper}({', '.join(args)})" if self._helpers else inline

    def source(self, result: str, *, mixing: bool) -> str:
        """The whole program, without the statements and parameters that the result does not need.

        Its parameters are the state's parts that it reads, or else ``state``; in the mixing form
        ``agent_qs`` is the first.
        """
        wanted, kept = set(_WORD.findall(result)), []
        for statement in reversed(self._statements):
            if statement.name in wanted:
                kept.append(statement)
                wanted.update(_WORD.findall(statement.code))
        parts = [name for name in self._parts if name in wanted]
        parameters = (["agent_qs"] if mixing else []) + (parts or ["state"])
        body = [f"# {line}" for name in parts for line in _comment(self._parts[name])]
        for statement in reversed(kept):
            body += [f"# {line}" for line in _comment(statement.note)]
            body.append(f"{statement.name} = {statement.code}")
        functions = [HELPERS[name] for name in HELPERS if name in wanted]
        entry = [f"def tfcaf({', '.join(parameters)}):", *(f"    {line}" for line in body)]
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
