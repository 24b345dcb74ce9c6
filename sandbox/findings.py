"""What the language wall finds wrong with a source."""

from __future__ import annotations

from dataclasses import dataclass


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
