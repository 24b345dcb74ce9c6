"""llama.cpp through llama-cpp-python's bindings of its C interface: a model, its vocabulary, and
one context that many sequences share.

Only the worker's process imports this: what aborts in the library ends that process alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from models.protocol import ModelError

CHUNK = 512
"""Tokens that are computed at once; a shared beginning is reused in whole chunks only, so that a
prompt's numbers do not depend on what was computed before."""

_PIECE_BYTES = 1 << 14
_NO_FLASH_ATTENTION = 0
"""``LLAMA_FLASH_ATTN_TYPE_DISABLED``."""
_said: list[str] = []
_ERROR = 4
"""``GGML_LOG_LEVEL_ERROR``, which the bindings do not name."""


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def _listen(level: int, text: bytes, _: Any) -> None:
    """Keep the newest lines of the library's log: they say why a file cannot be loaded."""
    if level == _ERROR:
        _said.append(text.decode("utf-8", errors="replace").strip())
        del _said[:-20]


@dataclass(frozen=True)
class Size:
    """How much a context holds."""

    cells: int
    """Tokens of all sequences together, a shared beginning counted once."""
    sequences: int
    threads: int
    gpu_layers: int = 0
    """Layers that are kept on a GPU, where llama.cpp was compiled for one; -1: all."""


class LlamaFile:
    """A loaded GGUF file and its context.

    Args:
        path: the file, or the first of its parts.
        size: of the context.

    Raises:
        ModelError: the library cannot load it; the message has its own reason.
    """

    def __init__(self, path: Path, size: Size) -> None:
        llama_cpp.llama_log_set(_listen, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.on_gpu = bool(size.gpu_layers and llama_cpp.llama_supports_gpu_offload())
        of_model = llama_cpp.llama_model_default_params()
        of_model.n_gpu_layers = size.gpu_layers if self.on_gpu else 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), of_model)
        if not self._model:
            raise ModelError(f"llama.cpp cannot load '{path}': {_reason()}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = size.cells, size.sequences
        settings.n_batch = settings.n_ubatch = CHUNK
        settings.n_threads = settings.n_threads_batch = size.threads
        settings.kv_unified, settings.swa_full = True, True
        if not self.on_gpu:
            # Measured on two cores, 3,200 tokens of prompt: without it 8 or 20 replies at once are
            # written a third faster, one as fast, and a prompt is read a tenth slower.
            settings.flash_attn_type = _NO_FLASH_ATTENTION
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            raise ModelError(
                f"llama.cpp has no memory for {size.cells:,} tokens of '{path}': {_reason()}"
            )
        self.vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self.tokens = int(llama_cpp.llama_vocab_n_tokens(self.vocabulary))
        self.cells = int(llama_cpp.llama_n_ctx(self._context))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(CHUNK, 0, 1)
        self.keeps_states = bool(
            llama_cpp.llama_model_is_recurrent(self._model)
            or llama_cpp.llama_model_is_hybrid(self._model)
        )
        """Whether a sequence is, in part, a state of fixed size, which cannot be cut back."""

    # ---- vocabulary ------------------------------------------------------------------------------

    def encode(self, text: str, *, controls: bool) -> list[int]:
        """Tokens of a text.

        Args:
            text: to be read.
            controls: whether the names of control tokens in it are those tokens.
        """
        data = text.encode("utf-8", errors="replace")
        most = len(data) + 8
        found = (llama_cpp.llama_token * most)()
        n = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), found, most, False, controls)
        return list(found[: max(0, n)])

    def piece(self, token: int, *, controls: bool) -> bytes:
        """Bytes of a token; none for a control token, unless they are asked for."""
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        n = llama_cpp.llama_token_to_piece(
            self.vocabulary, token, buffer, _PIECE_BYTES, 0, controls
        )
        return buffer.raw[: max(0, n)]

    def is_control(self, token: int) -> bool:
        """Whether a token is no text."""
        return bool(llama_cpp.llama_vocab_is_control(self.vocabulary, token))

    def markup(self) -> list[str]:
        """Names of tokens that the file defines itself and the library finds in any text, such as
        ``<start_of_turn>`` in some files."""
        attribute = llama_cpp.llama_vocab_get_attr
        own = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        found = (t for t in range(self.tokens) if attribute(self.vocabulary, t) & own)
        names = (self.piece(t, controls=True).decode("utf-8", errors="replace") for t in found)
        return [name for name in names if len(name) > 2 and name[0] in "<["]

    def ends(self) -> frozenset[int]:
        """Tokens that end a reply, as the file says."""
        is_end = llama_cpp.llama_vocab_is_eog
        return frozenset(t for t in range(self.tokens) if is_end(self.vocabulary, t))

    def frame(self) -> tuple[str, str]:
        """Texts of the tokens that begin and end a conversation; empty where there is none."""
        begin = llama_cpp.llama_vocab_bos(self.vocabulary)
        end = llama_cpp.llama_vocab_eos(self.vocabulary)
        first, last = (
            self.piece(t, controls=True).decode("utf-8", errors="replace") if t >= 0 else ""
            for t in (begin, end)
        )
        return first, last

    def matcher_tokenizer(self, ends: frozenset[int]) -> Any:
        """The vocabulary for llguidance."""
        from llguidance.llamacpp import lltokenizer_from_vocab

        return lltokenizer_from_vocab(self.vocabulary, eos_token=sorted(ends))

    # ---- sequences -------------------------------------------------------------------------------

    def decode(self, tokens: Sequence[tuple[int, int, int]], wanted: Sequence[int]) -> np.ndarray:
        """Compute the next tokens of one or more sequences.

        Args:
            tokens: (token, position, sequence), `CHUNK` at most.
            wanted: the places among them whose scores are asked for.

        Returns:
            Scores ``[len(wanted), V]``, float32.

        Raises:
            ModelError: the context is full, or the library failed.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        asked = frozenset(wanted)
        for at, (token, position, sequence) in enumerate(tokens):
            batch.token[at], batch.pos[at] = token, position
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
            batch.logits[at] = at in asked
        code = llama_cpp.llama_decode(self._context, batch)
        if code != 0:
            why = "its context is full" if code == 1 else f"code {code}; {_reason()}"
            raise ModelError(f"llama.cpp could not go on: {why}")
        rows = [llama_cpp.llama_get_logits_ith(self._context, at) for at in wanted]
        return np.stack([np.ctypeslib.as_array(row, (self.tokens,)) for row in rows]).copy()

    def read(self, tokens: Sequence[int], start: int, sequence: int) -> np.ndarray:
        """Compute a prompt from ``start`` on; returns the scores ``[V]`` of what comes next."""
        found = np.empty(0, dtype=np.float32)
        for at in range(start, len(tokens), CHUNK):
            part = [(token, at + i, sequence) for i, token in enumerate(tokens[at : at + CHUNK])]
            last = at + CHUNK >= len(tokens)
            scores = self.decode(part, [len(part) - 1] if last else [0])
            found = scores[0]
        return found

    def copy(self, source: int, target: int, end: int) -> None:
        """Let a sequence begin as another does; -1: with all of it."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def cut(self, sequence: int, start: int) -> None:
        """Forget a sequence from a position on."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, -1)


def _reason() -> str:
    lines = [line for line in _said if line]
    return "; ".join(lines[-2:])[:400] if lines else "it says no reason"
