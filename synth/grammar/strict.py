"""The strict flavour: what it derives fits together, and is nearly always accepted.

The rules carry types: a rule derives only expressions of shape [B, n_agents] (``a``), only those
of shape [B, 1] (``t``), or factors from -1 to 1 of the former shape (``g``), so that every sum and
product broadcasts to what its line needs. A program reads the state's parts by name, and all of
them are its parameters. Variables are ``a0, a1, ..`` and ``t0, t1, ..``, and the rules count which
of them have a value: ``body_2_1`` is what may follow once a0, a1 and t0 have one. No function but a
total one is there, and values grow at most by a factor per operation, so the result is finite; the
mixing form is a sum of non-decreasing functions of the agents' values.
"""

from __future__ import annotations

import re

from prompts.cards import TaskCard
from prompts.views import StateView
from sandbox import names
from synth.grammar import vocabulary
from synth.grammar.limits import GrammarLimits
from synth.grammar.rules import Grammar, Node, Ref, Token, alt, one_of, seq

_GATES = ("sigmoid", "tanh", "sin", "cos", "erf")
_CURVES = (*_GATES, "relu", "abs", "neg", "atan")
_GATES_F = ("hardsigmoid", "softsign")
_CURVES_F = (*_GATES_F, "elu", "gelu", "silu", "softplus")
_RISING_F = ("elu", "softplus", "leaky_relu")
_FOLDS = ("mean", "sum", "amax", "amin")
_KEEP = "(dim=1, keepdim=True)"
_OWN_NAMES = re.compile(r"[at]\d+|i")


def strict_grammar(card: TaskCard, limits: GrammarLimits) -> Grammar:
    """The strict language of a task."""
    return _Strict(card, limits).grammar


class _Strict:
    def __init__(self, card: TaskCard, limits: GrammarLimits) -> None:
        self.n, self.limits = card.n_agents, limits
        self.grammar = Grammar()
        tokens = self.grammar.tokens
        views = vocabulary.named_views(card)
        self._views = {k: v for k, v in views.items() if not _OWN_NAMES.fullmatch(k)}
        for size in {n for view in self._views.values() for n in view.shape}:
            tokens[f"PLACE_{size}"] = one_of(map(str, range(size)))
            tokens[f"ONE_{size}"] = one_of(f"{k}:{k + 1}" for k in range(size))
        tokens["NUMBER"] = Token(r"-?[0-9](\.[0-9])?", 4)
        tokens["POSITIVE"] = Token(r"0\.[1-9]|[1-9](\.[0-9])?", 3)
        tokens["COMPARE"] = Token(r" (==|<|<=|>|>=) ", 4)
        torch, functional = set(names.TORCH_FUNCTIONS), set(names.FUNCTIONAL)
        tokens["GATE"] = one_of(torch.intersection(_GATES))
        tokens["CURVE"] = one_of(torch.intersection(_CURVES))
        tokens["GATE_F"] = one_of(functional.intersection(_GATES_F))
        tokens["CURVE_F"] = one_of(functional.intersection(_CURVES_F))
        tokens["RISING_F"] = one_of(functional.intersection(_RISING_F))
        tokens["FOLD"] = one_of(set(_FOLDS).intersection(names.TENSOR_METHODS))
        self._programs()

    def _programs(self) -> None:
        rules, limits = self.grammar.rules, self.limits
        most = limits.strict_statements
        pools = [
            (a, t)
            for a in range(limits.variables + 1)
            for t in range(limits.variables + 1)
            if a + t <= most
        ]
        parameters = ", ".join(self._views) or "state"
        rules["start"] = seq(
            f"def {vocabulary.ENTRY}(",
            alt([seq(f"{parameters}):\n", "<weights_0_0>"),
                 seq(f"agent_qs, {parameters}):\n", "<mixing_0_0>")]),
        )  # fmt: skip
        of_agents = [_of_agents(view) for view in self._views.values() if "agents" in view.axes]
        self._agents: list[Node] = []
        if of_agents:
            rules["agents"], self._agents = alt(of_agents), [Ref("agents")]
        rules["column"] = alt([_column(v) for v in self._views.values()] or ["state[:, 0:1]"])
        for a, t in pools:
            for form in ("weights", "mixing"):
                rules[f"{form}_{a}_{t}"] = self._body(form, a, t)
            self._expressions(a, t)

    def _body(self, form: str, a: int, t: int) -> Node:
        """Continuations once ``a`` and ``t`` variables have a value: a line more, or the end."""
        limits, top = self.limits, f"{a}_{t}_{self.limits.strict_depth}"
        lines: list[Node] = [self._end(form, a, t)]
        room = a + t < limits.strict_statements
        if room and a < limits.variables:
            rest = Ref(f"{form}_{a + 1}_{t}")
            lines.append(seq(f"    a{a} = ", f"<a_{top}>", "\n", rest))
            if a or self._agents:
                lines.append(seq(self._loop(a, t), rest))
        if room and t < limits.variables:
            lines.append(seq(f"    t{t} = ", f"<t_{top}>", "\n", f"<{form}_{a}_{t + 1}>"))
        return alt(lines)

    def _loop(self, a: int, t: int) -> Node:
        """Difference of each agent from the team in some respect, agent by agent."""
        one = f"<a_{a}_{t}_0>"
        return seq(
            f"    a{a} = torch.zeros({next(iter(self._views), 'state')}.shape[0], {self.n})\n"
            f"    for i in range({self.n}):\n"
            f"        a{a}[:, i:i + 1] = (",
            one, " - ", one, "[:, i:i + 1]).abs().", "<FOLD>", f"{_KEEP}\n",
        )  # fmt: skip

    def _end(self, form: str, a: int, t: int) -> Node:
        low = f"{a}_{t}_{min(1, self.limits.strict_depth)}"
        team = f"<t_{low}>"
        if form == "weights":
            return seq("    return (", "<POSITIVE>", " + ", f"<a_{low}>", "), ", team, "\n")
        rising = alt(
            ["agent_qs", seq("F.", "<RISING_F>", "(agent_qs)"), "torch.tanh(agent_qs / 9.0)"]
        )
        fold = alt([f"agent_qs.{f}{_KEEP}" for f in ("amax", "amin", "mean")])
        total = seq("((", "<POSITIVE>", " + ", f"<p_{low}>", ") * ", rising, f").sum{_KEEP}")
        both = seq(total, " + ", "<POSITIVE>", " * ", fold)
        return seq("    return ", alt([total, both]), " + ", team, "\n")

    def _expressions(self, a: int, t: int) -> None:
        rules = self.grammar.rules
        agents: list[Node | str] = [*(f"a{k}" for k in range(a)), *self._agents]
        agents.append(seq(f"<t_{a}_{t}_0>", f".expand(-1, {self.n})"))
        team: list[Node | str] = [*(f"t{k}" for k in range(t)), "<column>"]
        rules[f"a_{a}_{t}_0"], rules[f"t_{a}_{t}_0"] = alt(agents), alt(team)
        for d in range(1, self.limits.strict_depth + 1):
            inner_a, inner_t = f"<a_{a}_{t}_{d - 1}>", f"<t_{a}_{t}_{d - 1}>"
            rules[f"g_{a}_{t}_{d}"] = alt([*_gates(inner_a), *_parts(inner_a)])
            rules[f"p_{a}_{t}_{d}"] = alt(
                [
                    *_parts(inner_a),
                    seq("torch.sigmoid(", inner_a, ")"),
                    seq("F.softplus(", inner_a, ")"),
                    seq(inner_a, ".abs()"),
                ]
            )
            gate = f"<g_{a}_{t}_{d}>"
            rules[f"a_{a}_{t}_{d}"] = alt(
                [
                    f"<a_{a}_{t}_0>",
                    gate,
                    *_sums(inner_a, f"<a_{a}_{t}_0>"),
                    seq("(", inner_a, alt([" + ", " - "]), inner_t, ")"),
                    seq("(", *_gates(inner_a)[:1], " * ", alt([inner_a, inner_t]), ")"),
                    seq(
                        "(",
                        inner_a,
                        ".unsqueeze(2) - ",
                        inner_a,
                        ".unsqueeze(1)).abs().mean(dim=2)",
                    ),
                ]
            )
            rules[f"t_{a}_{t}_{d}"] = alt(
                [
                    f"<t_{a}_{t}_0>",
                    *_gates(inner_t),
                    *_sums(inner_t, f"<t_{a}_{t}_0>"),
                    seq("(", *_gates(inner_t)[:1], " * ", inner_t, ")"),
                    seq(inner_a, ".", "<FOLD>", _KEEP),
                ]
            )


