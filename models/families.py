"""Well-known open-weight models: how each is best served as a coder or an evaluator.

A preset only fills in what a user leaves out when a model is added; what was chosen stands in the
registry, where it can be changed. Nothing here names a place to download from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.inspection import text_config
from models.protocol import Purpose


@dataclass(frozen=True)
class Family:
    """Models that are served alike."""

    key: str
    title: str
    model_types: frozenset[str]
    """Values of config.json's ``model_type`` (the language model's own counts as well)."""
    names: str = ""
    """A pattern that occurs in the folder's name; empty: any name."""
    roles: tuple[Purpose, ...] = ("coder", "evaluator")
    """Suitable purposes, the better one first."""
    thinks: Literal["no", "switch", "always"] = "no"
    """Whether it writes its thoughts before its answer, and whether that can be switched off."""
    reasoning_parser: str = ""
    """vLLM's parser that tells thoughts from the answer; a constraint then begins with the
    answer."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Variables that its chat template reads."""
    dtype: str = "auto"
    context_tokens: int = 16_384
    """A context that leaves room for the prompts and a few rounds; the model may allow more."""
    extra_args: tuple[str, ...] = ()
    """More of vLLM's options."""
    note: str = ""


def _types(*names: str) -> frozenset[str]:
    return frozenset(names)


_NO_THOUGHTS = {"enable_thinking": False}
_SWITCHED = (
    "thinking is switched off, since replies under a constraint are short and exact; to let it"
    " think, clear chat_template_kwargs and keep the reasoning parser"
)
_LONG = "it always thinks first: leave room in synth.max_tokens (8,000 or more)"
_MISTRAL_FILES = (
    "tokenizer and chat template may come as tekken.json: vLLM then reads them with"
    " --tokenizer-mode mistral, and the transformers backend needs tokenizer.json"
)

