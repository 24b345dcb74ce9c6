"""Candidates: replies of the coder with their verdicts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.report import CheckReport


@dataclass(frozen=True)
class Candidate:
    """One checked reply. ``(round, slot, repair)`` names it within a synthesis, counted from 0."""

    round: int
    slot: int
    """Place among the K candidates of the round."""
    repair: int
    """0 for the first reply in this slot, then the number of the correction."""
    source: str
    """The whole reply, with any prose and fences around the code."""
    report: CheckReport
    duplicate_of: str | None = None
    """``key`` of the earlier accepted candidate that computes the same function, if any."""

    @property
    def key(self) -> str:
        """Name within the synthesis, such as ``r0.s2.1``."""
        return candidate_key(self.round, self.slot, self.repair)

    @property
    def parent(self) -> str | None:
        """``key`` of the reply that this one corrects."""
        return candidate_key(self.round, self.slot, self.repair - 1) if self.repair else None

    @property
    def code(self) -> str:
        """The program in the reply, or the whole reply where none was found."""
        return self.report.code or self.source

    @property
    def accepted(self) -> bool:
        """Whether the sandbox accepted it, duplicate or not."""
        return self.report.accepted

    @property
    def graph_hash(self) -> str:
        """Identity of the function it computes.

        Raises:
            ValueError: the candidate was rejected, so it has no graph.
        """
        if self.report.graph_hash is None:
            raise ValueError(f"candidate {self.key} was rejected and has no credit graph")
        return self.report.graph_hash


def candidate_key(round_: int, slot: int, repair: int) -> str:
    """The short name of a candidate: ``r0.s2.1`` is round 0, slot 2, first repair."""
    return f"r{round_}.s{slot}.{repair}"


_KEY = re.compile(r"\br(\d+)\.s(\d+)\.(\d+)\b")


def label(round_: int, slot: int, repair: int) -> str:
    """A candidate's place counted from 1: ``1.3`` is round 1, slot 3; ``1.3.1`` its repair."""
    return f"{round_ + 1}.{slot + 1}" + (f".{repair}" if repair else "")


def labelled(text: str) -> str:
    """A text with labels in place of the candidates' keys."""
    return _KEY.sub(lambda found: label(*map(int, found.groups())), text)


def rejections_by_rule(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Number of rejections by rule, most frequent first, ties in alphabetical order."""
    counts = Counter(c.report.rule or c.report.stage for c in candidates if not c.accepted)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


_STAGES = ("policy", "compile", "export", "graph", "prove", "properties", "done")
"""The sandbox's stages, in the order in which a candidate passes them."""


def count_by_stage(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Number of replies that each stage refused, in the order of the stages, then ``accepted``."""
    counts = Counter("accepted" if c.accepted else c.report.stage for c in candidates)
    names = [*_STAGES, "accepted"]
    return {name: counts[name] for name in names if counts[name]}


def most_promising(candidates: Iterable[Candidate]) -> Candidate | None:
    """Of replies that were all refused, the one that came furthest; ``None`` if there is none.

    The furthest stage counts, then the later correction, since it was told more, then the place.
    """
    refused = [c for c in candidates if not c.accepted]
    if not refused:
        return None
    return min(refused, key=lambda c: (-_STAGES.index(c.report.stage), -c.repair, c.round, c.slot))


def rejections_in_words(candidates: Iterable[Candidate]) -> str:
    """``rejections_by_rule`` as text, with one example of feedback for the most frequent rule."""
    rejected = [c for c in candidates if not c.accepted]
    by_rule = rejections_by_rule(rejected)
    if not by_rule:
        return ""
    counts = ", ".join(f"{rule} ({n}x)" for rule, n in by_rule.items())
    worst = next(iter(by_rule))
    example = next(c for c in rejected if (c.report.rule or c.report.stage) == worst)
    return f"{counts}. For example: {example.report.feedback.strip()}"
