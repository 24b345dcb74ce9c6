"""Replies are held to their constraint on our side, whatever the server did."""

from __future__ import annotations

import pytest

from models.constraints import violation
from models.protocol import Constraint, ModelError

GRAMMAR = Constraint(
    "grammar", 'start: "def f(" /[a-z]+/ "):\\n" line+\nline: "    x = " /[0-9]+/ "\\n"\n'
)
SCHEMA = Constraint(
    "json",
    {
        "type": "object",
        "properties": {"slot": {"type": "integer", "minimum": 0}},
        "required": ["slot"],
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize(
    ("text", "constraint"),
    [("def f(ab):\n    x = 12\n", GRAMMAR), ('{"slot": 1}', SCHEMA), ("anything", None)],
)
def test_a_reply_that_keeps_to_its_constraint_breaks_nothing(text, constraint):
    assert violation(text, constraint) == ""


@pytest.mark.parametrize(
    ("text", "constraint", "said"),
    [
        ("def f(ab):\n   x", GRAMMAR, "line 2"),
        ("é", GRAMMAR, "line 1"),
        ("def f(ab):\n    x = 1", GRAMMAR, "in the middle"),
        ('{"slot": "x"}', SCHEMA, "slot: 'x' is not of type 'integer'"),
        ('{"slot": 1, "b": 2}', SCHEMA, "Additional properties"),
        ("Sure! Here it is: {}", SCHEMA, "it is no JSON"),
        ("[" * 100_000, SCHEMA, "nested too deeply"),
    ],
)
def test_a_reply_that_breaks_its_constraint_is_told_how(text, constraint, said):
    assert said in violation(text, constraint)


@pytest.mark.parametrize(
    ("text", "constraint"), [("def f(ab):\n    x = 1", GRAMMAR), ('{"slot": ', SCHEMA)]
)
def test_a_reply_cut_by_the_token_limit_need_only_be_a_beginning(text, constraint):
    assert violation(text, constraint) != ""
    assert violation(text, constraint, cut=True) == ""


@pytest.mark.parametrize(
    "constraint",
    [Constraint("grammar", "start: missing"), Constraint("json", {"type": "no such type"})],
)
def test_a_constraint_that_cannot_be_used_is_said(constraint):
    with pytest.raises(ModelError, match="cannot be used"):
        violation("{}", constraint)
