"""``qllm explain``: the mathematics of a credit function, and its weights in an episode."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qllm.cli import options, work
from qllm.cli.failures import DONE
from qllm.cli.jobs import Gate
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prompts.cards import TaskCard
    from qllm.config.tree import RunConfig
    from qllm.jobs.credit import Credit
    from qllm.jobs.sandboxes import Sandboxes
    from qllm.report.episode import CreditEpisode


def explain(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A candidate's number (`qllm runs ID`), a source file, or a certificate."
        ),
    ],
    settings: options.Settings = None,
    task: Annotated[
        str | None, options.option("--task", "The task it is for (a candidate's own by default).")
    ] = None,
    run: Annotated[
        int | None,
        options.option(
            "--run",
            "Let this run's trained agents act (default: random play).",
            parser=options.run_number,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        options.option("--out", "The picture, a PNG file (default: credit-HASH.png here)."),
    ] = None,
    seed: options.EpisodeSeed = 0,
    gate: Gate = None,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Show a credit function as mathematics, its claims, and its weights in an episode."""
    from qllm.errors import UsageError

    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out '{out}': the picture is a PNG file, so its name must end in .png")
    named = task or _task_of(candidate, settings, config)
    if named is None and config is None and not _names_task(settings):
        raise UsageError(f"which task is '{candidate}' for? Name it with --task (`qllm tasks`)")
    flags: dict[str, Any] = {"gate.mode": gate, "tfcaf": candidate}
    settled = work.configuration(named, settings, config, reader="explain", **flags)
    from qllm.jobs.sandboxes import Sandboxes
    from qllm.jobs.tasks import task_card, with_reward_scale

    settled = with_reward_scale(settled)
    card = task_card(settled)
    with work.stdout_kept_for_json(json), contextlib.closing(Sandboxes()) as sandboxes:
        credit = _credit(settled, card, sandboxes, own_gate=gate is None)
        episode = _episode(settled, card, credit, sandboxes, run, seed)
        picture = _picture(episode, credit, out)
    document = _document(card, credit, episode, picture)
    if json:
        work.print_json(document)
    else:
        _show(document, episode)
    return DONE


def _task_of(candidate: str, settings: Sequence[str] | None, config: Path | None) -> str | None:
    """The task that a candidate of the store was written for, where nothing else names one."""

    if (
        _names_task(settings)
        or config is not None
        or not candidate.isdecimal()
        or Path(candidate).exists()
    ):
        return None
    with work.reading() as store:
        return store.runs.get(store.synthesis.candidate(int(candidate)).run_id).task


def _names_task(settings: Sequence[str] | None) -> bool:
    return any(word.startswith("task=") for word in settings or ())


def _credit(config: RunConfig, card: TaskCard, sandboxes: Sandboxes, *, own_gate: bool) -> Credit:
    """The function, under the configured gate or the one that a candidate was accepted under."""
    from qllm.errors import UsageError, WorkError
    from qllm.jobs.credit import find_credit, gate_of
    from qllm.store.errors import StoreError

    try:
        assert config.tfcaf is not None
        if config.tfcaf.isdecimal() and not Path(config.tfcaf).exists():
            with work.reading() as store:
                if own_gate:
                    with contextlib.suppress(StoreError):  # reported below
                        gate = gate_of(store, int(config.tfcaf))
                        gated = config.gate.model_copy(update=gate)
                        config = config.model_copy(update={"gate": gated})
                return find_credit(store, config, card, sandboxes)
        return find_credit(None, config, card, sandboxes)
    except (UsageError, WorkError) as error:
        # The same function is named by an option elsewhere.
        message = str(error).removeprefix("--tfcaf: ").removeprefix("--tfcaf ")
        raise type(error)(message) from None


