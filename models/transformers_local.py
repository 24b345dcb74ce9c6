"""A chat model in this process, by transformers: no server, on the CPU or on one GPU.

Slower than a server where many requests come at once, and the least that has to be installed. A
reply may be held to a JSON schema or a grammar by llguidance, token by token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from models.chat_template import ChatTemplate, TextStream
from models.inspection import inspect_model
from models.protocol import (
    ChatRequest,
    Completion,
    Constraint,
    Message,
    ModelError,
    OnDone,
    OnText,
)
from models.token_choice import (
    Row,
    Sampling,
    generator_of,
    make_matcher,
    require_room,
    require_something,
)

_MISSING = "models in this process need more packages ({}): pip install -e '.[models]'"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""Errors of transformers for a folder that it cannot make a model of."""


class TransformersModel:
    """A model directory, loaded when it is first asked. Several threads may ask; they take turns.

    The replies of one request are written as one batch. Reply ``i`` draws from a generator of its
    own, seeded by (seed, i): it does not depend on how many others are asked for, except where two
    tokens are so close that the rounding of a larger batch decides between them.

    Args:
        name: How the user refers to it.
        path: Folder of a complete safetensors model with a chat template.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``.
        dtype: ``auto`` (as the weights are stored), ``float32``, ``bfloat16``, ``float16``.
        context_tokens: Most tokens of a conversation and its reply; never beyond the model's own.
        chat_template_kwargs: Further variables of the chat template.

    Raises:
        ModelError: the folder holds no model that may be loaded.
    """

    is_llm = True

    def __init__(
        self,
        name: str,
        path: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        context_tokens: int | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        facts = inspect_model(path)
        self._name, self._path = name, facts.path
        self._device_asked, self._dtype = device, dtype
        self._variables = dict(chat_template_kwargs or {})
        bounds = [b for b in (facts.context_tokens, context_tokens) if b is not None]
        self._context = min(bounds) if bounds else None
        self._generating = threading.RLock()
        self._reading = threading.RLock()  # a tokenizer must not be used by two threads at once
        self._tokenizer: Any = None
        self._template: ChatTemplate | None = None
        self._model: Any = None
        self._grammar_tokenizer: Any = None
        self._stops: frozenset[int] = frozenset()
        self._sampling = Sampling()
        self._away = self._closed = False

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self._name

    @property
    def context_tokens(self) -> int | None:
        """The model's own limit or the setting, whichever is less."""
        return self._context

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation with its chat template.

        Raises:
            ModelError: the tokenizer cannot be loaded, or the template refuses the conversation.
        """
        return len(self._encode(messages))

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The replies to a request, written side by side; temperature 0 takes the likeliest token.

        Raises:
            ContextOverflow: the conversation does not leave room for ``request.max_tokens``.
            ModelError: the model cannot be loaded, runs out of memory, or the constraint cannot be
                used.
        """
        require_something(self._name, request)
        prompt = self._encode(request.messages)
        require_room(self._name, request, len(prompt), self._context)
        with self._generating, self._memory_watched(request.n):
            self._load()
            started = time.perf_counter()
            rows = [
                self._row(request.seed, index, request.constraint) for index in range(request.n)
            ]
            done: dict[int, Completion] = {}
            for index, piece, reason in self._generate(
                prompt, rows, request.temperature, request.max_tokens
            ):
                if piece and on_text is not None:
                    on_text(index, piece)
                if reason is None:
                    continue
                done[index] = rows[index].completion(
                    self._name, request, len(prompt), time.perf_counter() - started, reason
                )
                if on_done is not None:
                    on_done(index, done[index])
            return [done[index] for index in range(request.n)]

    def make_room(self) -> None:
        """Move the weights off the GPU, after the request that is under way; on a CPU, nothing."""
        with self._generating:
            if self._model is not None and self._model.device.type == "cuda":
                self._model.to("cpu")
                self._away = True
                _empty_cache()

    def come_back(self) -> None:
        """Move the weights back onto the GPU.

        Raises:
            ModelError: they do not fit.
        """
        with self._generating, self._memory_watched(1):
            if self._away and self._model is not None:
                self._model.to(self._device())
                self._away = False

    def close(self) -> None:
        """Give the weights' memory back."""
        with self._generating:
            self._model = self._grammar_tokenizer = None
            self._closed = True
            _empty_cache()

    # ---- loading ---------------------------------------------------------------------------------

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        with self._reading:
            if self._template is None:
                self._tokenizer = self._load_part("AutoTokenizer")
                self._template = ChatTemplate(self._tokenizer, self._variables)
            return self._template.encode(messages)

    def _load_part(self, kind: str, **more: Any) -> Any:
        try:
            import torch  # noqa: F401
            import transformers
        except ImportError as error:
            raise ModelError(_MISSING.format(error.name or "transformers")) from None
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            return getattr(transformers, kind).from_pretrained(
                self._path, local_files_only=True, trust_remote_code=False, **more
            )
        except ImportError as error:
            raise ModelError(
                f"'{self._name}' needs a package that is not installed: "
                f"{str(error).strip().splitlines()[0][:200]}"
            ) from None
        except _UNREADABLE as error:
            if _out_of_memory(error):
                raise
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(f"'{self._name}' cannot be loaded from {self._path}: {said}") from None

    def _load(self) -> None:
        if self._closed:
            raise ModelError(f"'{self._name}' is closed")
        if self._model is not None:
            self.come_back()
            return
        model = self._load_part("AutoModelForCausalLM", use_safetensors=True, dtype=self._dtype)
        self._model = model.to(self._device()).eval()
        self._stops = self._stop_tokens()
        self._sampling = Sampling.of(self._model.generation_config.to_dict())

    def _device(self) -> str:
        import torch

        if self._device_asked == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self._device_asked.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError(
                f"'{self._name}' is to run on {self._device_asked}, but torch sees no GPU here: "
                "choose device cpu, or install torch for this GPU"
            )
        return self._device_asked

    def _stop_tokens(self) -> frozenset[int]:
        """Tokens that end a reply: the model's own, and the template's end of a turn."""
        assert self._template is not None
        found: set[int] = set(self._template.turn_ends())
        configured = getattr(self._model.generation_config, "eos_token_id", None)
        for one in (self._tokenizer.eos_token_id, configured):
            several = one if isinstance(one, (list, tuple)) else [one]
            found |= {i for i in several if isinstance(i, int)}
        return frozenset(found)

    @contextmanager
    def _memory_watched(self, n: int) -> Iterator[None]:
        """Out of memory, on a GPU or not, becomes one clear line; what can be freed is freed."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, ModelError) or not _out_of_memory(error):
                raise
            said = str(error).strip().splitlines()[0][:200] if str(error).strip() else "memory"
        else:
            return
        # Outside of the handler, so that the traceback no longer holds on to tensors.
        _empty_cache()
        raise ModelError(
            f"'{self._name}' ran out of memory ({said}): ask for fewer replies at once (now {n}) "
            "or fewer tokens, choose dtype bfloat16, a smaller or quantised model, or device cpu"
        )

    # ---- generating ------------------------------------------------------------------------------

    def _row(self, seed: int, index: int, constraint: Constraint | None) -> Row:
        stream = TextStream(self._tokenizer)
        return Row(generator_of(seed, index), stream, self._matcher(constraint), self._sampling)

    def _matcher(self, constraint: Constraint | None) -> Any:
        if constraint is None:
            return None
        try:
            import llguidance
            import llguidance.hf
        except ImportError:
            raise ModelError(_MISSING.format("llguidance")) from None
        if self._grammar_tokenizer is None:
            width = max(len(self._tokenizer), int(self._model.config.get_text_config().vocab_size))
            try:
                self._grammar_tokenizer = llguidance.hf.from_tokenizer(
                    self._tokenizer, n_vocab=width, eos_token=sorted(self._stops)
                )
            except ValueError as error:
                raise ModelError(
                    f"'{self._name}' cannot be held to a constraint, for its tokenizer: {error}"
                ) from None
        return make_matcher(self._grammar_tokenizer, constraint)

    def _generate(
        self, prompt: list[int], rows: list[Row], temperature: float, max_tokens: int
    ) -> Iterator[tuple[int, str, Literal["stop", "length", "error"] | None]]:
        """(row, new text, why it ended or None), as tokens are chosen."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([prompt], device=self._model.device)
            made = self._model(input_ids=ids, use_cache=True, logits_to_keep=1)
            cache, logits = made.past_key_values, made.logits[:, -1].expand(len(rows), -1)
            if len(rows) > 1:
                cache.batch_repeat_interleave(len(rows))
        filler = min(self._stops, default=0)
        open_rows = set(range(len(rows)))
        while True:
            chosen = [filler] * len(rows)
            scores = logits.float().cpu()
            for index in sorted(open_rows):
                row = rows[index]
                with self._reading:
                    piece, reason = row.step(
                        scores[index], temperature, len(self._tokenizer), self._stops, max_tokens
                    )
                chosen[index] = row.last if row.last >= 0 else filler
                if reason:
                    open_rows.discard(index)
                if piece or reason:
                    yield index, piece, reason
            if not open_rows:
                return
            # Finished rows stay in the batch: its size, and so its rounding, never changes.
            with torch.inference_mode():
                ids = torch.tensor(chosen, device=self._model.device).unsqueeze(1)
                made = self._model(input_ids=ids, past_key_values=cache, use_cache=True)
                cache, logits = made.past_key_values, made.logits[:, -1]


def _out_of_memory(error: BaseException) -> bool:
    import torch

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _empty_cache() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