# The first that matches counts, so the narrower stand before the wider.
FAMILIES: tuple[Family, ...] = (
    Family(
        "deepseek-r1-distill",
        "DeepSeek-R1-Distill (Qwen, Llama)",
        _types("qwen2", "qwen3", "llama"),
        r"deepseek-r1",
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="deepseek_r1",
        context_tokens=32_768,
        note=_LONG,
    ),
    Family(
        "qwq",
        "QwQ",
        _types("qwen2"),
        r"qwq",
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="deepseek_r1",
        context_tokens=32_768,
        note=_LONG,
    ),
    Family("qwen2.5-coder", "Qwen2.5-Coder", _types("qwen2"), r"coder"),
    Family("qwen2.5", "Qwen2.5", _types("qwen2"), r"qwen2|qwen-?2", roles=("evaluator", "coder")),
    Family(
        "qwen3-coder",
        "Qwen3-Coder",
        _types("qwen3_moe", "qwen3", "qwen3_next"),
        r"coder",
        note="it does not think, and needs no parser for thoughts",
    ),
    Family(
        "qwen3-instruct",
        "Qwen3 Instruct (2507, Next)",
        _types("qwen3", "qwen3_moe", "qwen3_next"),
        r"instruct",
    ),
    Family(
        "qwen3-thinking",
        "Qwen3 Thinking (2507, Next)",
        _types("qwen3", "qwen3_moe", "qwen3_next"),
        r"thinking",
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="qwen3",
        context_tokens=32_768,
        note=_LONG,
    ),
    Family(
        "qwen3",
        "Qwen3 (switchable thinking), Qwen3.5",
        _types("qwen3", "qwen3_moe", "qwen3_5", "qwen3_5_moe"),
        thinks="switch",
        reasoning_parser="qwen3",
        chat_template_kwargs=_NO_THOUGHTS,
        note=_SWITCHED,
    ),
    Family(
        "deepseek-coder-v2",
        "DeepSeek-Coder-V2-Lite, DeepSeek-V2-Lite",
        _types("deepseek_v2"),
        note="its config.json names Python code (auto_map) that vLLM and transformers do not need:"
        " remove that key from a copy, then add the copy",
    ),
    Family("deepseek-coder", "DeepSeek-Coder", _types("llama"), r"deepseek-coder"),
    Family(
        "llama3",
        "Llama 3.x",
        _types("llama"),
        r"llama-?_?3",
        roles=("evaluator", "coder"),
    ),
    Family(
        "codestral",
        "Codestral",
        _types("mistral"),
        r"codestral",
        note=_MISTRAL_FILES,
    ),
    Family(
        "devstral",
        "Devstral",
        _types("mistral", "mistral3", "ministral3"),
        r"devstral",
        note=_MISTRAL_FILES,
    ),
    Family(
        "magistral",
        "Magistral",
        _types("mistral", "mistral3"),
        r"magistral",
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="mistral",
        context_tokens=32_768,
        note=_MISTRAL_FILES,
    ),
    Family(
        "mistral",
        "Mistral, Mixtral, Ministral",
        _types("mistral", "mixtral", "mistral3", "ministral3", "ministral"),
        roles=("evaluator", "coder"),
        note=_MISTRAL_FILES,
    ),
    Family(
        "gemma3",
        "Gemma 3",
        _types("gemma3", "gemma3_text"),
        roles=("evaluator", "coder"),
        dtype="bfloat16",
        note="float16 overflows in it, so bfloat16 (or float32) is asked for",
    ),
    Family(
        "phi4-reasoning",
        "Phi-4 reasoning",
        _types("phi3"),
        r"phi-?4.*reasoning",
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="deepseek_r1",
        context_tokens=32_768,
        note=_LONG,
    ),
    Family("phi4", "Phi-4", _types("phi3"), r"phi-?4"),
    Family(
        "gpt-oss",
        "gpt-oss",
        _types("gpt_oss"),
        roles=("evaluator", "coder"),
        thinks="always",
        reasoning_parser="openai_gptoss",
        chat_template_kwargs={"reasoning_effort": "low"},
        context_tokens=32_768,
        note=_LONG,
    ),
    Family(
        "glm4.5",
        "GLM-4.5, 4.6, 4.7",
        _types("glm4_moe", "glm4_moe_lite"),
        thinks="switch",
        reasoning_parser="glm45",
        chat_template_kwargs=_NO_THOUGHTS,
        note=_SWITCHED,
    ),
    Family("glm4", "GLM-4 (0414)", _types("glm4", "glm"), roles=("evaluator", "coder")),
    Family("granite", "Granite 3.x, 4.x", _types("granite", "granitemoe", "granitemoehybrid")),
    Family("starcoder2", "StarCoder2", _types("starcoder2"), roles=("coder",)),
    Family(
        "seed-oss",
        "Seed-OSS",
        _types("seed_oss"),
        thinks="switch",
        reasoning_parser="seed_oss",
        chat_template_kwargs={"thinking_budget": 0},
        note=_SWITCHED,
    ),
)


def detect_family(config: Mapping[str, Any], name: str) -> Family | None:
    """The preset for a model; None if none fits, and then vLLM's own defaults are used.

    Args:
        config: ``config.json``.
        name: the model's identifier, or the path that it lies in: two of a cache's folders up
            stands the name that says what it is.
    """
    kinds = {str(config.get("model_type", "")), str(text_config(config).get("model_type", ""))}
    for family in FAMILIES:
        if kinds & family.model_types and re.search(family.names, name, re.IGNORECASE):
            return family
    return None


def suggested_context(family: Family | None, allowed: int | None, wanted: int | None = None) -> int:
    """Tokens of context to serve a model with.

    Args:
        family: its preset.
        allowed: what the model's configuration allows.
        wanted: what the user asks for; it is taken as it is.
    """
    if wanted is not None:
        return wanted
    usual = family.context_tokens if family is not None else 16_384
    return min(usual, allowed) if allowed else usual
