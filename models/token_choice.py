"""Choosing a reply's next token: temperature, a constraint, and when to stop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.chat_template import TextStream
from models.constraints import violation
from models.protocol import ChatRequest, Completion, Constraint, ContextOverflow, ModelError

_MOST_ITEMS = 2_000_000
"""Of llguidance's parser for one mask, some 20,000 of which take a millisecond. Its own limit of
50,000 is too few for a language as large as Python and a vocabulary of 150,000 tokens."""


@dataclass(frozen=True)
class Sampling:
    """What a model's makers recommend beside the temperature.

    A penalty on repeated tokens is left out: it would fall on the names that the prompt gives to
    the parts of the state.
    """

    top_k: int = 0
    """Tokens to choose from, the likeliest; 0: all."""
    top_p: float = 1.0
    """Probability that the tokens to choose from have together, the likeliest first."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Sampling:
        """Those of a ``generation_config.json``; what is no such number is left out."""
        k, p = found.get("top_k"), found.get("top_p")
        return cls(
            k if isinstance(k, int) and k > 0 else 0,
            float(p) if isinstance(p, int | float) and 0 < p < 1 else 1.0,
        )


@dataclass
class Row:
    """One reply in the making."""

    generator: Any
    stream: TextStream
    matcher: Any
    sampling: Sampling = Sampling()
    tokens: int = field(default=0)
    last: int = -1
    """The newest token."""
    note: str = ""
    """Why the reply broke off, where it did."""

    def step(
        self, scores: Any, temperature: float, known: int, stops: frozenset[int], most: int
    ) -> tuple[str, Literal["stop", "length", "error"] | None]:
        """Choose the next token; returns the new text, and why the reply ends with it, if it does.

        A constraint that cannot be followed any further (a limit of llguidance) ends this reply
        alone.

        Args:
            scores: ``[V]``, float32.
            temperature: 0 takes the likeliest token.
            known: tokens that have a text, the first of the vocabulary.
            stops: tokens that end a reply.
            most: tokens that the reply may have.
        """
        reason: Literal["stop", "length", "error"] | None
        try:
            token = self.choose(scores, temperature, known)
            reason = self.take(token, stops, most)
        except ModelError as error:
            self.note = str(error)
            return self.stream.finish(), "error"
        piece = "" if token in stops else self.stream.push(token)
        self.last = token
        return piece + (self.stream.finish() if reason else ""), reason

    def completion(
        self,
        model: str,
        request: ChatRequest,
        prompt_tokens: int,
        latency_s: float,
        reason: Literal["stop", "length", "error"],
    ) -> Completion:
        """The whole reply.

        Args:
            model: the user's name for it.
            request: that it answers.
            prompt_tokens: of the conversation.
            latency_s: since the request came in.
            reason: why it ended.
        """
        text, cut = self.stream.text, reason == "length"
        return Completion(
            text=text,
            model=model,
            seed=request.seed,
            prompt_tokens=prompt_tokens,
            completion_tokens=self.tokens,
            latency_s=latency_s,
            finish_reason=reason,
            note=self.note,
            violation="" if self.note else violation(text, request.constraint, cut=cut),
        )

    def choose(self, scores: Any, temperature: float, known: int) -> int:
        """The next token: [V] scores in float32, of which the first ``known`` have a text."""
        import torch

        scores = scores.double()
        scores[known:] = -torch.inf
        if self.matcher is not None:
            scores.masked_fill_(~allowed_tokens(self.matcher, len(scores)), -torch.inf)
        if temperature <= 0:
            return int(scores.argmax())
        ids, chances = likeliest(scores / temperature, self.sampling)
        total = chances.cumsum(0)
        drawn = torch.rand(1, generator=self.generator, dtype=torch.float64)
        place = int(torch.searchsorted(total, drawn * total[-1], right=True))
        place = min(place, int(torch.searchsorted(total, total[-1])))
        return place if ids is None else int(ids[place])

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


def require_something(name: str, request: ChatRequest) -> None:
    """Hold a request to asking for a reply of a token at least.

    Raises:
        ModelError: it does not.
    """
    if request.n < 1 or request.max_tokens < 1:
        raise ModelError(
            f"'{name}' was asked for {request.n} replies of {request.max_tokens} tokens"
        )


def require_room(name: str, request: ChatRequest, prompt_tokens: int, context: int | None) -> None:
    """Hold a conversation and its reply against a model's context.

    Raises:
        ContextOverflow: they do not fit.
    """
    if context is not None and prompt_tokens + request.max_tokens > context:
        raise ContextOverflow(
            f"the conversation has {prompt_tokens:,} tokens and the reply may have "
            f"{request.max_tokens:,}, but the context of '{name}' holds {context:,}: shorten the "
            "prompt, ask for fewer tokens, or use a model with a longer context"
        )


def likeliest(scores: Any, sampling: Sampling) -> tuple[Any, Any]:
    """Tokens to choose from, and their probabilities: top-k, then top-p of those.

    Args:
        scores: ``[V]``, divided by the temperature.
        sampling: how many tokens are left.

    Returns:
        Token ids, the likeliest first (None: all, in their order), and probabilities, 0 for those
        that are not chosen from. They do not add up to 1.
    """
    import torch

    ids = None
    if 0 < sampling.top_k < len(scores):
        scores, ids = scores.topk(sampling.top_k)
    elif sampling.top_p < 1:
        scores, ids = scores.sort(descending=True, stable=True)
    chances = torch.softmax(scores, dim=0)
    if sampling.top_p < 1:
        before = chances.cumsum(0) - chances
        chances = torch.where(before < sampling.top_p, chances, 0.0)
    return ids, chances


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
    limits = llguidance.LLParserLimits(step_max_items=_MOST_ITEMS)
    matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0, limits=limits)
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
