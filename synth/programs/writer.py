"""Writes one whole program: which form, which credit, which bias."""

from __future__ import annotations

import random
from dataclasses import dataclass

from prompts.cards import TaskCard
from synth.grammar.vocabulary import named_views
from synth.programs.credit import write_bias, write_weights
from synth.programs.draft import Draft
from synth.programs.features import Features
from synth.programs.mixing import write_interplay, write_linear, write_nonlinear
from synth.programs.odds import Odds


@dataclass(frozen=True)
class Program:
    """A sampled program."""

    source: str
    idea: str
    """Kind of function, in a few words."""


def write_program(card: TaskCard, rng: random.Random, odds: Odds) -> Program:
    """A random credit function for a task, as source text that a person can read.

    The weights form returns weights around 1 [B, n_agents] and a bias [B, 1]; the mixing form
    returns q_tot [B, 1]. Most programs are sound by construction; a few let the agents' values act
    on each other, as a person might try, and few of those can be proved monotone.
    """
    draft = Draft(rng, helpers=rng.random() < 0.3, parts=named_views(card))
    features = Features(card, draft, odds)
    signed = draft.chance(odds.signed)
    if draft.chance(odds.weights_form):
        credit = write_weights(draft, features, signed=signed)
        bias = write_bias(draft, features, beside=credit)
        return Program(draft.source(f"{credit}, {bias}", mixing=False), "weights form")
    if not draft.chance(odds.nonlinear):
        total, idea = write_linear(draft, features, signed=signed), "mixing form, a weighted sum"
    elif draft.chance(odds.interplay):
        total, idea = write_interplay(draft, features), "mixing form, the agents' values interact"
    else:
        total, idea = write_nonlinear(draft, features), "mixing form, a bent sum"
    bias = write_bias(draft, features, beside="agent_qs")
    return Program(draft.source(f"{total} + {bias}", mixing=True), idea)
