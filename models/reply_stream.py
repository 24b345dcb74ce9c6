"""Reading the chunks of a streamed chat completion into replies."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from models.chunks import Chunk, CleanText, Piece
from models.constraints import violation
from models.delivery import Delivery, estimate_tokens
from models.openai_errors import BrokenOff, one_line
from models.protocol import ChatRequest, Completion

_CHARACTERS, _PIECES = 32, 4
"""Characters and pieces of text for every token of the limit, after which a server must have
ignored it: tokens of real text have about four characters, and come one at a time or together."""
_ALL_READ = 5
"""Characters of a conversation for every token of its prompt, at most: beyond that the server has
not read all of it. English and code have three to four and a half."""

_BEGUN_TO_COUNT = 2_000
"""Characters of a conversation below which its template's own tokens count for too much."""
_STOPS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token"})
_LENGTHS = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


@dataclass
class _Reply:
    """One reply in the making."""

    characters: int = 0
    pieces: int = 0
    thought: str = ""
    tokens: int | None = None
    """As the server counts along."""
    finish: Literal["stop", "length"] | None = None
    note: str = ""
    latency_s: float = 0.0
    passed_on: bool = False
    text: CleanText = field(default_factory=CleanText)


class ReplyStream:
    """Gathers one attempt's chunks and passes them on.

    Args:
        request: what was asked.
        delivery: Where replies go.
        name: The model's name.
        targets: Places that the one reply of this request fills; ``None``: each has its own place.
        started: ``time.monotonic()`` when it was asked.
    """

    def __init__(
        self,
        request: ChatRequest,
        delivery: Delivery,
        *,
        name: str,
        targets: range | None,
        started: float,
    ) -> None:
        self._request = request
        self._delivery = delivery
        self._name = name
        self._targets = targets
        self._started = started
        self._replies: dict[int, _Reply] = {}
        self._sent = sum(len(m.content) for m in request.messages)
        self._prompt: int | None = None
        self._sum: int | None = None
        self._cut = False
        self._most_pieces = 64 + _PIECES * request.max_tokens

    @property
    def n(self) -> int:
        """Number of replies that were requested."""
        return 1 if self._targets is not None else self._request.n

    @property
    def begun(self) -> bool:
        """Whether any text has come."""
        return any(reply.pieces for reply in self._replies.values())

    @property
    def over(self) -> bool:
        """Whether what still comes is of no use: a reply was cut off here, for the server ignores
        the limit of tokens, and no other is being written."""
        return self._cut and all(reply.finish for reply in self._replies.values())

    def prompt_tokens(self, chunk: Chunk) -> int | None:
        """The prompt's tokens, if this chunk tells a number that they can be."""
        told = chunk.prompt_tokens
        most = 10_000 + 4 * self._sent  # a character has four bytes at most, and a byte one token
        return told if told is not None and 0 < told <= most else None

    def take(self, chunk: Chunk) -> None:
        """Read one chunk.

        Raises:
            BrokenOff: the server gave a reply up.
        """
        self._prompt = self.prompt_tokens(chunk) or self._prompt
        tokens = chunk.completion_tokens
        if tokens is not None and tokens <= self.n * self._most_pieces:
            if len(chunk.pieces) == 1:  # vLLM's running count, of this reply alone
                self._reply(chunk.pieces[0].index).tokens = tokens
            elif not chunk.pieces:
                self._sum = tokens
        for piece in chunk.pieces:
            reply = self._reply(piece.index)
            if reply.finish is None:
                self._grow(piece, reply)

    def close(self) -> None:
        """The server says that there is no more: what it wrote without an end is complete."""
        for index, reply in self._replies.items():
            if reply.finish is None and reply.pieces:
                self._ended(index, reply, "stop")

    def end(self) -> bool:
        """The stream is over: pass on what waited for the sum of tokens.

        Returns:
            Whether all replies that were begun are complete, and at least one was.
        """
        waiting = [i for i, r in self._replies.items() if r.finish and not r.passed_on]
        for index, tokens in zip(waiting, self._shares(waiting), strict=True):
            self._pass_on(index, tokens)
        return bool(self._replies) and all(r.passed_on for r in self._replies.values())

    def _reply(self, index: int) -> _Reply:
        return self._replies.setdefault(index, _Reply())

    def _grow(self, piece: Piece, reply: _Reply) -> None:
        length = len(piece.text) + len(piece.thought)
        most = _CHARACTERS * self._request.max_tokens
        # Cut before it is kept: one piece alone may be too much.
        text = piece.text[: max(0, most - reply.characters)]
        reply.thought += piece.thought[: max(0, most - reply.characters)]
        reply.characters += length
        reply.pieces += bool(length)
        self._write(piece.index, reply.text.push(text))
        if piece.finish:
            self._ended(piece.index, reply, piece.finish)
        elif reply.characters > most or reply.pieces > self._most_pieces:
            self._cut = True
            reply.note = (
                f"the server went on beyond {self._request.max_tokens} tokens, the limit that it "
                f"was told: the reply was cut off after {reply.characters:,} characters"
            )
            self._ended(piece.index, reply, "length")

    def _ended(self, index: int, reply: _Reply, reason: str) -> None:
        if reason in ("abort", "error"):
            raise BrokenOff(f"the server of '{self._name}' gave a reply up", again=True)
        reply.latency_s = time.monotonic() - self._started
        reply.finish = "length" if reason in _LENGTHS else "stop"
        self._write(index, reply.text.push("", final=True))
        if reason not in _STOPS | _LENGTHS:
            reply.note = f"it ended by '{one_line(reason, 40)}'"
        if reply.tokens is not None:
            self._pass_on(index, reply.tokens)

    def _shares(self, waiting: list[int]) -> list[int]:
        """The sum of tokens divided by the texts' lengths, so that it stays the sum."""
        sizes = [self._replies[i].characters for i in waiting]
        if self._sum is None:
            return [max(1, round(size / 4)) for size in sizes]
        left, size_left = self._sum, sum(sizes)
        shares = []
        for place, size in enumerate(sizes):
            last = place == len(sizes) - 1
            share = left if last else round(left * size / size_left) if size_left else 0
            shares.append(share)
            left -= share
            size_left -= size
        return shares

    def _places(self, index: int) -> range:
        return self._targets if self._targets is not None else range(index, index + 1)

    def _written(self, index: int) -> str:
        return self._delivery.written(self._places(index)[0])

    def _write(self, index: int, text: str) -> None:
        for place in self._places(index):
            self._delivery.text(place, text)

    def _pass_on(self, index: int, tokens: int) -> None:
        reply = self._replies[index]
        reply.passed_on = True
        places = self._places(index)
        if all(self._delivery.is_done(place) for place in places):
            return
        self._take_thoughts(index, reply)
        text = self._written(index)
        finish: Literal["stop", "length", "error"] = reply.finish or "stop"
        if not text.strip() and reply.note and finish == "stop":
            finish = "error"  # it ended for a reason of its own and without a word
            reply.note += " and without text"
        prompt = self._prompt or estimate_tokens(self._request.messages)
        notes = [reply.note, self._unread()]
        completion = Completion(
            text=text,
            model=self._name,
            seed=self._request.seed,
            prompt_tokens=prompt,
            completion_tokens=tokens,
            latency_s=reply.latency_s,
            finish_reason=finish,
            note="; ".join(filter(None, notes)),
            violation=violation(text, self._request.constraint, cut=finish != "stop"),
        )
        for place in places:
            self._delivery.finish(place, completion)

    def _take_thoughts(self, index: int, reply: _Reply) -> None:
        """Where nothing but thoughts came, a whole one is the answer; one that was cut is none, and
        is written as a thought without an end."""
        thought = CleanText().push(reply.thought, final=True)
        if not thought.strip() or self._written(index).strip():
            return
        if reply.finish == "length":
            self._write(index, f"<think>\n{thought}")
            return
        self._write(index, thought)
        reply.note = (
            "the server took the whole reply for thoughts (reasoning_content): its parser of "
            "thoughts does not fit the model, so switch it off or choose another"
        )

    def _unread(self) -> str:
        """That the server has not read all of the conversation, if so it seems."""
        read = self._prompt
        if read is None or self._sent < _BEGUN_TO_COUNT or _ALL_READ * read >= self._sent:
            return ""
        return (
            f"the server read {read:,} tokens of a conversation that is far longer: it cuts "
            "conversations off without a word, so serve the model with a larger context, or say "
            f"how large it is (qllm models add {self._name} ... --context N)"
        )
