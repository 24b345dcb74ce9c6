"""Grammars as values: built from small nodes, printed in llguidance's Lark dialect, and measured.

A rule is a node under a name. What a rule can derive at most, in characters, is computed from the
same nodes, so that a bound on a reply's length is a fact about the grammar and not a hope.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A fixed text."""

    text: str


@dataclass(frozen=True)
class Ref:
    """Another rule or token, by name."""

    name: str
    sets: int | None = None
    """Bit that a parametric rule is given on top of those that this one has; see `Grammar`."""


@dataclass(frozen=True)
class When:
    """A choice of a parametric rule that exists only where a condition on its bits holds."""

    condition: str
    part: Node


@dataclass(frozen=True)
class Seq:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Alt:
    """One of several."""

    choices: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """Between ``low`` and ``high`` times."""

    part: Node
    low: int
    high: int


Node = Text | Ref | When | Seq | Alt | Repeat


@dataclass(frozen=True)
class Token:
    """A regular expression that the lexer knows; ``but_not`` are patterns of what it never
    matches, as a whole."""

    pattern: str
    longest: int
    """Characters of its longest match."""
    but_not: tuple[str, ...] = ()


def seq(*parts: Node | str) -> Node:
    """Parts one after the other. In a text, ``<name>`` refers to a rule or token.

    A text becomes one lexeme for each word, number and mark in it. The lexer takes the longest
    lexeme and never goes back, so a lexeme such as ``torch.softmax(`` would hide that ``torch.``
    may go on otherwise.
    """
    nodes: list[Node] = []
    for part in parts:
        nodes += _read(part) if isinstance(part, str) else [part]
    nodes = [n for n in nodes if not ((isinstance(n, Repeat) and n.high < 1) or n == Seq(()))]
    return nodes[0] if len(nodes) == 1 else Seq(tuple(nodes))


_PIECE = re.compile(r"<(\w+)>")
_LEXEME = re.compile(r" [-+*/=]+ |, |\d+\.\d+|\w+| +|.", re.DOTALL)


def _read(text: str) -> list[Node]:
    nodes: list[Node] = []
    for i, piece in enumerate(_PIECE.split(text)):
        nodes += [Ref(piece)] if i % 2 else [Text(p) for p in _LEXEME.findall(piece)]
    return nodes


def alt(choices: Iterable[Node | str]) -> Node:
    """One of the choices, each a node or a text as `seq` reads it.

    Raises:
        ValueError: there is none.
    """
    nodes = tuple(seq(c) if isinstance(c, str) else c for c in choices)
    if not nodes:
        raise ValueError("a rule needs something to derive")
    return nodes[0] if len(nodes) == 1 else Alt(nodes)


def maybe(*parts: Node | str) -> Node:
    """The parts, or nothing."""
    return Repeat(seq(*parts), 0, 1)


def one_of(words: Iterable[str]) -> Token:
    """A token that is one of some words.

    Raises:
        ValueError: there is none.
    """
    listed = sorted(set(words))
    if not listed:
        raise ValueError("a token needs something to match")
    return Token("|".join(map(re.escape, listed)), max(map(len, listed)))


