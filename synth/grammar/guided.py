"""The guided flavour: typed by shape over the state's named parts, with names bound before use.

A rule derives expressions of one shape only: a value for each row (``r``, [B, 1]), for each agent
(``a``, [B, n]), for each of some things (``i_foods``, [B, m]) or for each agent and thing
(``p_foods``, [B, n, m]); what the task has of these follows from its views. Values of different
shapes meet only in the forms that broadcast as meant, and in the helpers (`sandbox.helpers`).
Variables have names from a small vocabulary, any of which may hold any shape: a bit of a parametric
rule for each name and shape tells which have a value, so that none is read before, or set twice.

What it derives passes policy, export and shapes by construction; what the function means is the
writer's, who may think in comments before every line. A reply begins with one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from prompts.cards import TaskCard
from prompts.views import StateView
from sandbox import names
from synth.grammar import vocabulary
from synth.grammar.limits import GrammarLimits
from synth.grammar.rules import Grammar, Node, Ref, Repeat, Token, When, alt, maybe, seq

WORDS = (
    "distance", "closeness", "reach", "need", "able", "busy", "score", "gain", "risk", "part",
    "total",
)  # fmt: skip
"""Names of variables of any shape."""
_BITS = 64
_FOLDS = ("sum", "mean", "amax", "amin")


def guided_grammar(card: TaskCard, limits: GrammarLimits) -> Grammar:
    """The guided language of a task."""
    return _Guided(card, limits).grammar


@dataclass(frozen=True)
class Parts:
    """The state's parts by the shape of what they hold."""

    scalars: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Expressions of a shape that need no variable."""
    vectors: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    """Views with an axis more than their shape, and how long that is."""

    @property
    def shapes(self) -> list[str]:
        """The shapes that the task has, in the order of a card's fields."""
        return list(self.scalars)


def parts_of(card: TaskCard) -> Parts:
    """What the views of a task give without any variable."""
    found = Parts()
    for name, view in vocabulary.named_views(card).items():
        shape, width = _shape_of(name, view)
        if shape is None:
            continue
        if width is None:
            found.scalars[shape].append(name)
        else:
            found.vectors[shape].append((name, width))
    for shape, vectors in found.vectors.items():
        axes = ":" if shape == "r" else ", ".join([":"] * (2 + (shape[0] == "p")))
        for name, width in vectors:
            last = [f"{k}:{k + 1}" if shape == "r" else str(k) for k in range(width)]
            found.scalars[shape] += [f"{name}[{axes}, {k}]" for k in last]
    for things in [s for s in found.vectors if s.startswith("i_")]:
        pairs = [
            f"pairwise_distance({a}, {b})"
            for a, wide in found.vectors["a"]
            for b, width in found.vectors[things]
            if width == wide
        ]
        if pairs:
            found.scalars[f"p_{things[2:]}"] += pairs
    _fill(found, card)
    return found


def _fill(found: Parts, card: TaskCard) -> None:
    """Give every shape that is needed something that has it."""
    for pairs in [s for s in found.scalars if s.startswith("p_")]:
        things = f"i_{pairs[2:]}"
        if things not in found.scalars:
            found.scalars[things] = [f"{x}.amin(dim=1)" for x in found.scalars[pairs][:1]]
    if "r" not in found.scalars and "a" not in found.scalars:
        found.scalars["r"] = ["state[:, 0:1]"]
    if "a" not in found.scalars:
        found.scalars["a"] = [f"{x}.expand(-1, {card.n_agents})" for x in found.scalars["r"]]
    if "r" not in found.scalars:
        found.scalars["r"] = [f"{x}.mean(dim=1, keepdim=True)" for x in found.scalars["a"][:1]]


def _shape_of(name: str, view: StateView) -> tuple[str | None, int | None]:
    """The shape that a view has, and how long its vectors are; no shape where it is of none."""
    axes = list(zip(view.axes, view.shape, strict=True))
    agents = bool(axes) and axes[0][0] == "agents"
    rest = axes[1:] if agents else axes
    width = rest[-1][1] if rest and not rest[-1][0] else None
    things = rest[:-1] if width is not None else rest
    if len(things) > 1 or any(size < 2 for _, size in things) or (agents and view.shape[0] < 2):
        return None, None
    if not things:
        single = not agents and width == 1
        return ("a" if agents else "r"), (None if single else width)
    label, size = things[0]
    if not label:  # agent_left_position and agent_left_direction are both of what is left
        words = name.split("_")[1:] if agents else name.split("_")
        label = "_".join(words[:-1] or words)
    return f"{'p' if agents else 'i'}_{label}{size}", width


