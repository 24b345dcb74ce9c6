"""The free flavour: the policy's language with names of the writer's own choosing.

One way to lay code out (that of ``ast.unparse``), no branches (a credit function chooses with
``torch.where``), bounded blocks and nesting. Whether a name is defined before it is used is no
matter of grammar; the sandbox says so where it is not.
"""

from __future__ import annotations

from prompts.cards import TaskCard
from prompts.views import state_views
from synth.grammar import vocabulary
from synth.grammar.limits import GrammarLimits
from synth.grammar.rules import Grammar, Node, Ref, Repeat, alt, maybe, seq

_LOOPS = 2
"""Depth of loops."""
_TERMS = (2, 2, 2, 4, 6)
"""Most operators in a row, by the levels of brackets below. A chain of operators and a chain of
methods are as deep a tree as they are long, and the policy bounds how deep a tree may be."""
_CHAIN = (1, 2, 3, 3, 4)
"""Most methods, attributes and items in a row, by the levels of brackets below."""


def free_grammar(card: TaskCard, limits: GrammarLimits) -> Grammar:
    """The free language of a task."""
    grammar = Grammar()
    tokens = vocabulary.vocabulary(limits.identifier, card.state_dim, limits.iterations)
    grammar.tokens |= tokens
    _parameters(grammar, limits.identifier)
    rules = grammar.rules
    top = limits.depth
    rules["start"] = seq(
        "import torch\n",
        maybe("import torch.nn.functional as F\n"),
        maybe("import math\n"),
        Repeat(Ref("constant"), 0, limits.constants),
        Repeat(Ref("helper"), 0, limits.helpers),
        Ref("entry"),
    )
    rules["blank"] = Repeat(seq("\n"), 0, 2)
    if limits.comment:
        grammar.tokens["WORDS"] = vocabulary.comment(limits.comment)
    rules["constant"] = seq(_comment(0, limits), alt(_constants()), "\n")
    for d in range(3):
        rules[f"plain_{d}"] = _plain(d)
    rules["helper"] = seq(
        "<blank>", _comment(0, limits), "def ", "<NAME>", "(", "<parameters>", "):\n",
        Repeat(Ref("line_1"), 0, limits.statements), "    ", "return ", f"<values_{top}>", "\n",
    )  # fmt: skip
    rules["entry"] = seq("<blank>", _comment(0, limits), "def ", vocabulary.ENTRY, "(", "<forms>")
    block = Repeat(Ref("line_1"), 0, limits.statements)
    views = _views(rules, card)
    result = ("    ", "return ", "<pair>", "\n")
    rules["forms"] = alt(
        [
            seq(alt(["<STATE>", *views]), "):\n", block, _comment(1, limits), *result),
            seq(
                alt(
                    [
                        seq("<AGENT_QS>", ", ", alt(["<STATE>", *views])),
                        seq("<STATE>", ", ", "<AGENT_QS>"),
                    ]
                ),
                "):\n", block, _comment(1, limits), "    ", "return ", f"<expr_{top}>", "\n",
            ),
        ]
    )  # fmt: skip
    two = seq(f"<expr_{top}>", ", ", f"<expr_{top}>")
    rules["pair"] = alt([two, seq("(", two, ")")])
    rules["name"] = alt(["<NAME>", "state"])
    more = seq("<name>", Repeat(seq(", ", "<name>"), 1, 4))
    rules["names"] = alt(["<name>", more, seq("(", more, ")")])
    for k in range(1, _LOOPS + 2):
        _lines(rules, k, top, limits)
    for d in range(top + 1):
        _expressions(rules, d)
    return grammar


def _views(rules: dict[str, Node], card: TaskCard) -> list[Node]:
    """Parts of the state by name, in the card's order so that none comes twice; [] if none vary."""
    names = list(state_views(card))
    for i in reversed(range(len(names))):
        rest: list[Node | str] = [f"<views_{j}>" for j in range(i + 1, len(names))]
        more = [maybe(", ", alt(rest))] if rest else []
        rules[f"views_{i}"] = seq(names[i], *more)
    return [Ref(f"views_{i}") for i in range(len(names))]


def _of(bounds: tuple[int, ...], depth: int) -> int:
    return bounds[min(depth, len(bounds) - 1)]


