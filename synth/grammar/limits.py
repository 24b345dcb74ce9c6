"""Size limits of a program under the grammar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Flavour = Literal["free", "guided", "strict"]


@dataclass(frozen=True)
class GrammarLimits:
    """Bounds on a program. The defaults of the free flavour hold this project's own functions."""

    flavour: Flavour = "free"
    """``free``: the policy's language, with names of the writer's choosing. ``strict``: typed
    expressions over a pool of variables; what it derives is nearly always accepted. ``guided``: in
    between, typed by shape over the state's named parts and the helpers."""
    statements: int = 120
    """Most statements of a block (free)."""
    depth: int = 4
    """Depth of brackets and calls (free)."""
    helpers: int = 3
    """Most helper functions before the entry (free)."""
    constants: int = 4
    """Most constants at the top level (free)."""
    identifier: int = 48
    """Most characters of a name (free)."""
    comment: int = 100
    """Most characters of a comment line; 0 allows none (free; guided wants them)."""
    iterations: int = 64
    """Largest literal in a ``range``, where no larger one has a meaning in the task."""
    variables: int = 4
    """Most variables of each shape (strict)."""
    strict_statements: int = 5
    """Most assignments (strict)."""
    strict_depth: int = 2
    """Depth of expressions (strict)."""
    guided_lines: int = 8
    """Most assignments (guided)."""
    guided_depth: int = 2
    """Depth of calls and brackets (guided)."""

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 4:
            raise ValueError(
                f"depth is {self.depth}; from 1 to 4 may be asked for, since the sandbox refuses "
                "what nests more deeply"
            )
        if self.strict_depth < 1 or self.identifier < 2 or self.iterations < 1:
            raise ValueError("strict_depth and iterations are at least 1, identifier at least 2")


GUIDED = GrammarLimits(flavour="guided")
STRICT = GrammarLimits(flavour="strict")
