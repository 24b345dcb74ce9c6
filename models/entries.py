"""A registered model: where it is, who runs it, and how."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.inspection import ModelFacts
from models.protocol import SMALLEST_CONTEXT, ModelError
from models.urls import require_loopback
from models.vllm.options import require_allowed

Backend = Literal["vllm", "transformers", "llama.cpp", "openai"]
BACKENDS = frozenset(get_args(Backend))
"""This package's own; other packages may add some (`models.opening.open_model`)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = frozenset({"auto", "sampler", "replay", "measured", "first", "llm"})
"""Names that mean something else wherever a model is named."""

_READS: dict[str, frozenset[str]] = {
    "device": frozenset({"vllm", "transformers", "llama.cpp"}),
    "dtype": frozenset({"vllm", "transformers"}),
    "python": frozenset({"vllm"}),
    "gpu_memory_utilization": frozenset({"vllm"}),
    "kv_cache_bytes": frozenset({"vllm", "llama.cpp"}),
    "max_num_seqs": frozenset({"vllm", "llama.cpp"}),
    "tensor_parallel_size": frozenset({"vllm"}),
    "reasoning_parser": frozenset({"vllm"}),
    "chat_template_kwargs": frozenset({"vllm", "transformers", "llama.cpp"}),
    "extra_args": frozenset({"vllm"}),
    "model_id": frozenset({"openai"}),
    "key_env": frozenset({"openai"}),
    "dialect": frozenset({"openai"}),
}
"""The backends that read a setting; the others refuse it, since it would do nothing."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ModelEntry(BaseModel):
    """One model in the registry. It never holds a key, only the name of the variable that does."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    """Its name everywhere: ``--coder NAME``."""
    backend: str
    """One of `BACKENDS`, or another package's."""
    path: str | None = None
    """The model's folder (``vllm``, ``transformers``), or its GGUF file (``llama.cpp``)."""
    url: str | None = None
    """Root of the API, such as ``http://127.0.0.1:8000/v1`` (``openai``)."""
    model_id: str | None = None
    """The server's name for the model (``openai``)."""
    context_tokens: int | None = Field(default=None, ge=SMALLEST_CONTEXT)
    dtype: str = "auto"
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1``."""
    python: str | None = None
    """Python of the environment that vLLM is installed in; None: ``models.vllm_python``."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of a GPU's memory that the server may take."""
    kv_cache_bytes: int | None = Field(default=None, ge=1 << 20)
    """Bytes for keys and values, where a share does not say it (on a CPU)."""
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    """Replies written at the same time."""
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """GPUs that one copy is spread over."""
    reasoning_parser: str | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    """More options of ``vllm serve``, word by word; see ``models.vllm.options``."""
    key_env: str | None = None
    """Name of the environment variable that holds the API key."""
    dialect: Literal["vllm", "openai"] = "openai"
    """Support of grammars at ``url``: as vLLM does, or none."""
    added: str | None = None
    """When, in UTC."""
    facts: ModelFacts | None = None
    """Contents of the folder then."""

    @property
    def where(self) -> str:
        """The path or the URL."""
        return self.path or self.url or ""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"'{name}' has a meaning of its own: choose another name")
        if not NAME.fullmatch(name):
            raise ValueError(
                f"'{name}' cannot be a name: letters, digits, dots, dashes and underscores, 64 at"
                " most, beginning with a letter or a digit"
            )
        return name

    @field_validator("key_env")
    @classmethod
    def _variable(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,79}", value):
            # What was typed may be the key itself, so it is not repeated.
            raise ValueError(
                "that is not the name of an environment variable: put the key into a variable"
                " (`export MY_KEY=...`) and give the variable's name, never the key"
            )
        return value

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            return require_loopback(url, allow_remote=True)  # who allows it is known on opening
        except ModelError as error:
            raise ValueError(str(error)) from None

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", value):
            raise ValueError(f"'{value}' is no device: auto, cpu, cuda or cuda:1")
        return value

    @field_validator("backend", "dtype", "reasoning_parser")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value and not _PLAIN.fullmatch(value):
            raise ValueError(f"'{value}' cannot be a value of it: letters, digits, _ . and - only")
        return value

    @field_validator("extra_args")
    @classmethod
    def _safe_args(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        require_allowed(words)
        return words

    @model_validator(mode="after")
    def _fits_backend(self) -> ModelEntry:
        if self.backend not in BACKENDS:  # which settings it reads is its own affair
            if (self.url is None) == (self.path is None):
                raise ValueError(f"backend {self.backend} needs a path or a url")
            return self
        if self.backend == "openai":
            if self.url is None or self.path is not None:
                raise ValueError("backend openai needs a url, and no path")
        elif self.path is None or self.url is not None:
            raise ValueError(f"backend {self.backend} needs a path, and no url")
        for key, backends in _READS.items():
            given = getattr(self, key) != type(self).model_fields[key].get_default(
                call_default_factory=True
            )
            if given and self.backend not in backends:
                names = " and ".join(sorted(backends))
                raise ValueError(f"{key} is for backend {names}, not for {self.backend}")
        return self
