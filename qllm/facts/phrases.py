"""Facts of a credit function in words, the same on every display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompts.cards import StateSlice

PROPERTY = {
    "shape": "it returns one number for each row of a batch",
    "inputs_untouched": "it leaves its inputs as they are",
    "indices_in_bounds": "every index into the state lies within it",
    "finite": "q_tot is a finite number",
    "finite_gradient": "its slope in every agent's Q is a finite number",
    "deterministic": "the same inputs give the same q_tot",
    "row_independent": "a row's q_tot does not depend on the other rows of a batch",
    "monotone": "q_tot never falls when an agent's Q rises",
    "greedy_is_best": "each agent's best action is part of the best joint action (IGM)",
    "someone_credited": "some agent's Q matters in some state",
    "every_agent_credited": "every agent's Q matters in some state",
    "state_matters": "the credit depends on the state",
    "unused_columns": "columns that the card calls unused do not matter",
    "slope_scale": "slopes are of a size that training can use",
    "exchangeable": "agents that the card calls exchangeable are treated alike",
    "float_precision": "float32 and float64 agree",
    "outside_ranges": "states a little outside the card's ranges do no harm",
}
"""What each property says."""

STRENGTH = {
    "proved": "proved: it holds for every state within the card's ranges, not for examples alone",
    "pass": "tested: no counterexample among the examples, which proves nothing beyond them",
    "warn": "a warning: no reason to reject",
    "fail": "violated: the function is rejected for it",
}
"""What the status of a property means."""

IGM = {
    "by-gate": "holds by construction: the gate makes every weight non-negative",
    "proved": "proved: q_tot never falls when an agent's Q rises",
    "proved-over-reals": "proved over the reals: q_tot never falls but for float32's rounding",
    "tested": "tested, not proved: no counterexample was found",
    "violated": "violated: q_tot can fall when an agent's Q rises",
    "not-required": "not required under this gate",
}
"""How it is known that individually greedy actions maximise q_tot."""

FINITE = {
    "proved": "proved finite",
    "tested": "every tested value was finite",
    "violated": "some values are not finite",
}

GATE = {
    "enforce": "q_tot may not fall when an agent's Q rises (IGM)",
    "relax": "q_tot may fall when an agent's Q rises: IGM is not required",
}

RETURN = (
    "Return: team reward summed over an episode without discount, in the last evaluation. A seed's"
    " number is the mean over its episodes; mean and IQM (interquartile mean) are over the seeds."
)
INTERVALS = (
    "95% intervals, of means by Student's t, of an IQM by bootstrap (too narrow below ten seeds)"
)
PILOT_STEPS = (
    "Pilot steps were spent once on selecting the function, on top of the environment steps"
)

Bounds = Sequence[float | None]


def bounds(ends: Bounds) -> str:
    """Proved bounds of one weight: ``0 to 1.5``, ``at least 0``."""
    low, high = ends
    if low is None:
        return "no proved bounds" if high is None else f"at most {high:.4g}"
    return f"at least {low:.4g}" if high is None else f"{low:.4g} to {high:.4g}"


def weights(every: Sequence[Bounds]) -> str:
    """Proved bounds of the agents' weights: ``agent 0: 0 to 1.5; agent 1: ...``; empty without."""
    known = [bounds(ends) for ends in every]
    if len(set(known)) == 1:
        return f"every agent: {known[0]}"
    return "; ".join(f"agent {i}: {words}" for i, words in enumerate(known))


def linear(linear_in_q: bool | None) -> str:
    """``linear in the agents' Qs``, or that it is not shown to be."""
    return f"{'' if linear_in_q else 'not shown to be '}linear in the agents' Qs"


def values(piece: StateSlice) -> str:
    """What the columns of a slice of the state may hold: ``0 to 2, or -1``."""
    if piece.unused:
        return "unused"
    return ", or ".join([f"{piece.low:g} to {piece.high:g}", *(f"{v:g}" for v in piece.sentinels)])


def meaning(piece: StateSlice) -> str:
    """What a slice of the state is, with its sentinel values."""
    special = ", ".join(f"{value:g}" for value in piece.sentinels)
    words = " ".join(piece.meaning.split())
    return f"{words}; {special}: {piece.sentinel_meaning}" if special else words
