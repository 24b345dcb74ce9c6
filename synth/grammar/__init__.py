"""The language that a model writes credit functions in, as a grammar made from the sandbox's lists.

See ``docs/grammar.md``.
"""

from __future__ import annotations

from prompts.cards import TaskCard
from synth.grammar.free import free_grammar
from synth.grammar.guided import guided_grammar, guided_names
from synth.grammar.limits import GUIDED, STRICT, GrammarLimits
from synth.grammar.normalise import normalise
from synth.grammar.rules import Grammar
from synth.grammar.strict import strict_grammar

__all__ = [
    "GUIDED",
    "STRICT",
    "GrammarLimits",
    "build_grammar",
    "guided_names",
    "normalise",
    "program_grammar",
]


def program_grammar(card: TaskCard, *, limits: GrammarLimits | None = None) -> str:
    """A grammar of credit functions for a task, in the Lark dialect that llguidance reads.

    Whatever it derives is bare code, without a fence, that the sandbox's source policy accepts.
    """
    limits = limits or GrammarLimits()
    return build_grammar(card, limits).lark()


def build_grammar(card: TaskCard, limits: GrammarLimits) -> Grammar:
    """The grammar as a value, whose longest text can be computed."""
    made = {"free": free_grammar, "guided": guided_grammar, "strict": strict_grammar}
    return made[limits.flavour](card, limits)