@dataclass
class Grammar:
    """Rules (small letters; the first is ``start``) and tokens (capitals).

    The rules named in ``parametric`` carry 64 bits with them, which are 0 at first and are handed
    on to every parametric rule within (llguidance's parametric grammars). So names that have a
    value are told from those that have none, which no context-free rule of finite size could.
    """

    rules: dict[str, Node] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    parametric: set[str] = field(default_factory=set)
    again: dict[str, int] = field(default_factory=dict)
    """How often a rule may occur within itself, where its bits bound that."""

    def lark(self) -> str:
        """The grammar as text, without what ``start`` cannot reach."""
        used = self._reachable()
        rules = {n: node for n, node in self.rules.items() if n in used}
        shared = _shared(rules.values())
        lines = [
            f"{n}::_ : {self._passed(_print(node, shared), '_')}"
            if n in self.parametric
            else f"{n}: {self._passed(_print(node, shared), '0')}"
            for n, node in rules.items()
        ]
        lines += [f"{name}: {_print(Seq(texts), {})}" for texts, name in shared.items()]
        for name, token in self.tokens.items():
            if name in used:
                lines.append(f"{name}: {_regex(token)}")
        return "\n".join(lines) + "\n"

    def _passed(self, printed: str, bits: str) -> str:
        """A printed rule whose parametric references say which bits they are given."""
        if not self.parametric:
            return printed
        names = "|".join(sorted(self.parametric, key=len, reverse=True))
        outside = re.compile(rf'("(?:[^"\\]|\\.)*")|\b({names})\b(?!::)')
        return outside.sub(lambda m: m[1] or f"{m[2]}::{bits}", printed)

    def longest(self, rule: str = "start") -> int:
        """Most characters that a rule derives.

        Raises:
            RecursionError: it derives without bound.
        """
        known: dict[str, int] = {}

        def of(node: Node) -> int:
            if isinstance(node, Text):
                return len(node.text)
            if isinstance(node, When):
                return of(node.part)
            if isinstance(node, Seq):
                return sum(map(of, node.parts))
            if isinstance(node, Alt):
                return max(map(of, node.choices))
            if isinstance(node, Repeat):
                return node.high * of(node.part)
            if node.name in self.tokens:
                return self.tokens[node.name].longest
            if node.name not in known:
                times = self.again.get(node.name, 0)
                if times:
                    known[node.name] = 0  # within itself it is counted by what follows
                known[node.name] = (1 + times) * of(self.rules[node.name])
            return known[node.name]

        return of(Ref(rule))

    def _reachable(self) -> set[str]:
        found: set[str] = set()
        open_: list[Node] = [Ref("start")]
        while open_:
            node = open_.pop()
            if isinstance(node, Ref) and node.name not in found:
                found.add(node.name)
                if node.name not in self.tokens:
                    open_.append(self.rules[node.name])
            elif isinstance(node, Seq):
                open_.extend(node.parts)
            elif isinstance(node, Alt):
                open_.extend(node.choices)
            elif isinstance(node, (Repeat, When)):
                open_.append(node.part)
        return found


def _regex(token: Token) -> str:
    """The token between slashes, in which a slash is escaped and nothing else is special."""
    patterns = [token.pattern, "|".join(token.but_not)]
    pattern, not_this = (p.replace("/", "\\/") for p in patterns)
    return f"/{pattern}/ & ~/({not_this})/" if token.but_not else f"/{pattern}/"


Texts = tuple[Text, ...]
_OFTEN = 4


def _runs(parts: tuple[Node, ...]) -> list[Texts | Node]:
    """The parts, with neighbouring texts gathered."""
    found: list[Texts | Node] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Text) and isinstance(last, tuple):
            found[-1] = (*last, part)
        else:
            found.append((part,) if isinstance(part, Text) else part)
    return found


def _shared(rules: Iterable[Node]) -> dict[Texts, str]:
    """Names for the runs of texts that occur often: they are printed once."""
    counts: Counter[Texts] = Counter()
    open_ = list(rules)
    while open_:
        node = open_.pop()
        if isinstance(node, Seq):
            counts.update(r for r in _runs(node.parts) if isinstance(r, tuple) and len(r) > 1)
            open_.extend(node.parts)
        elif isinstance(node, Alt):
            open_.extend(node.choices)
        elif isinstance(node, (Repeat, When)):
            open_.append(node.part)
    often = [texts for texts, count in counts.items() if count >= _OFTEN]
    return {texts: f"w{i}" for i, texts in enumerate(often)}


def _print(node: Node, shared: Mapping[Texts, str], inner: bool = False) -> str:
    if isinstance(node, Text):
        return json.dumps(node.text)
    if isinstance(node, Ref):
        return node.name if node.sets is None else f"{node.name}::set_bit({node.sets})"
    if isinstance(node, When):
        return f"{_print(node.part, shared)} %if {node.condition}"
    if isinstance(node, Repeat):
        part = _print(node.part, shared, inner=True)
        return (
            f"{part}?" if (node.low, node.high) == (0, 1) else f"{part}{{{node.low},{node.high}}}"
        )
    if isinstance(node, Seq):
        pieces: list[str] = []
        for run in _runs(node.parts):
            if isinstance(run, tuple):
                pieces += [shared[run]] if run in shared else [json.dumps(t.text) for t in run]
            else:
                pieces.append(_print(run, shared, inner=isinstance(run, Alt)))
        text = " ".join(pieces)
    else:
        text = " | ".join(_print(c, shared) for c in node.choices)
    return f"({text})" if inner else text