def _parameters(grammar: Grammar, longest: int) -> None:
    """Up to three parameters of a helper, with different names."""
    groups = range(vocabulary.GROUPS)
    every = set(groups)
    two: list[Node | str] = []
    three: list[Node | str] = []
    for g in groups:
        grammar.tokens[f"NAME_{g}"] = vocabulary.grouped(longest, {g})
        grammar.tokens[f"NO_{g}"] = vocabulary.grouped(longest, every - {g})
        two.append(seq(f"<NAME_{g}>", ", ", f"<NO_{g}>"))
        for h in range(g + 1, vocabulary.GROUPS):
            token = f"NO_{g}_{h}"
            grammar.tokens[token] = vocabulary.grouped(longest, every - {g, h})
            pair = alt([seq(f"<NAME_{a}>", ", ", f"<NAME_{b}>") for a, b in ((g, h), (h, g))])
            three.append(seq(pair, ", ", f"<{token}>"))
    rules = grammar.rules
    rules["two"] = alt(two)
    rules["parameters"] = alt(
        [
            "<name>", "<two>", seq("state", ", ", "<NAME>"), seq("<NAME>", ", ", "state"), *three,
            seq("state", ", ", "<two>"), seq("<two>", ", ", "state"),
        ]
    )  # fmt: skip


def _comment(indent: int, limits: GrammarLimits) -> Node:
    if not limits.comment:
        return seq()
    margin = ["    " * indent] if indent else []
    return Repeat(seq(*margin, "# ", "<WORDS>", "\n"), 0, 3)


def _constants() -> list[Node]:
    """One name and its value, or a few with as many values."""
    found = [seq("<NAME>", " = ", "<plain_2>")]
    for count in (2, 3):
        listed = seq("<NAME>", *[seq(", ", "<NAME>")] * (count - 1))
        values = seq("<plain_1>", *[seq(", ", "<plain_1>")] * (count - 1))
        found.append(
            seq(alt([listed, seq("(", listed, ")")]), " = ", alt([values, seq("(", values, ")")]))
        )
    return found


def _plain(depth: int) -> Node:
    number = seq(maybe("-"), "<NUMBER>")
    if depth == 0:
        return number
    inner = f"<plain_{depth - 1}>"
    several = seq(inner, Repeat(seq(", ", inner), 0, 15))
    pairs = seq(number, ": ", inner)
    return alt(
        [
            number,
            seq("[", several, "]"),
            seq("(", inner, ", ", several, ")"),
            seq("{", pairs, Repeat(seq(", ", pairs), 0, 15), "}"),
        ]
    )