def _episode(
    config: RunConfig,
    card: TaskCard,
    credit: Credit,
    sandboxes: Sandboxes,
    run: int | None,
    seed: int,
) -> CreditEpisode | None:
    from marl.demonstration import random_actors
    from marl.envs.kinds import plays
    from marl.envs.missing import missing_engine
    from qllm.errors import UsageError
    from qllm.jobs.explain import agents_of, explain_episode

    missing = missing_engine(card, config.env)
    if not plays(card) or missing is not None:
        if run is not None:
            why = f"only checked: {missing}" if missing else "only checked"
            raise UsageError(f"--run {run}: task '{card.name}' cannot be played, {why}")
        return None
    if run is None:
        policy = random_actors(card, config.env)
    else:
        with work.reading() as store:
            policy = agents_of(store, run, card)
    return explain_episode(
        credit.graph,
        card,
        policy,
        sandboxes.get(config, card),
        function=credit.name,
        linear_in_q=bool(credit.report.linear_in_q),
        seed=seed,
    )


def _picture(episode: CreditEpisode | None, credit: Credit, out: Path | None) -> Path | None:
    from qllm.errors import UsageError, WorkError
    from qllm.report.credit_picture import draw_credit

    if episode is None:
        if out is not None:
            raise UsageError(f"--out '{out}': this task cannot be played, so there is no picture")
        return None
    path = out or Path(f"credit-{credit.graph.graph_hash[:8]}.png")
    try:
        draw_credit(episode, path)
    except OSError as error:
        raise WorkError(f"picture '{path}' cannot be written: {error.strerror}") from None
    return path


def _document(
    card: TaskCard, credit: Credit, episode: CreditEpisode | None, picture: Path | None
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "task": card.name,
        "function": credit.name,
        "candidate": credit.candidate_id,
        "graph_hash": credit.graph.graph_hash,
        "mathematics": credit.report.mathematics,
        **credit.claims(),
        "episode": None if episode is None else asdict(episode),
        "picture": None if picture is None else str(picture),
    }


def _show(document: dict[str, Any], episode: CreditEpisode | None) -> None:
    echo(f"{document['function']}, for {document['task']}", f"graph {document['graph_hash']}", "")
    echo_text(document["mathematics"] or "(the function is too large to be written out)")
    echo("", *_claims(document))
    if episode is None:
        echo("", "Nothing plays the task here, so no episode was played.")
        return
    from qllm.report.credit_picture import words

    echo("", *words(episode))
    _weights(episode)
    echo("", f"picture: {document['picture']}")


def _claims(document: dict[str, Any]) -> list[str]:
    from qllm.facts import phrases

    gate = document["gate"] or {}
    how = f" ({gate['function']})" if gate.get("mode") == "enforce" else ""
    bound = document["q_bound"]
    far = f" for |Q| up to {bound:,.0f}" if bound is not None else ""
    lines = [
        f"{document['signature']} form, {phrases.linear(document['linear_in_q'])};"
        f" gate {gate.get('mode', 'unknown')}{how}",
        f"IGM: {document['igm'] or 'unknown'}",
        f"finite: {document['finite'] or 'unknown'}{far}",
    ]
    if document["row_bytes"] is not None:
        lines.append(f"memory: at most {document['row_bytes']:,} bytes for a row of a batch")
    if document["weight_bounds"]:
        lines.append(f"proved weights: {phrases.weights(document['weight_bounds'])}")
    by_status: dict[str, list[str]] = {}
    for found in document["properties"] or ():
        by_status.setdefault(str(found.get("status")), []).append(str(found.get("name")))
    lines += [f"properties, {status}: {', '.join(names)}" for status, names in by_status.items()]
    return lines


def _weights(episode: CreditEpisode) -> None:
    from qllm.cli.columns import print_columns
    from qllm.units import number

    rows = [
        (f"agent {i}", number(sum(row) / len(row)), number(min(row)), number(max(row)))
        for i, row in enumerate(episode.weights)
    ]
    echo()
    print_columns(("weight of", "mean", "least", "most"), rows, right=("mean", "least", "most"))
