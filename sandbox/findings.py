"""What is found wrong with a source before it is a graph."""

from __future__ import annotations

import re
from dataclasses import dataclass

ABOUT_SIZES = re.compile(
    r"\b(shapes?|sizes?|dim|dimensions?|out of (bounds|range)|to unpack)\b", re.IGNORECASE
)
"""In a message of torch: sizes did not fit, or an index lay outside."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a source."""

    rule: str
    message: str
    line: int | None = None


class PolicyError(Exception):
    """The source breaks the policy."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(f.message for f in findings))
        self.findings = findings
