"""Queries of the screens of a search and of a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qllm.facts.candidates import CandidateView, read_candidate
from qllm.facts.search import SearchFacts
from qllm.facts.search_reader import read_search
from qllm.store.store import Store


@dataclass(frozen=True)
class SynthesisQuery:
    """A search by the number of the run that it is recorded under."""

    run_id: int

    def read(self, store: Store, memory: dict[str, Any]) -> SearchFacts:
        """The whole search; unchanged rows are the same objects as before.

        Raises:
            UnknownRunError: there is no such run.
        """
        return read_search(store, store.runs.get(self.run_id), memory)


@dataclass(frozen=True)
class CandidateQuery:
    """A candidate by its number."""

    candidate_id: int

    def read(self, store: Store, memory: dict[str, Any]) -> CandidateView:
        """Everything of it.

        Raises:
            StoreError: there is no such candidate.
        """
        return read_candidate(store, self.candidate_id)