class _Guided:
    def __init__(self, card: TaskCard, limits: GrammarLimits) -> None:
        self.card, self.limits = card, limits
        self.parts = parts_of(card)
        self.shapes = self.parts.shapes
        self.grammar = Grammar()
        self.grammar.tokens |= {
            "NUMBER": Token(r"-?[0-9](\.[0-9]{1,2})?", 5),
            "POSITIVE": Token(r"0\.[1-9][0-9]?|[1-9][0-9]?(\.[0-9])?", 4),
            "COMPARE": Token(r" (==|<|<=|>|>=) ", 4),
            "SIGN": Token(r" [-+] ", 3),
            "COMMENT": _comment(limits.comment),
        }
        words = [w for w in WORDS if w not in vocabulary.named_views(card)]
        words = words[: (_BITS - 2) // len(self.shapes)]
        pairs = [(w, shape) for w in words for shape in self.shapes]
        self.bits = {pair: at for at, pair in enumerate([*pairs, ("weights", "a"), ("bias", "r")])}
        """Bit of each name and shape; those of one name lie together."""
        self._programs(words)
        for shape in self.shapes:
            for depth in range(limits.guided_depth + 1):
                self._expressions(shape, depth)
            self._name(shape)
        self._credits()

    # ---- programs ----------------------------------------------------------------------------

    def _programs(self, words: list[str]) -> None:
        parameters = ", ".join(vocabulary.named_views(self.card)) or "state"
        head = f"def {vocabulary.ENTRY}("
        rules = self.grammar.rules
        rules["start"] = seq(
            Repeat(seq("<COMMENT>", "\n"), 1, 3), head,
            alt([seq(f"{parameters}):\n", "<weighing>"),
                 seq(f"agent_qs, {parameters}):\n", "<mixing>")]),
        )  # fmt: skip
        top = self.limits.guided_depth
        weights = seq("return ", f"<a_{top}>", ", ", alt([f"<r_{top}>", "0.0"]), "\n")
        mixed = seq("return ", "<team>", "\n")
        for form, end in (("weighing", weights), ("mixing", mixed)):
            lines: list[Node | str] = [end]
            for word in (*words, "weights", "bias"):
                rests = [
                    seq(f"<{shape}_{top}>", "\n", Ref(form, sets=bit))
                    for (name, shape), bit in self.bits.items()
                    if name == word
                ]
                lines.append(When(self._unset(word), seq(f"{word} = ", alt(rests))))
            comment = seq("    ", "<COMMENT>", "\n")
            self._rule(f"{form}_line", lines)
            self._rule(form, [seq(maybe(comment), "    ", f"<{form}_line>")])
            self.grammar.again[form] = self.limits.guided_lines

    def _unset(self, word: str) -> str:
        """That a name has no value yet, and that there is room for another line."""
        at = [bit for (name, _), bit in self.bits.items() if name == word]
        unset = f"is_zeros([{min(at)}:{max(at) + 1}])"
        return f"and({unset}, bit_count_lt(_, {self.limits.guided_lines}))"

    # ---- expressions of one shape ------------------------------------------------------------

    def _rule(self, name: str, choices: Iterable[Node | str]) -> None:
        self.grammar.rules[name] = alt(choices)
        self.grammar.parametric.add(name)

    def _name(self, shape: str) -> None:
        """What has a shape without any operation: parts of the state, and variables."""
        variables: list[Node | str] = [
            When(f"bit_set({bit})", seq(word))
            for (word, of), bit in self.bits.items()
            if of == shape
        ]
        self._rule(f"{shape}_n", [*self.parts.scalars[shape], *variables])

    def _expressions(self, shape: str, depth: int) -> None:
        """Sums of products of ``shape``, with calls and brackets ``depth`` deep."""
        atom = f"<{shape}_x_{depth}>" if depth else f"<{shape}_n>"
        if depth:
            self._rule(f"{shape}_x_{depth}", [f"<{shape}_n>", *self._calls(shape, depth - 1)])
        beside: list[Node | str] = [atom, "<POSITIVE>", *self._broadcast(shape)]
        product = seq(
            maybe("<POSITIVE>", " * "), atom, Repeat(seq(" * ", alt(beside)), 0, 2 if depth else 1),
            maybe(" / ", "<POSITIVE>"),
        )  # fmt: skip
        self._rule(f"{shape}_f_{depth}", [product])
        more = alt([f"<{shape}_f_{depth}>", "<POSITIVE>", *self._broadcast(shape)])
        total = seq(
            maybe(alt([seq("<NUMBER>", alt(["<SIGN>", " * "])), "-"])),
            f"<{shape}_f_{depth}>", Repeat(seq("<SIGN>", more), 0, 2),
        )  # fmt: skip
        self._rule(f"{shape}_{depth}", [total])

    def _broadcast(self, shape: str) -> list[Node | str]:
        """Values of other shapes in the form that goes with this one."""
        if shape == "r":
            return []
        if not shape.startswith("p_"):
            return ["<r_n>"]
        forms: list[Node | str] = [seq("<a_n>", ".unsqueeze(2)")]
        things = f"i_{shape[2:]}"
        return [*forms, seq(f"<{things}_n>", ".unsqueeze(1)")] if self._has(things) else forms

    def _has(self, shape: str) -> bool:
        return shape in self.shapes

    def _calls(self, shape: str, d: int) -> Iterator[Node | str]:
        """Operations that give a shape, of arguments ``d`` deep."""
        x = f"<{shape}_{d}>"
        for curve in ("abs", "sigmoid", "tanh"):
            yield seq(f"torch.{curve}(", x, ")")
        yield seq("torch.log1p(torch.abs(", x, "))")
        yield seq("torch.exp(-torch.abs(", x, "))")
        yield seq("torch.clamp(", x, ", ", "<NUMBER>", ", ", "<POSITIVE>", ")")
        yield seq("torch.", alt(["minimum", "maximum"]), "(", x, ", ", x, ")")
        choice = [x, "<NUMBER>"]
        yield seq("torch.where(", self._condition(shape, d), ", ", x, ", ", alt(choice), ")")
        yield seq("(", self._condition(shape, d), ").float()")
        yield seq("(", x, ")")
        yield from self._helpers(shape, x, d)
        yield from self._folds(shape, d)

    def _condition(self, shape: str, d: int) -> Node:
        one = seq(
            f"<{shape}_n>", "<COMPARE>", alt([f"<{shape}_n>", "<NUMBER>", *self._lined(shape)])
        )
        return alt([one, seq("(", one, ")", alt([" & ", " | "]), "(", one, ")")]) if d else one

    def _lined(self, shape: str) -> list[Node | str]:
        """Other shapes beside a comparison."""
        return self._broadcast(shape) if shape.startswith("p_") else []

    def _helpers(self, shape: str, x: str, d: int) -> Iterator[Node | str]:
        yield seq("near(", x, maybe(", ", "<POSITIVE>"), ")")
        yield seq("scaled(", x, ", 0, ", "<POSITIVE>", ")")
        whole: list[Node | str] = [x, "<POSITIVE>"]
        if shape.startswith("p_") and self._has(f"i_{shape[2:]}"):
            whole.append(f"<i_{shape[2:]}_n>")
        yield seq("fraction_of(", x, ", ", alt(whole), ")")
        yield seq("where_valid(", x, ", ", self._valid(shape), maybe(", ", "<NUMBER>"), ")")
        if shape != "r":
            yield seq("share(", x, ")")
            dims = ("2", "1") if shape.startswith("p_") else ("1",)
            yield seq("torch.softmax(", x, ", dim=", alt(dims), ")")
        if shape == "a":
            yield seq("others_mean(", x, ")")
        for name, _ in self.parts.vectors[shape]:
            yield f"length({name})"
        yield from self._distances(shape)

    def _distances(self, shape: str) -> Iterator[str]:
        """Distances between parts of the state that are places."""
        other = {"a": "r", "r": ""}.get(shape, f"i_{shape[2:]}" if shape[0] == "p" else "")
        for a, wide in self.parts.vectors["a"]:
            for b, width in self.parts.vectors[other] if other else ():
                if width == wide:
                    yield f"pairwise_distance({a}, {b})"

    def _valid(self, shape: str) -> Node:
        """What says which count: a condition, or numbers that are not 0."""
        of = [shape]
        if shape.startswith("p_") and self._has(f"i_{shape[2:]}"):
            of.append(f"i_{shape[2:]}")
        every: list[Node | str] = []
        for each in of:
            every += [f"<{each}_n>", seq(f"<{each}_n>", "<COMPARE>", "<NUMBER>")]
        return alt(every)

    def _folds(self, shape: str, d: int) -> Iterator[Node | str]:
        """Larger shapes folded to this one."""
        fold = alt(_FOLDS)
        for pairs in self.shapes:
            if not pairs.startswith("p_"):
                continue
            if shape == "a":
                x, things = f"<{pairs}_{d}>", f"i_{pairs[2:]}"
                yield seq(f"<{pairs}_n>", ".", fold, "(dim=2)")
                yield from self._over(pairs, x)
                if self._has(things):
                    yield seq(
                        "at_nearest(", f"<{pairs}_n>", ", ", f"<{things}_n>",
                        maybe(", ", self._valid(things)), ")",
                    )  # fmt: skip
            elif shape == f"i_{pairs[2:]}":
                yield seq(f"<{pairs}_n>", ".", fold, "(dim=1)")
        if shape == "r":
            for each in self.shapes:
                if each == "a" or each.startswith("i_"):
                    yield seq(f"<{each}_n>", ".", fold, "(dim=1, keepdim=True)")
                    yield seq(
                        alt(["soft_min", "soft_max"]), "(", f"<{each}_{d}>",
                        maybe(", ", "<POSITIVE>"), ")",
                    )  # fmt: skip
                    yield from self._over(each, f"<{each}_{d}>")

    def _over(self, shape: str, x: str) -> Iterator[Node]:
        """Helpers that fold the last axis of a shape."""
        yield seq(alt(["nearest", "furthest"]), "(", x, maybe(", ", self._valid(shape)), ")")
        yield seq("masked_mean(", x, ", ", self._valid(shape), ")")
        own = seq(f"<{shape}_n>", maybe("<COMPARE>", "<NUMBER>"))
        yield seq("count(", own, ")")

    # ---- the mixing form ---------------------------------------------------------------------

    def _credits(self) -> None:
        """Sums of what rises with the agents' values, with factors that are not negative."""
        low = max(0, self.limits.guided_depth - 1)
        for shape in ("a", "r"):
            x = f"<{shape}_{low}>"
            weights: list[Node | str] = [
                seq("torch.", alt(["abs", "sigmoid"]), "(", x, ")"),
                seq("near(", x, maybe(", ", "<POSITIVE>"), ")"),
                seq("fraction_of(", x, ", ", alt([x, "<POSITIVE>"]), ")"),
                seq("scaled(", x, ", 0, ", "<POSITIVE>", ")"),
                seq("(", self._condition(shape, low), ").float()"),
            ]
            if shape == "a":
                weights += [seq("share(", x, ")"), seq("torch.softmax(", x, ", dim=1)")]
            self._rule(f"{shape}_w", weights)
        weight = seq("(", "<POSITIVE>", " + ", "<a_w>", Repeat(seq(" + ", "<a_w>"), 0, 2), ")")
        each = alt(["agent_qs", seq("(", weight, " * agent_qs)")])
        fold = alt([f"{f}(dim=1, keepdim=True)" for f in _FOLDS])
        soft = seq(alt(["soft_min", "soft_max"]), "(agent_qs, ", "<POSITIVE>", ")")
        self._rule("credit", [seq(each, ".", fold), soft])
        some = seq("(", "<POSITIVE>", " + ", "<r_w>", ")")
        factor = maybe(alt(["<POSITIVE>", some]), " * ")
        self._rule(
            "team",
            [
                seq(
                    factor, "<credit>", Repeat(seq(" + ", factor, "<credit>"), 0, 3),
                    maybe(" + ", f"<r_{low}>"),
                )
            ],
        )  # fmt: skip


def _comment(longest: int) -> Token:
    """A comment line, one lexeme from its mark to its end."""
    words = vocabulary.comment(longest)
    return Token(f"# {words.pattern}", 2 + words.longest, words.but_not)


def guided_names(card: TaskCard) -> str:
    """What may be written, for the coder's prompt."""
    words = ", ".join(w for w in WORDS if w not in vocabulary.named_views(card))
    return "\n".join(
        [
            f"  variables: {words}, weights, bias",
            "  numbers, + - *, division by a number, x[:, :, 0], (x > 0).float(), (x == 1).float()",
            "  torch. abs sigmoid tanh exp log1p clamp minimum maximum where softmax",
            "  x.sum(dim=2) of [B, n, m] gives [B, n], x.sum(dim=1) [B, m]; or mean amax amin",
            "  x.sum(dim=1, keepdim=True) of [B, n] gives [B, 1]; or mean amax amin",
            *(f"  {call}  {gives}" for call, gives in names.HELPERS.values()),
        ]
    )