def _lines(rules: dict[str, Node], k: int, top: int, limits: GrammarLimits) -> None:
    """Lines that are indented ``k`` times."""
    items = f"<items_{top - 1}>"
    simple = [
        seq("<names>", " = ", f"<values_{top}>", "\n"),
        seq("<NAME>", "[", items, "]", " = ", f"<expr_{top}>", "\n"),
        seq("<name>", maybe("[", items, "]"), "<CHANGE_BY>", f"<expr_{top}>", "\n"),
        seq("<NAME>", ".", "<CHANGE>", "(", f"<arguments_{top - 1}>", ")", "\n"),
    ]
    if k <= _LOOPS:
        block = Repeat(Ref(f"line_{k + 1}"), 1, max(1, limits.statements // 3))
        simple.append(seq("for ", "<names>", " in ", f"<expr_{top}>", ":\n", block))
    rules[f"line_{k}"] = seq(_comment(k, limits), "    " * k, alt(simple))


def _expressions(rules: dict[str, Node], d: int) -> None:
    """Expressions with ``d`` levels of brackets and calls below them."""
    several = seq(f"<expr_{d - 1}>", Repeat(seq(", ", f"<expr_{d - 1}>"), 1, 5)) if d else seq()
    rules[f"values_{d}"] = alt([f"<expr_{d}>", several])
    compared = maybe("<COMPARE>", f"<sum_{d}>") if d > 1 else seq()
    rules[f"expr_{d}"] = seq(f"<sum_{d}>", compared)
    rules[f"sum_{d}"] = seq(
        f"<operand_{d}>", Repeat(seq("<BINARY>", f"<operand_{d}>"), 0, _of(_TERMS, d))
    )
    plain: list[Node | str] = ["<NUMBER>", "<CONSTANT>", f"<chain_{d}>"]
    inner, below = f"<expr_{d - 1}>", f"<expr_{max(d - 1, 0)}>"
    if d:
        plain += [
            seq("[", "]"),
            seq("[", inner, Repeat(seq(", ", inner), 0, 7), "]"),
            seq("(", inner, ",", ")"),
            seq("(", inner, Repeat(seq(", ", inner), 1, 7), ")"),
            seq("[", inner, Repeat(Ref(f"each_{d - 1}"), 1, 2), "]"),
        ]
        rules[f"each_{d - 1}"] = seq(" for ", "<names>", " in ", f"<sum_{d - 1}>")
        rules[f"arguments_{d - 1}"] = _arguments(d - 1)
        rules[f"items_{d - 1}"] = _items(d - 1)
        rules[f"place_{d - 1}"] = _place(d - 1, "INDEX")
        rules[f"column_{d - 1}"] = _place(d - 1, "COLUMN")
    rules[f"operand_{d}"] = seq(maybe("<SIGN>"), alt(plain))
    atoms: list[Node | str] = [
        "<NAME>",
        seq("torch.", "<TORCH_VALUE>"),
        seq("math.", "<MATH_VALUE>"),
    ]
    tails: list[Node] = [seq(".", "<ATTRIBUTE>")]
    heads: list[Node] = [seq(".", "<ATTRIBUTE>")]
    if d:
        call = seq("(", f"<arguments_{d - 1}>", ")")
        atoms += [
            seq("<NAME>", call),
            seq("<BUILTIN>", call),
            seq("range", "(", f"<place_{d - 1}>", Repeat(seq(", ", f"<place_{d - 1}>"), 0, 2), ")"),
            seq("torch.", "<TORCH>", call),
            seq("torch.", "linalg.", "<LINALG>", call),
            seq("torch.", "einsum", "(", "<equation>", ", ", f"<arguments_{d - 1}>", ")"),
            seq("F.", "<FUNCTIONAL>", call),
            seq("math.", "<MATH>", call),
            seq("float", "(", "<infinite>", ")"),
            seq("(", below, ")"),
        ]
        method = seq(".", "<METHOD>", call)
        tails += [method, seq("[", f"<items_{d - 1}>", "]")]
        heads += [method, seq("[", alt([":", "..."]), ", ", f"<columns_{d - 1}>", "]")]
        rules[f"columns_{d - 1}"] = _columns(d - 1)
        rules["equation"] = alt([seq("'", "<EQUATION>", "'"), seq('"', "<EQUATION>", '"')])
        rules["infinite"] = alt(["'inf'", "'-inf'", '"inf"', '"-inf"'])
    rules[f"tail_{d}"] = alt(tails)
    many = Repeat(Ref(f"tail_{d}"), 0, _of(_CHAIN, d))
    state = seq("state", maybe(alt(heads), Repeat(Ref(f"tail_{d}"), 0, _of(_CHAIN, d) - 1)))
    rules[f"chain_{d}"] = alt([seq(alt(atoms), many), state])


def _arguments(d: int) -> Node:
    value, small = f"<expr_{d}>", f"<expr_{min(d, 1)}>"
    keys: list[Node] = []
    for kind in vocabulary.KEYWORDS:
        key = kind.upper()
        keys.append(seq(f"<KEY_{key}>", "=", small, maybe(", ", f"<NO_{key}>", "=", small)))
    keys.append(seq("dim=", small, ", keepdim=", small, ", ", "<KEY_MORE>", "=", small))
    named = alt(keys)
    placed = seq(value, Repeat(seq(", ", value), 0, 6))
    return maybe(alt([seq(placed, maybe(", ", named)), named]))


def _place(d: int, token: str) -> Node:
    """A whole number, or a sum that a loop's variable goes into."""
    inner = "place" if token == "INDEX" else "column"
    parts: list[Node | str] = [seq(maybe("-"), f"<{token}>"), "<NAME>"]
    if d:
        parts += [
            seq("(", f"<{inner}_{d - 1}>", ")"),
            seq("<NAME>", "[", f"<place_{d - 1}>", "]"),
            seq("<name>", ".", "shape", "[", f"<place_{d - 1}>", "]"),
            seq("len", "(", "<NAME>", ")"),
        ]
    sign = alt([" + ", " - ", " * ", " // "])
    return seq(alt(parts), Repeat(seq(sign, alt(parts)), 0, 3))


def _slice(place: str) -> Node:
    return seq(maybe(place), ":", maybe(place), maybe(":", place))


def _items(d: int) -> Node:
    """Indices in square brackets: literals stay within the sizes that occur in the task."""
    place = f"<place_{d}>"
    item = alt(
        [
            "...",
            "None",
            place,
            _slice(place),
            seq("[", place, Repeat(seq(", ", place), 0, 7), "]"),
            seq(maybe("<SIGN>"), f"<chain_{d}>", maybe("<COMPARE>", f"<sum_{d}>")),
        ]
    )
    return seq(item, Repeat(seq(", ", item), 0, 3))


def _columns(d: int) -> Node:
    """Columns of ``state``: no literal beyond the last one."""
    column = f"<column_{d}>"
    listed = seq("[", column, Repeat(seq(", ", column), 0, 15), "]")
    return alt([column, _slice(column), listed])
