"""Texts of a run's screen."""

from __future__ import annotations

from textwrap import wrap

from rich.text import Text

from qllm.store.numbers import run_name
from qllm.text import one_line, safe
from qllm.tui.glyphs import status_text
from qllm.tui.reading.log import Log
from qllm.tui.reading.record import Record
from qllm.tui.reading.run import RunHead as RunFacts
from qllm.tui.reading.run import RunView
from qllm.tui.reading.usage import Usage
from qllm.tui.widgets.run_rows import elapsed, search_facts
from qllm.units import ABSENT, count, duration

_BAR = 24
_NAMES = 12


def facts(run: RunFacts, width: int) -> Text:
    """Identity, progress, speed and error, in two or three lines."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"run {run_name(run.id)}  ", style="bold")
    text.append(f"{safe(run.kind)} {safe(run.task)} ")
    text.append(f"{safe(run.algo)} ")
    if run.seed is not None:
        text.append(f"seed {run.seed} ")
    if run.parent is not None:
        text.append(f"of run {run_name(run.parent)} ", style="dim")
    text.append(" ")
    text.append_text(status_text(run.status))
    if run.attempt > 1:
        text.append(f"  attempt {run.attempt}", style="dim")
    if run.optimum is not None:
        best = run.optimum
        text.append(f"  optimum {best.total:g}", style="bold")
        chance = " on average" if best.by_chance else ""
        text.append(f" ({best.steps} steps × {best.reward:g}{chance})", style="dim")
    text.append("\n")
    text.append_text(_progress(run, width))
    if run.status == "died":
        text.append("\nits process is gone: r goes on from its last checkpoint", style="bold red")
    elif run.error:
        text.append(f"\n{one_line(run.error, max(20, width - 2))}", style="bold red")
    return text


def _progress(run: RunFacts, width: int) -> Text:
    parts = []
    if run.total_steps:
        done = min(1.0, run.env_steps / run.total_steps)
        bar = round(done * _BAR)
        if width >= 80:
            parts.append(Text.assemble(("━" * bar, "green"), ("─" * (_BAR - bar), "dim")))
        steps = f"{count(run.env_steps)} of {count(run.total_steps)} steps"
        parts.append(Text(f"{done:.0%} {steps}"))
    if run.rate:
        parts.append(Text(f"{count(run.rate)}/s"))
    if run.elapsed_s is not None:
        parts.append(Text(_time(run)))
    if run.left_s is not None:
        parts.append(Text(f"{duration(run.left_s)} left", style="bold"))
    return Text("  ").join(parts)


def _time(run: RunFacts) -> str:
    """Time since it started, or from its first start to its end."""
    assert run.elapsed_s is not None
    if run.status == "running":
        return f"running for {elapsed(run.elapsed_s)}"
    if run.status == "paused":
        return f"began {elapsed(run.elapsed_s)} ago"
    if run.attempt > 1:
        return f"{duration(run.elapsed_s)} from the first start to the end"
    return f"took {duration(run.elapsed_s)}"


def no_curves(view: RunView) -> Text:
    """Explanation of missing curves."""
    if view.trainings:
        return Text("No evaluation yet.")
    if view.search is None:
        return Text("No training yet.")
    search, active = view.search, view.facts.active
    text = Text()
    text.append("Searching for a credit function" if active else "The search", style="bold")
    text.append(": training comes after it.\n\n" if active else " ended before any training.\n\n")
    text.append_text(Text("\n").join(search_facts(search)))
    text.append("\n\ng shows the search: candidates, conversation, verdicts", style="bold")
    return text


def log(said: Log) -> Text:
    """Events of the store, the run's files, then what the job printed."""
    lines = [*said.events, ""]
    if said.files:
        lines += [f"files ({said.folder}): {', '.join(said.files)}", ""]
    if said.printed:
        lines += [f"printed ({said.path}):", *said.printed]
    else:
        lines += [
            "What it printed went to the terminal or the script that started it, and is not kept:",
            "only jobs that are started here print to a file.",
        ]
    return Text("\n".join(safe(line) for line in lines))


def usage(used: Usage, run: RunFacts, record: Record, width: int) -> Text:
    """The job's process and its usage, then the run's record."""
    rows: list[tuple[str, str]] = []
    if used.pid is None:
        rows.append(("process", "none has worked on this run yet"))
    else:
        where = "this machine" if used.here else used.host
        rows.append(("process", f"{used.pid} on {where}"))
        rows += _process(used, run)
    text = Text()
    for name, value in (*rows, ("", ""), *record):
        text.append(f"{safe(name):<{_NAMES}}", style="dim")
        lines = wrap(safe(value), max(20, width - _NAMES - 3))
        text.append(f"\n{' ' * _NAMES}".join(lines) + "\n")
    return text


def _process(used: Usage, run: RunFacts) -> list[tuple[str, str]]:
    if not used.alive:
        return [("state", "gone" if run.status == "died" else f"ended ({run.status})")]
    if not used.here:
        return [("state", "alive, on another machine: only its heartbeat is seen from here")]
    cores = f"{used.cpu:.2f} cores" if used.cpu is not None else ABSENT
    memory = f"{used.memory / 2**20:,.0f} MiB" if used.memory is not None else ABSENT
    return [
        ("processor", cores),
        ("memory", memory),
        ("processes", str(used.processes)),
        ("threads", str(used.threads)),
    ]
