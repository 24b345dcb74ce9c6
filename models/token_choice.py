"""Choosing a reply's next token: temperature, a constraint, and when to stop."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

from models.chat_template import TextStream
from models.protocol import Constraint, ModelError


@dataclass
class Row:
    """One reply in the making."""

    generator: Any
    stream: TextStream
    matcher: Any
    tokens: int = field(default=0)

    def choose(self, scores: Any, temperature: float, known: int) -> int:
        """The next token: [V] scores in float32, of which the first ``known`` have a text."""
        import torch

        scores = scores.double()
        scores[known:] = -torch.inf
        if self.matcher is not None:
            scores.masked_fill_(~allowed_tokens(self.matcher, len(scores)), -torch.inf)
        if temperature <= 0:
            return int(scores.argmax())
        chances = torch.softmax(scores / temperature, dim=0).cumsum(0)
        drawn = torch.rand(1, generator=self.generator, dtype=torch.float64)
        place = int(torch.searchsorted(chances, drawn * chances[-1], right=True))
        return min(place, int(torch.searchsorted(chances, chances[-1])))

    def take(
        self, token: int, stops: frozenset[int], most: int
    ) -> Literal["stop", "length"] | None:
        """Why the reply ends with this token, if it does."""
        self.tokens += 1
        if token in stops:
            return "stop"
        if self.matcher is not None:
            self.matcher.consume_token(token)
            refuse_error(self.matcher)
            if self.matcher.is_stopped():
                return "stop"
        return "length" if self.tokens >= most else None


def generator_of(seed: int, index: int) -> Any:
    """The random stream of one reply, whatever the number of others."""
    import torch

    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def make_matcher(tokenizer: Any, constraint: Constraint) -> Any:
    """A matcher of llguidance for a constraint.

    Args:
        tokenizer: llguidance's.
        constraint: a JSON schema or a Lark grammar.

    Raises:
        ModelError: the constraint cannot be used.
    """
    import llguidance

    if constraint.kind == "json":
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            constraint.value,
            # Small models may otherwise write blanks up to the token limit.
            defaults={"whitespace_flexible": False},
        )
    else:
        grammar = llguidance.LLMatcher.grammar_from_lark(str(constraint.value))
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0)
    refuse_error(matcher)
    return matcher


def allowed_tokens(matcher: Any, width: int) -> Any:
    """Tokens that the constraint allows next: bool ``[V]``."""
    import numpy as np
    import torch

    packed = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    refuse_error(matcher)
    allowed = np.zeros(width, dtype=bool)
    bits = np.unpackbits(packed, bitorder="little")[:width]
    allowed[: len(bits)] = bits
    return torch.from_numpy(allowed)


def refuse_error(matcher: Any) -> None:
    """Say why a matcher of llguidance no longer works.

    Raises:
        ModelError: it does not.
    """
    if matcher.is_error():
        said = str(matcher.get_error()).strip().splitlines()[0][:300]
        raise ModelError(f"the constraint cannot be used: {said}")
