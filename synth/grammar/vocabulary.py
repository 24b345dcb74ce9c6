"""Tokens of the grammar: which names may be written where, read from the sandbox's own lists."""

from __future__ import annotations

import keyword
from string import ascii_lowercase

from RestrictedPython.transformer import FORBIDDEN_FUNC_NAMES

from prompts.cards import TaskCard
from prompts.views import StateView, state_views
from sandbox import binding, names, policy
from synth.grammar.rules import Token, one_of

ENTRY = "tfcaf"

KEYWORDS: dict[str, tuple[str, ...]] = {
    "dim": ("dim", "dim0", "dims", "start_dim"),
    "keepdim": ("keepdim",),
    "dtype": ("dtype",),
    "device": ("device",),
    "min": ("min", "start"),
    "max": ("max", "end"),
    "more": (
        "alpha", "beta", "descending", "diagonal", "dim1", "end_dim", "eps", "index", "largest",
        "negative_slope", "num_classes", "offset", "ord", "p", "repeats", "shifts", "src",
        "stable", "step", "steps", "unbiased", "value", "weight",
    ),
}  # fmt: skip
"""Keyword arguments, in classes: a call takes at most one of each, since Python refuses a keyword
that is repeated."""

CHANGING = (*names.LIST_METHODS, "fill_", "masked_fill_", "zero_")
_CONSTANTS = ("True", "False", "None")
_NOT_CALLED = {*_CONSTANTS, "range", "dict", "set", "slice"}


def reserved() -> tuple[str, ...]:
    """Words that no variable, parameter or helper function is called."""
    return tuple(
        sorted(
            {
                *keyword.kwlist,
                *names.PREBOUND,
                *names.BUILTINS,
                *policy._BANNED_NAMES,
                *FORBIDDEN_FUNC_NAMES,
                ENTRY,
            }
        )
    )


def named_views(card: TaskCard) -> dict[str, StateView]:
    """The state's parts that a program can take as parameters: none that would hide what else is
    written."""
    taken = {*reserved(), *names.HELPERS, "weights", "bias", "state", "agent_qs"}
    return {name: view for name, view in state_views(card).items() if name not in taken}


def identifier(longest: int, *also_not: str) -> Token:
    """A variable's name: never with an underscore in front, never a reserved word."""
    pattern = f"[A-Za-z][A-Za-z0-9_]{{0,{longest - 1}}}"
    return Token(pattern, longest, tuple(sorted({*reserved(), *also_not})))


def number() -> Token:
    """A number without sign, finite and as an integer below 2**53."""
    return Token(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,8})?(e[+-]?[0-9]{1,2})?", 23)


def comment(longest: int) -> Token:
    """A comment's words: ASCII without a backquote, and never the mark that ends a thought, behind
    which a reply's code is looked for."""
    return Token(f"[ -_a-~]{{1,{longest}}}", longest, (".*</think>.*",))


def integer(highest: int) -> Token:
    """A whole number from 0 to ``highest``, in decimal without leading zeros."""
    return Token(_up_to(str(highest)), len(str(highest)))


def _up_to(digits: str) -> str:
    """A pattern for all numbers from 0 to the one with these digits."""
    shorter = [f"[1-9][0-9]{{{n - 1}}}" for n in range(2, len(digits))]
    cases = ["[0-9]", *shorter] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        low = 1 if place == 0 and len(digits) > 1 else 0
        high = int(digit) - (place < len(digits) - 1)
        if high >= low:
            rest = len(digits) - place - 1
            cases.append(f"{digits[:place]}[{low}-{high}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return "|".join(cases)


def vocabulary(longest_name: int, state_dim: int, iterations: int) -> dict[str, Token]:
    """The tokens of the free flavour, by name."""
    called = {*names.TORCH_FUNCTIONS} - {"einsum"}
    tokens = {
        "NAME": identifier(longest_name, "state"),
        "NUMBER": number(),
        "INDEX": integer(max(iterations, state_dim)),
        "COLUMN": integer(state_dim),
        "TORCH": one_of(called),
        "TORCH_VALUE": one_of((*names.TORCH_DTYPES, *names.TORCH_CONSTANTS)),
        "FUNCTIONAL": one_of(names.FUNCTIONAL),
        "LINALG": one_of(names.LINALG),
        "MATH": one_of(n for n in names.MATH if n not in ("e", "inf", "nan", "pi", "tau")),
        "MATH_VALUE": one_of(n for n in names.MATH if n in ("e", "inf", "nan", "pi", "tau")),
        "BUILTIN": one_of(set(names.BUILTINS) - _NOT_CALLED),
        "CONSTANT": one_of(_CONSTANTS),
        "METHOD": one_of((*names.TENSOR_METHODS, "items", "keys")),
        "ATTRIBUTE": one_of((*names.TENSOR_ATTRIBUTES, "values", "indices")),
        "CHANGE": one_of(n for n in CHANGING if n in names.LIST_METHODS + names.TENSOR_METHODS),
        "AGENT_QS": one_of(binding.AGENT_QS_NAMES),
        "STATE": one_of(binding.STATE_NAMES),
        "EQUATION": Token(r"[a-z]{1,4}(,[a-z]{1,4}){0,2}->[a-z]{0,4}", 20),
        "BINARY": Token(r" (\+|-|\*|/|//|%|\*\*|@|&|\||\^) ", 4),
        "COMPARE": Token(r" (==|!=|<|<=|>|>=) ", 4),
        "CHANGE_BY": Token(r" [+*/-]= ", 4),
        "SIGN": Token("[~-]", 1),
    }
    for kind, words in KEYWORDS.items():
        tokens[f"KEY_{kind.upper()}"] = one_of(words)
        tokens[f"NO_{kind.upper()}"] = one_of(
            w for other, more in KEYWORDS.items() if other != kind for w in more
        )
    return tokens


GROUPS = 9
"""Names fall into so many groups by their first letter; see ``grouped``."""


def grouped(longest_name: int, groups: set[int]) -> Token:
    """A name whose first letter is in one of some groups, so that it differs from all others.

    Python refuses a helper with two parameters of one name, and no context-free rule can compare
    names of any length; so a helper's parameters come from different groups. ``state`` is apart.
    """
    letters = [c for i, c in enumerate(ascii_lowercase) if i % GROUPS in groups]
    first = "".join(letters + [c.upper() for c in letters])
    pattern = f"[{first}][A-Za-z0-9_]{{0,{longest_name - 1}}}"
    words = (w for w in (*reserved(), "state") if w[0] in first)
    return Token(pattern, longest_name, tuple(sorted(words)))
