"""Odds of the sampler's kinds of program, adjusted by the conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.protocol import Message


@dataclass(frozen=True)
class Odds:
    """Odds of a program writer."""

    weights_form: float = 0.4
    """Probability of the weights form."""
    nonlinear: float = 0.75
    """Probability that a mixing form is nonlinear in the agents' values."""
    interplay: float = 0.3
    """Probability that such a nonlinear form lets agents' values act on each other; few of those
    can be proved to rise with every agent's value, and some do not."""
    signed: float = 0.1
    """Probability that weights may become negative."""
    ratios: bool = True
    """Whether terms may be divided by each other's sums."""
    pairs: bool = True
    """Whether agents may be compared with every entity."""
    strength: float = 1.0
    """Distance by which the state moves the credit away from 1."""


def odds_after(messages: Sequence[Message]) -> Odds:
    """Odds after a conversation; only its newest message counts, as the task's first does not.

    The sampler understands no language. It looks for a few words that the sandbox's feedback and
    the measured evaluator's advice use.
    """
    odds = Odds()
    asked = [m for m in messages if m.role == "user"]
    if len(asked) < 2:
        return odds
    text = asked[-1].content.lower()
    if re.search(r"monoton|decrease", text):
        odds = replace(odds, weights_form=0.8, interplay=0.0, signed=0.0)
    if re.search(r"not finite|non-finite|\bnan\b|infinit|divi(?:de|sion)", text):
        odds = replace(odds, ratios=False)
    if re.search(r"too large|too many|memory|took longer|time limit", text):
        odds = replace(odds, pairs=False)
    if "nearer to 1" in text:
        odds = replace(odds, strength=0.4)
    elif "more strongly" in text:
        odds = replace(odds, strength=1.6)
    better = re.search(r"return of functions in (weights|mixing) form", text)
    if better:
        odds = replace(odds, weights_form=0.8 if better[1] == "weights" else 0.25)
    return odds
