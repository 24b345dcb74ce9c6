"""Register a model: inspect its folder or ask its server, and fill in a preset."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.admin.summary import model_name
from models.entries import BACKENDS, ModelEntry
from models.families import detect_family, suggested_context
from models.inspection import ModelFacts, inspect_model, read_config
from models.opening import api_key
from models.protocol import ModelError
from models.registry import ModelRegistry, first_problem
from models.vllm.environment import examine

_SHOWN = 8
"""Models of a server that an error names."""


@dataclass(frozen=True)
class Added:
    """A registered model."""

    entry: ModelEntry
    notes: list[str] = field(default_factory=list)
    """Remarks for the user, a sentence each."""


def add_model(
    registry: ModelRegistry,
    name: str,
    where: str,
    settings: dict[str, Any],
    *,
    replace: bool = False,
    full_hash: bool = False,
    allow_remote: bool = False,
) -> Added:
    """Inspect a model and register it.

    Args:
        registry: where it is written.
        name: its name from now on.
        where: its folder, or the URL of a running server.
        settings: fields of `ModelEntry` from the user; None stands for "not given". A ``backend``
            that is not one of `BACKENDS` is a plug-in's, and the caller has found it.
        replace: whether a model of this name may be there already.
        full_hash: whether to read every byte of the weights.
        allow_remote: whether a server on another machine may be asked for its models.

    Raises:
        ModelError: it cannot be used as it is; nothing is registered then.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    base = {"name": name, "added": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if given.get("backend", "vllm") not in BACKENDS:
        added = _of_a_plugin(base, where, given)
    elif "://" in where:
        added = _at_url(base, where, given, allow_remote=allow_remote)
    else:
        added = _in_folder(base, where, given, full_hash=full_hash)
    registry.add(added.entry, replace=replace)
    return added


def _of_a_plugin(base: dict[str, Any], where: str, given: dict[str, Any]) -> Added:
    """A plug-in's model, uninspected: only the plug-in knows its format."""
    if "://" in where:
        return Added(_entry({**base, "url": where, **given}))
    path = Path(where).expanduser().absolute()
    if not path.exists():
        raise ModelError(f"there is no '{path}'")
    note = f"only backend {given['backend']} knows what is in '{path}': it was not looked at"
    return Added(_entry({**base, "path": str(path), **given}), [note])


def _at_url(base: dict[str, Any], url: str, given: dict[str, Any], *, allow_remote: bool) -> Added:
    backend = given.pop("backend", "openai")
    entry = _entry({**base, "backend": backend, "url": url, **given})
    notes = []
    try:
        served = _served(entry, allow_remote)
    except ModelError as error:
        if entry.model_id is None:
            raise ModelError(
                f"which model '{entry.url}' has cannot be asked ({error}): give --model ID"
            ) from None
        return Added(entry, [f"the server was not asked what it has: {error}"])
    model_id = entry.model_id
    if model_id is None:
        if len(served) != 1:
            more = ["..."] if len(served) > _SHOWN else []
            has = ", ".join([*[*served][:_SHOWN], *more]) or "none"
            raise ModelError(f"'{entry.url}' has {len(served)} models: give --model ID ({has})")
        (model_id,) = served
    elif model_id not in served:
        raise ModelError(
            f"'{entry.url}' has no model '{model_id}': it has {', '.join(served) or 'none'}"
        )
    context = served[model_id]
    found: dict[str, Any] = {"model_id": model_id}
    if context is not None and "dialect" not in given:
        # Of the servers in use only vLLM says a model's length in this place.
        found["dialect"] = "vllm"
        notes.append("it is a vLLM server, which takes grammars as well")
    if entry.context_tokens is None:
        found["context_tokens"] = context
        if context is None:
            notes.append("the server does not say its context: give it with --context")
    return Added(entry.model_copy(update=found), notes)


def _served(entry: ModelEntry, allow_remote: bool) -> dict[str, int | None]:
    from models.openai_server import OpenAIModel

    assert entry.url is not None
    model = OpenAIModel(
        entry.name,
        url=entry.url,
        model_id=entry.model_id or "",
        api_key=api_key(entry),
        timeout_s=10.0,
        allow_remote=allow_remote,
    )
    try:
        return model.served()
    finally:
        model.close()


def _in_folder(
    base: dict[str, Any], where: str, given: dict[str, Any], *, full_hash: bool
) -> Added:
    facts = inspect_model(where, full_hash=full_hash)
    config = read_config(facts.path)
    path = Path(where).expanduser().absolute()
    family = detect_family(config, model_name(path))
    backend = given.pop("backend", None) or _usual_backend(given, facts)
    is_file = facts.quantization == "gguf"
    if is_file and backend != "llama.cpp":
        raise ModelError(
            f"'{path}' is a GGUF file, which backend {backend} does not run: leave --backend out,"
            " or give the model's folder with safetensors files"
        )
    if backend == "llama.cpp" and not is_file:
        raise ModelError(f"'{path}' is no GGUF file, and backend llama.cpp runs nothing else")
    if backend == "vllm" and "python" in given:
        # The place of a virtual environment's link counts, so it is not resolved.
        given["python"] = str(Path(given["python"]).expanduser().absolute())
        examine(given["python"])
    wanted = given.pop("context_tokens", None)
    context = suggested_context(family, facts.context_tokens, wanted)
    notes = []
    if facts.context_tokens is not None and context > facts.context_tokens:
        raise ModelError(
            f"--context {context}: the model's configuration allows {facts.context_tokens:,}"
        )
    preset: dict[str, Any] = {"context_tokens": context}
    if family is not None:
        if backend != "llama.cpp":
            preset["dtype"] = family.dtype
        preset["chat_template_kwargs"] = dict(family.chat_template_kwargs)
        if backend == "vllm":
            if family.reasoning_parser:
                preset["reasoning_parser"] = family.reasoning_parser
            preset["extra_args"] = _tekken(facts) + family.extra_args
        if family.note:
            notes.append(f"{family.title}: {family.note}")
    else:
        notes.append("no preset knows this model: it runs with the backend's own defaults")
    entry = _entry(
        {**base, "backend": backend, "path": str(path), "facts": facts, **preset, **given}
    )
    return Added(entry, notes)


def _tekken(facts: ModelFacts) -> tuple[str, ...]:
    return ("--tokenizer-mode", "mistral") if facts.tokenizer == "tekken.json" else ()


def _usual_backend(given: dict[str, Any], facts: ModelFacts) -> str:
    """llama.cpp for a GGUF file; vLLM where one is at hand, else transformers in this process."""
    if facts.quantization == "gguf":
        return "llama.cpp"
    has_vllm = "python" in given or importlib.util.find_spec("vllm") is not None
    return "vllm" if has_vllm else "transformers"


def _entry(values: dict[str, Any]) -> ModelEntry:
    try:
        return ModelEntry.model_validate(values)
    except ValidationError as error:
        raise ModelError(f"model '{values['name']}'{first_problem(error)}") from None
