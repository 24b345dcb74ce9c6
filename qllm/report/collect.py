"""From the run store to what a report shows.

Works for any run at any time: one that has just begun, failed, was stopped or has finished. What
is not there yet is left out, and rendering says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from prompts.cards import CardError, TaskCard, load_card
from qllm.config.yaml_text import dump
from qllm.facts.curves import curve_words, curves_of, metric_curves_of
from qllm.facts.results import results_of
from qllm.facts.runs import RunFacts, initial_words
from qllm.facts.search_reader import read_search, search_of
from qllm.jobs.credit import shown_certificate
from qllm.report.data import CreditFacts, Report
from qllm.report.episode import CreditEpisode
from qllm.store.runs import single_trainings
from qllm.store.schema import Run
from qllm.store.store import Store


def collect(store: Store, run_id: int, *, play: bool = True) -> Report:
    """Everything that the store knows of a run and of the runs that belong to it.

    Args:
        play: whether to play an episode that shows the credit function at work.

    Raises:
        qllm.store.runs.UnknownRunError: there is no such run.
        qllm.store.errors.StoreError: the store cannot be read.
    """
    run = store.runs.get(run_id)
    family = store.runs.family(run_id)
    trainings = single_trainings(family)
    curves = curves_of(store, trainings)
    searched = search_of(store, family)
    synthesis = read_search(store, searched) if searched is not None else None
    return Report(
        run=RunFacts.of(run),
        task=_card(run.settings.task or run.task),
        synthesis=synthesis,
        credit=given_credit(store, family) if synthesis is None else None,
        episode=_episode(store, family) if play else None,
        rows=results_of(store, run),
        curves=curves,
        metric_curves=metric_curves_of(store, trainings),
        curve_words=curve_words(curves),
        seeds=tuple(sorted({r.seed for r in trainings if r.seed is not None})),
        settings_yaml=dump(run.config) if run.config else "",
        initial=tuple(initial_words(trainings)),
        versions=run.versions or {},
    )


def _episode(store: Store, family: Sequence[Run]) -> CreditEpisode | None:
    if not any(run.given.graph_hash for run in family):
        return None
    from qllm.report.credit_episode import credit_episode  # with torch, which takes seconds

    return credit_episode(store, family)


def given_credit(store: Store, family: Sequence[Run]) -> CreditFacts | None:
    """The credit function that these trainings were given; None where they were given none."""
    run = next((r for r in family if r.given.graph_hash is not None), None)
    if run is None:
        return None
    certificate = shown_certificate(store, run)
    texts = {key: text for key, text in certificate.items() if isinstance(text, str)}
    return CreditFacts(
        name=str(run.given.name),
        graph_hash=run.given.graph_hash,
        code=texts.get("source"),
        mathematics=texts.get("mathematics"),
    )


def _card(name: str) -> TaskCard | None:
    try:
        return load_card(name)
    except CardError:
        return None  # a card of the user's own that has moved since; the report can do without
