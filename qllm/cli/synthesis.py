"""Commands for searches: approve, reject, replay, and the prompts that would be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qllm.cli import options, work
from qllm.cli.failures import DONE
from qllm.output import echo, echo_text

if TYPE_CHECKING:
    from qllm.config.tree import RunConfig

Advice = Annotated[
    str | None,
    options.option("--advice", "What the coder is told next, in place of the evaluator's advice."),
]


def approve(
    run: options.RunId,
    candidate: Annotated[
        int | None,
        options.option("--candidate", "Take this candidate of the round, not the proposed one."),
    ] = None,
    advice: Advice = None,
    json: options.Json = False,
) -> int:
    """Approve the selection that a synthesis proposes (synth.approve=human)."""
    return _answer(run, "approve", candidate, advice, json=json)


def reject(
    run: options.RunId,
    advice: Advice = None,
    json: options.Json = False,
) -> int:
    """Reject the selection that a synthesis proposes; the next best is proposed."""
    return _answer(run, "reject", None, advice, json=json)


def _answer(
    run: int,
    answer: Literal["approve", "reject"],
    candidate: int | None,
    advice: str | None,
    *,
    json: bool,
) -> int:
    from qllm.jobs.commands import answer_proposal
    from qllm.store.store import open_store

    work.require_store()
    with open_store(options.given.home) as store:
        words = answer_proposal(store, run, answer, candidate, advice)
    return work.answer({"run": run, "answer": answer, "message": words}, words, json=json)


def replay(
    run: options.RunId,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also train the pilots again.")
    ] = False,
    json: options.Json = False,
    display: options.Display = None,
) -> int:
    """Repeat a search from its recorded traffic, without a model; exit code 1 if it differs."""
    from qllm.jobs.replay import start_replay

    work.require_store()
    return work.do(
        lambda session: start_replay(session, run, measure=measure), json=json, display=display
    )


prompts = options.Commands(name="prompts", help="What the models are sent.")


@prompts.command("show")
def show(
    task: options.Task = None,
    settings: options.Settings = None,
    config: options.Config = None,
    json: options.Json = False,
) -> int:
    """Print what would be sent for a task: the coder's first request, the evaluator's questions."""
    settled = work.configuration(task, settings, config)
    sections = _sections(settled)
    if json:
        return work.print_json([{"title": title, "text": text} for title, text in sections])
    for title, text in sections:
        echo(f"=== {title}")
        echo_text(text)
    return DONE


def _sections(config: RunConfig) -> list[tuple[str, str]]:
    from prompts.render import ShownFunction
    from qllm.jobs.search_context import coder_prompts, constraint, evaluator_prompts
    from qllm.jobs.tasks import task_card, with_reward_scale

    config = with_reward_scale(config)
    card = task_card(config)
    coder, judge = coder_prompts(config, card), evaluator_prompts(config, card)
    mode = "relax" if config.gate.mode == "auto" else config.gate.mode
    function = ShownFunction("(the source of a function)", "(what is proved of it)", "(its pilot)")
    sections = [
        ("coder: system", coder.system(gate=mode)),
        ("coder: first request of a round", coder.first()),
        ("coder: after a refused reply", coder.repair(feedback="(the sandbox's feedback)")),
        ("coder: after a function that exists already", coder.duplicate(earlier="(its name)")),
        (
            "coder: after a selection",
            coder.refine(source="", result="(what was measured)", advice="(the advice)"),
        ),
        ("evaluator: system", judge.system()),
        ("evaluator: selection", judge.select([function, function])),
        ("evaluator: advice", judge.advise(function, lessons="(what was refused and why)")),
        ("evaluator: gate", judge.gate()),
    ]
    form = constraint(config, card)
    if form is not None:
        sections.append((f"coder: {form.kind} that replies keep to", str(form.value)))
    return sections
