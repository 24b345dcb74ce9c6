"""Well-known open-weight models: how each is best served as a coder or an evaluator.

``families.yaml`` beside this file is the data. A preset only fills in what a user leaves out when a
model is added; what was chosen stands in the registry, where it can be changed. Nothing here names
a place to download from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from models.inspection import text_config
from models.memory import Cache
from models.protocol import Purpose
from models.token_choice import Sampling

_GB = 1_000_000_000
_BYTES_AT_4_BITS = 0.6
"""Of a parameter, its share of scales included."""
_KEPT_AT_4_BITS = _GB
"""Bytes of what quantisation leaves as it is, such as embeddings."""


class Size(BaseModel):
    """One size of a family, with what its memory depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=22)
    """As its folder is usually named, without ``Instruct``."""
    total_b: float = Field(gt=0)
    """Parameters in billions, all of which are kept in memory."""
    active_b: float | None = Field(default=None, gt=0)
    """Parameters in billions that one token passes; None: all of them."""
    kv: tuple[int, int, int]
    """Layers that keep every token, key-value heads, width of a head; with latent attention the
    width of the one vector."""
    window: tuple[int, int] = (0, 0)
    """Layers with a sliding window, and its tokens."""
    latent: bool = False
    """Whether attention is multi-head latent attention: one vector for keys and values."""
    bits: tuple[Literal[16, 4], ...] = (16, 4)
    """Bits of a weight that it is to be had in, most first."""
    licence: str = ""
    """Where it is not the family's."""

    @property
    def cache(self) -> Cache:
        """Keys and values, two bytes a number."""
        layers, heads, width = self.kv
        each = heads * width * 2 * (1 if self.latent else 2)
        return Cache(layers, *self.window, each, latent=self.latent)

    def weight_bytes(self, bits: int) -> int:
        """Bytes of the weights.

        At 4 bits this is an estimate, 0.6 bytes a parameter and 1 GB. What a file keeps at 16 bits
        differs (embeddings, a vision tower), so real ones are up to a sixth larger or smaller.

        Args:
            bits: 16 or 4.
        """
        if bits == 16:
            return round(self.total_b * 2 * _GB)
        return round(self.total_b * _BYTES_AT_4_BITS * _GB) + _KEPT_AT_4_BITS


class Family(BaseModel):
    """Models that are served alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

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
    chat_template_kwargs: Mapping[str, Any] = Field(default_factory=dict)
    """Variables that its chat template reads."""
    dtype: str = "auto"
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Recommended sampling, for files that do not bring it along."""
    context_tokens: int = Field(default=16_384, ge=1)
    """A context that leaves room for the prompts and a few rounds; the model may allow more."""
    extra_args: tuple[str, ...] = ()
    """More of vLLM's options."""
    note: str = ""
    licence: str
    """Its short name, such as ``Apache-2.0``."""
    good_for: str
    """What it is good for, in words."""
    verified: bool
    """Whether types, parser and licence were held against public code and documents."""
    sizes: tuple[Size, ...]
    """Some of its sizes, the smallest first."""

    @property
    def sampling(self) -> Sampling:
        """Recommended sampling."""
        return Sampling(self.top_k, self.top_p)


def read_families(path: Path) -> tuple[Family, ...]:
    """The families of a YAML file, in its order.

    Raises:
        pydantic.ValidationError: an entry lacks a key, or has one that is not known.
    """
    return tuple(map(Family.model_validate, yaml.safe_load(path.read_text(encoding="utf-8"))))


FAMILIES: tuple[Family, ...] = read_families(Path(__file__).with_name("families.yaml"))
"""The first that matches counts, so the narrower stand before the wider."""


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
