"""Requests side by side in one context: a prompt is read once, every reply moves a token a step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.chat_template import ChatTemplate, TextStream
from models.llama_cpp.library import CHUNK, LlamaFile
from models.protocol import ChatRequest
from models.token_choice import Row, Sampling, generator_of, make_matcher, require_room

_ROOT = 0
"""The sequence that keeps the newest prompt, for the next one that begins alike."""

Told = Callable[[str, int, Any], None]
"""Called with (``text``, row, new text) and (``done``, row, `Completion`)."""


@dataclass
class _Writing:
    """A row in the making."""

    job: Job
    index: int
    sequence: int
    row: Row
    position: int
    """Of the token that comes next."""
    scores: np.ndarray
    """``[V]``: of that token."""


@dataclass
class Job:
    """A request under way."""

    request: ChatRequest
    told: Told
    prompt: list[int]
    started: float = field(default_factory=time.perf_counter)
    sequence: int | None = None
    """Where its prompt is."""
    scores: np.ndarray | None = None
    waiting: deque[int] = field(default_factory=deque)
    """Rows that are not begun."""
    open: int = 0
    """Rows that are not done."""


class Batch:
    """All requests under way.

    Args:
        file: the model.
        template: of its conversations.
        tokenizer: whose tokens they are.
        name: the user's name for the model.
        context: most tokens of one conversation.
        rows: most replies at once.
        sampling: of every reply.
    """

    def __init__(
        self,
        file: LlamaFile,
        template: ChatTemplate,
        tokenizer: Any,
        name: str,
        context: int,
        rows: int,
        sampling: Sampling,
    ) -> None:
        self._file, self._template, self._tokenizer = file, template, tokenizer
        self._name, self._context, self._rows = name, context, rows
        self._sampling = sampling
        self._stops = file.ends() | template.turn_ends()
        self._free = list(range(2 * rows, 0, -1))
        self._root: list[int] = []
        self._queue: deque[Job] = deque()
        self._jobs: list[Job] = []
        """Those whose prompt is read."""
        self._writing: list[_Writing] = []
        self._matcher_tokenizer: Any = None

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._queue or self._jobs)

    def add(self, request: ChatRequest, told: Told) -> Job:
        """Take a request in.

        Raises:
            ContextOverflow: it does not fit.
            ModelError: the template refuses the conversation, or the constraint cannot be used.
        """
        prompt = self._template.encode(request.messages)
        require_room(self._name, request, len(prompt), self._context)
        self._matcher(request)  # what is wrong with it is this request's own error
        job = Job(request, told, prompt, waiting=deque(range(request.n)), open=request.n)
        self._queue.append(job)
        return job

    def cancel(self, job: Job) -> None:
        """Give a request up."""
        if job in self._queue:
            self._queue.remove(job)
        for writing in [w for w in self._writing if w.job is job]:
            self._end(writing)
        job.waiting.clear()
        self._leave(job)

    def step(self) -> None:
        """Begin what has room, and write one token of every row.

        Raises:
            ModelError: the library failed.
        """
        self._begin()
        for writing in list(self._writing):
            self._choose(writing)
        if self._writing:
            tokens = [(w.row.last, w.position, w.sequence) for w in self._writing]
            for start in range(0, len(tokens), CHUNK):
                part = tokens[start : start + CHUNK]
                scores = self._file.decode(part, range(len(part)))
                for writing, of_row in zip(self._writing[start:], scores, strict=False):
                    writing.scores = of_row
                    writing.position += 1

    # ---- beginning -------------------------------------------------------------------------------

    def _begin(self) -> None:
        for job in [j for j in self._jobs if j.waiting]:
            self._begin_rows(job)
        while self._queue and len(self._writing) < self._rows:
            job = self._queue[0]
            if not self._fits(job):
                return
            self._queue.popleft()
            self._jobs.append(job)
            self._read(job)
            self._begin_rows(job)

    def _room(self) -> int:
        """Cells that nothing under way may need, and the kept prompt does not hold."""
        prompts = sum(len(j.prompt) for j in self._jobs if j.sequence != _ROOT)
        rows = sum(w.job.request.max_tokens for w in self._writing)
        return self._file.cells - len(self._root) - prompts - rows

    def _fits(self, job: Job) -> bool:
        need = len(job.prompt) + job.request.max_tokens
        return not self._jobs or (len(self._free) > 1 and need <= self._room())

    def _read(self, job: Job) -> None:
        """Compute a prompt, from where it differs from the kept one."""
        shared = 0
        if not self._file.keeps_states:
            pairs = zip(self._root, job.prompt[:-1], strict=False)
            same = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
            same = min(len(self._root), len(job.prompt) - 1) if same is None else same
            shared = same // CHUNK * CHUNK
        if len(self._jobs) == 1:
            job.sequence = _ROOT
            self._file.cut(_ROOT, shared)
            self._root = self._root[:shared]
        else:
            job.sequence = self._free.pop()
            if shared:
                self._file.copy(_ROOT, job.sequence, shared)
        job.scores = self._file.read(job.prompt, shared, job.sequence)
        if job.sequence == _ROOT:
            self._root = job.prompt

    def _begin_rows(self, job: Job) -> None:
        assert job.sequence is not None
        assert job.scores is not None
        while job.waiting and self._free and len(self._writing) < self._rows:
            if job.request.max_tokens > self._room():
                if self._writing:
                    return
                if job.sequence != _ROOT:  # the kept prompt gives way
                    self._file.cut(_ROOT, 0)
                    self._root = []
            index, sequence = job.waiting.popleft(), self._free.pop()
            self._file.copy(job.sequence, sequence, -1)
            row = Row(
                generator_of(job.request.seed, index),
                TextStream(self._tokenizer),
                self._matcher(job.request),
                self._sampling,
            )
            self._writing.append(_Writing(job, index, sequence, row, len(job.prompt), job.scores))

    def _matcher(self, request: ChatRequest) -> Any:
        if request.constraint is None:
            return None
        if self._matcher_tokenizer is None:
            self._matcher_tokenizer = self._file.matcher_tokenizer(self._stops)
        return make_matcher(self._matcher_tokenizer, request.constraint)

    # ---- writing ---------------------------------------------------------------------------------

    def _choose(self, writing: _Writing) -> None:
        """Take a row's next token, and tell what it means."""
        import torch

        job, row, index = writing.job, writing.row, writing.index
        piece, reason = row.step(
            torch.from_numpy(writing.scores),
            job.request.temperature,
            self._file.tokens,
            self._stops,
            job.request.max_tokens,
        )
        if piece:
            job.told("text", index, piece)
        if reason is None:
            return
        self._end(writing)
        latency_s = time.perf_counter() - job.started
        reply = row.completion(self._name, job.request, len(job.prompt), latency_s, reason)
        job.told("done", index, reply)
        job.open -= 1
        if not job.open:
            self._leave(job)

    def _end(self, writing: _Writing) -> None:
        self._writing.remove(writing)
        self._file.cut(writing.sequence, 0)
        self._free.append(writing.sequence)

    def _leave(self, job: Job) -> None:
        """Forget a request; the kept prompt stays."""
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        if job.sequence is not None and job.sequence != _ROOT:
            self._file.cut(job.sequence, 0)
            self._free.append(job.sequence)
