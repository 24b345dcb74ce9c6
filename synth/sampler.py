"""The embedded default coder: a random program writer behind the chat protocol. Not an LLM.

It reads the task's state schema, not the prompt's prose, and writes TFCAF source text with named
parts of the state, comments and both signatures, so that a machine without any model can go the
whole way: prompt, reply, sandbox, feedback, selection, training. Its replies depend only on the
task, the seed and the conversation.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Sequence

from models.protocol import ChatRequest, Completion, Message, ModelError, OnDone, OnText
from prompts.cards import TaskCard
from synth.programs.odds import odds_after
from synth.programs.vary import vary
from synth.programs.writer import write_program

_TOKEN = re.compile(r"\w+|[^\w\s]")
_VARY = 0.5
"""Probability that a refinement varies the function it is shown, and does not start afresh."""
_DISCLAIMER = "sampled by a random program writer, not written by a language model"


def count_tokens(text: str) -> int:
    """The sampler's own measure of length: words and numbers, and single marks of punctuation.

    It has no tokenizer; these counts are comparable with each other, not with a language model's.
    """
    return sum(1 for _ in _TOKEN.finditer(text))


class Sampler:
    """A coder that draws programs at random from a typed grammar over the task's state.

    ``temperature`` has no meaning here and is ignored. A reply longer than ``max_tokens`` (in
    ``count_tokens``) is cut there, as a model's would be.

    Args:
        card: The task to write for.
    """

    name = "sampler"
    is_llm = False

    def __init__(self, card: TaskCard) -> None:
        self._card = card

    context_tokens = None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """In the sampler's own measure (:func:`count_tokens`)."""
        return sum(count_tokens(m.content) for m in messages)

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """``request.n`` different programs.

        Raises:
            ModelError: a constraint is asked for.
        """
        if request.constraint is not None:
            raise ModelError(
                f"the sampler cannot write under a {request.constraint.kind} constraint: "
                "leave it out, or choose a language model as coder"
            )
        prompt_tokens = self.count_tokens(request.messages)
        replies = []
        for index in range(request.n):
            start = time.perf_counter()
            rng = random.Random(self._seed(request, index))
            text, complete = _cut(self._reply(request.messages, rng), request.max_tokens)
            if on_text is not None:
                for line in text.splitlines(keepends=True):
                    on_text(index, line)
            replies.append(
                Completion(
                    text=text,
                    model=self.name,
                    seed=request.seed,
                    prompt_tokens=prompt_tokens,
                    completion_tokens=count_tokens(text),
                    latency_s=time.perf_counter() - start,
                    finish_reason="stop" if complete else "length",
                )
            )
            if on_done is not None:
                on_done(index, replies[-1])
        return replies

    def close(self) -> None:
        """Nothing to release."""

    def _seed(self, request: ChatRequest, index: int) -> int:
        messages = [[m.role, m.content] for m in request.messages]
        heard = [self._card.schema_hash(), request.seed, index, messages]
        return int.from_bytes(hashlib.sha256(json.dumps(heard).encode()).digest(), "big")

    def _reply(self, messages: Sequence[Message], rng: random.Random) -> str:
        odds = odds_after(messages)
        earlier = _shown_for_refinement(messages)
        if earlier is not None and rng.random() < _VARY:
            varied = vary(earlier, rng)
            if varied is not None:
                return _in_reply("the function above with other strengths", varied)
        program = write_program(self._card, rng, odds)
        return _in_reply(program.idea, program.source)


def _in_reply(idea: str, source: str) -> str:
    return f"This program was {_DISCLAIMER}: {idea}.\n\n```python\n{source}```\n"


def _shown_for_refinement(messages: Sequence[Message]) -> str | None:
    """The chosen reply of the last round, where the conversation asks for better than it.

    A request to correct a refused reply is answered by a fresh program: a variation in strength
    would mostly be refused for the same reason.
    """
    if len(messages) < 3 or messages[-2].role != "assistant":
        return None
    return messages[-2].content if "selected as the best" in messages[-1].content else None


def _cut(text: str, max_tokens: int) -> tuple[str, bool]:
    for count, token in enumerate(_TOKEN.finditer(text)):
        if count == max_tokens:
            return text[: token.start()].rstrip(), False
    return text, True
