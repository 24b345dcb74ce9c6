"""Suggest models of the table of families that fit a machine's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.families import FAMILIES, Family, Size
from models.memory import GIB, Device, Need, fit_of, need_of

_SHARE = 0.9
"""Of a GPU's memory that a server may take, vLLM's own default."""
_SMALL_B = 6.5
"""Billions of parameters below which a model is small: what is called 7B lies above."""
_ADVICE = {
    "none": "synth.constraint=none: large enough to write functions without a grammar",
    "guided": "synth.constraint=guided: a small model needs shapes and names held for it",
}


@dataclass(frozen=True)
class Suggestion:
    """A model that fits, at the most bits a weight that do."""

    family: Family
    size: Size
    bits: int
    """Of a weight: 16 (bfloat16) or 4."""
    need: Need

    @property
    def licence(self) -> str:
        """The size's own, else the family's."""
        return self.size.licence or self.family.licence

    @property
    def constraint(self) -> Literal["none", "guided"]:
        """The value of ``synth.constraint`` that suits it as a coder."""
        return "none" if self.size.total_b >= _SMALL_B else "guided"

    @property
    def advice(self) -> str:
        """Which constraint to use, in one line."""
        return _ADVICE[self.constraint]

    def document(self) -> dict[str, Any]:
        """One of the ``suggestions`` of ``qllm models suggest --json``."""
        family, size = self.family, self.size
        return {
            "family": family.key,
            "title": family.title,
            "model": size.name,
            "parameters_b": size.total_b,
            "active_b": size.active_b or size.total_b,
            "precision": "bf16" if self.bits == 16 else "4 bits",
            "needs_bytes": self.need.total,
            "weights_bytes": self.need.weights,
            "cache_bytes": self.need.cache,
            "overhead_bytes": self.need.overhead,
            "context_tokens": family.context_tokens,
            "licence": self.licence,
            "role": family.roles[0],
            "thinks": family.thinks,
            "constraint": self.constraint,
            "advice": self.advice,
            "good_for": family.good_for,
            "note": family.note or None,
            "verified": family.verified,
        }


def suggestions(
    here: tuple[Device, ...], families: Sequence[Family] = FAMILIES
) -> list[Suggestion]:
    """Every size that fits one GPU, or main memory where there is none.

    A size is named once, at 16 bits where these fit, else at 4. Keys and values are those of one
    conversation that fills the family's context.

    Args:
        here: what the machine has, as `models.memory.devices_here` gives it.

    Returns:
        Better coders before better evaluators, then the largest first.
    """
    found = []
    for family in families:
        for size in family.sizes:
            for bits in size.bits:
                need = need_of(size.weight_bytes(bits), size.cache, family.context_tokens)
                if fit_of(need, here, share=_SHARE).fits:
                    found.append(Suggestion(family, size, bits, need))
                    break
    return sorted(found, key=lambda s: (s.family.roles[0] != "coder", -s.size.total_b))


def shortlist(found: Sequence[Suggestion]) -> list[Suggestion]:
    """Of each family the largest size at 16 bits, and a larger one at 4 if there is one."""
    kept = []
    for at, one in enumerate(found):
        larger = [s for s in found[:at] if s.family.key == one.family.key]
        if all(s.bits < one.bits for s in larger):
            kept.append(one)
    return kept


def room(here: tuple[Device, ...]) -> tuple[Device, int]:
    """The device that models are held against, and the bytes of it that one may take."""
    gpus = [d for d in here if d.name != "cpu"]
    if gpus:
        largest = max(gpus, key=lambda d: d.total)
        return largest, int(largest.total * _SHARE)
    (cpu,) = (d for d in here if d.name == "cpu")
    return cpu, cpu.total


def document_of(here: tuple[Device, ...]) -> dict[str, Any]:
    """The document of ``qllm models suggest --json``."""
    device, most = room(here)
    return {
        "device": {
            "kind": "cpu" if device.name == "cpu" else "cuda",
            "name": device.name,
            "total_bytes": device.total,
            "free_bytes": device.free,
        },
        "room_bytes": most,
        "suggestions": [s.document() for s in suggestions(here)],
    }


HEADERS = ("model", "bits", "GiB", "better as", "thinks", "grammar", "licence")
_THINKS = {"no": "no", "switch": "off", "always": "always"}


def rows_of(found: Sequence[Suggestion]) -> list[tuple[str, ...]]:
    """The rows of a table under `HEADERS`; a star marks what was not verified."""
    return [
        (
            s.size.name + ("" if s.family.verified else " *"),
            str(s.bits),
            f"{s.need.total / GIB:.1f}",
            s.family.roles[0],
            _THINKS[s.family.thinks],
            s.constraint,
            s.licence,
        )
        for s in found
    ]