def _of_agents(view: StateView) -> Node:
    """One number of each agent: ``agent_position[:, :, 0]``."""
    at = view.axes.index("agents")
    if len(view.shape) == 1:
        return seq(view.name)
    index = [":" if k == at else f"<PLACE_{size}>" for k, size in enumerate(view.shape)]
    return seq(f"{view.name}[:, {', '.join(index)}]")


def _column(view: StateView) -> Node:
    """One number for the team: ``agent_position[:, 1:2, 0]``."""
    at = view.axes.index("agents") if "agents" in view.axes else 0
    index = [f"<{'ONE' if k == at else 'PLACE'}_{size}>" for k, size in enumerate(view.shape)]
    return seq(f"{view.name}[:, {', '.join(index)}]")


def _gates(x: str) -> list[Node]:
    """Factors from -1 to 1."""
    return [
        seq("torch.", "<GATE>", "(", x, ")"),
        seq("F.", "<GATE_F>", "(", x, ")"),
        seq("(", x, "<COMPARE>", alt(["<NUMBER>", x]), ").float()"),
    ]


def _parts(x: str) -> list[Node]:
    """Factors from 0 to 1 for each agent."""
    return [
        seq("torch.softmax(", x, ", dim=1)"),
        seq("torch.exp(-", x, ".abs())"),
        seq("(", x, "<COMPARE>", alt(["<NUMBER>", x]), ").float()"),
    ]


def _sums(x: str, atom: str) -> list[Node]:
    """Curves, choices and sums of one shape."""
    return [
        seq("torch.", "<CURVE>", "(", x, ")"),
        seq("F.", "<CURVE_F>", "(", x, ")"),
        seq("torch.log1p(", x, ".abs())"),
        seq("torch.sqrt(", x, ".abs() + 0.1)"),
        seq("torch.clamp(", x, ", -", "<POSITIVE>", ", ", "<POSITIVE>", ")"),
        seq("torch.", alt(["maximum", "minimum"]), "(", x, ", ", x, ")"),
        seq("torch.where(", atom, "<COMPARE>", "<NUMBER>", ", ", x, ", ", x, ")"),
        seq("(", x, alt([" + ", " - "]), x, ")"),
        seq("(", "<NUMBER>", alt([" + ", " * "]), x, ")"),
        seq("(", x, " / ", "<POSITIVE>", ")"),
    ]
