"""What the screen of a run says in words."""

from __future__ import annotations

from rich.text import Text

from qllm.text import one_line, safe
from qllm.tui.glyphs import status_text
from qllm.tui.reading.log import Log
from qllm.tui.reading.run import RunFacts, RunView
from qllm.tui.reading.usage import Usage
from qllm.units import ABSENT, count, duration

_BAR = 24


def facts(run: RunFacts, width: int) -> Text:
    """Who, how far, how fast, and what went wrong, in two or three lines."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"run {run.id}  ", style="bold")
    text.append(f"{run.kind} {safe(run.task)} ")
    text.append(f"{safe(run.algo)} ")
    if run.seed is not None:
        text.append(f"seed {run.seed} ")
    if run.parent is not None:
        text.append(f"of run {run.parent} ", style="dim")
    text.append(" ")
    text.append_text(status_text(run.status))
    if run.attempt > 1:
        text.append(f"  attempt {run.attempt}", style="dim")
    text.append("\n")
    if run.total_steps:
        done = min(1.0, run.env_steps / run.total_steps)
        bar = round(done * _BAR)
        if width >= 80:
            text.append("━" * bar, style="green")
            text.append("─" * (_BAR - bar) + " ", style="dim")
        text.append(f"{done:.0%}  {count(run.env_steps)} of {count(run.total_steps)} steps")
    if run.rate:
        text.append(f"  {count(run.rate)}/s")
    if run.elapsed_s is not None:
        text.append(f"  took {duration(run.elapsed_s)}")
    if run.left_s is not None:
        text.append(f"  {duration(run.left_s)} left", style="bold")
    if run.status == "died":
        text.append("\nits process is gone: r goes on from its last checkpoint", style="bold red")
    elif run.error:
        text.append(f"\n{one_line(run.error, max(20, width - 2))}", style="bold red")
    return text


def no_curves(view: RunView) -> str:
    """Why there are no curves."""
    if view.trainings:
        return "no evaluation yet"
    if view.facts.kind == "run":
        return "no training yet: g shows the search"
    return "no training yet"


def log(said: Log) -> Text:
    """Events of the store, then what the job printed."""
    lines = [*said.events]
    if said.printed:
        lines += ["", f"printed ({said.path}):", *said.printed]
    else:
        lines += ["", "nothing else is kept: a job started in a terminal prints there"]
    return Text("\n".join(safe(line) for line in lines))


def usage(used: Usage, run: RunFacts) -> Text:
    """The job's process, and what it uses."""
    if used.pid is None:
        return Text("no process has worked on this run yet")
    where = "this machine" if used.here else safe(used.host)
    rows = [("process", f"{used.pid} on {where}")]
    if used.alive and used.here:
        cores = f"{used.cpu:.2f} cores" if used.cpu is not None else ABSENT
        memory = f"{used.memory / 2**20:,.0f} MiB" if used.memory is not None else ABSENT
        rows += [
            ("processor", cores),
            ("memory", memory),
            ("processes", str(used.processes)),
            ("threads", str(used.threads)),
        ]
    elif used.alive:
        rows.append(("state", "alive, on another machine: only its heartbeat is seen from here"))
    else:
        rows.append(("state", "gone" if run.status == "died" else f"ended ({run.status})"))
    text = Text()
    for name, value in rows:
        text.append(f"{name:<12}", style="dim")
        text.append(f"{value}\n")
    return text
