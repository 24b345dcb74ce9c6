"""Comparison of several runs, re-read only where they changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qllm.facts.compared import Comparison, Entry, assemble, entries_of
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.store import Store


@dataclass(frozen=True)
class CompareQuery:
    """A comparison of runs."""

    run_ids: tuple[int, ...]
    reference: str | None = None
    """Label of the reference entry; ``None`` for the default one."""

    def read(self, store: Store, memory: dict[str, Any]) -> Comparison:
        """The present comparison; intervals are recomputed only for runs that made progress.

        Raises:
            UnknownRunError: one of them does not exist.
        """
        runs, entries = [], []
        for run_id in dict.fromkeys(self.run_ids):
            run = store.runs.get(run_id)
            runs.append(run)
            entries += self._entries(store, run, memory)
        return assemble(runs, entries, reference=self.reference)

    def _entries(self, store: Store, run: Run, memory: dict[str, Any]) -> list[Entry]:
        state = tuple((r.id, derived_status(r), r.env_steps) for r in store.runs.family(run.id))
        known = memory.get(str(run.id))
        if known is None or known[0] != state:
            known = memory[str(run.id)] = (state, entries_of(store, run))
        found: list[Entry] = known[1]
        return found
