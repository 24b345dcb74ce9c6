"""Every rule of the prover: importing this module registers them."""

from __future__ import annotations

from sandbox.prover import (  # noqa: F401 - they register their rules
    activations,
    along,
    arithmetic,
    conditions,
    curves,
    folding,
    indexed,
    matrices,
    structural,
)
from sandbox.prover.registry import RULES

__all__ = ["RULES"]
