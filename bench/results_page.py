"""A study's files in ``docs/results``: ``NAME.json``, ``NAME.md`` with its table, ``NAME.png``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl.statistics import Summary, learning_curve, paired_difference, summarise

if TYPE_CHECKING:
    from bench.studies import Study

Row = Mapping[str, Any]


def _by_label(study: Study, rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups = {label: [row for row in rows if row["label"] == label] for label in study.algorithms}
    return {label: group for label, group in groups.items() if group}


def _evaluations(study: Study, row: Row) -> list[tuple[int, float]]:
    """What is compared: (environment steps, mean) of each evaluation."""
    found: list[tuple[int, float]] = (
        row["metrics"][study.measure] if study.measure else row["evaluations"]
    )
    return found


def _series(study: Study, rows: Sequence[Row]) -> list[list[tuple[int, list[float]]]]:
    """The evaluations of each seed, in the form that `marl.statistics` takes."""
    return [[(steps, [mean]) for steps, mean in _evaluations(study, row)] for row in rows]


def write_page(name: str, study: Study, rows: Sequence[Row], folder: Path) -> None:
    """Write what is known so far of a study.

    Args:
        name: of the study and of its files.
        study: what was asked.
        rows: what has been finished of it.
        folder: where the files go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / name
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    base.with_suffix(".json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    base.with_suffix(".md").write_text(_table(name, study, rows), encoding="utf-8")
    if rows:
        _draw(study, rows, base.with_suffix(".png"))


def _interval(summary: Summary) -> str:
    if summary.return_ci is None:
        return "one seed"
    low, high = summary.return_ci
    return f"{low:.3g} to {high:.3g}"


def _differences(study: Study, rows: Sequence[Row]) -> list[str]:
    """Last returns of each algorithm minus those of VDN (or of the first) with the same seed."""
    scores = {
        label: {row["seed"]: _evaluations(study, row)[-1][1] for row in group}
        for label, group in _by_label(study, rows).items()
    }
    reference = "vdn" if "vdn" in scores else next(iter(scores), "")
    lines = []
    for label, own in scores.items():
        found = None if label == reference else paired_difference(own, scores[reference])
        if found is not None:
            ends = "no interval"
            if found.ci is not None:
                ends = f"95% t interval {found.ci[0]:.3g} to {found.ci[1]:.3g}"
            lines.append(f"| {label} | {reference} | {found.mean:+.3g} | {ends} | {found.seeds} |")
    if not lines:
        return []
    what = study.measure or "return"
    head = f"| last {what} of | minus that of | mean difference by seed | | seeds |"
    return ["", head, "|---|---|---|---|---|", *lines]


def _reference(study: Study, rows: Sequence[Row]) -> list[str]:
    """The reference's curve beside ours, at the evaluations nearest to its points."""
    if not study.reference or not rows:
        return []
    out = [
        "",
        f"| environment steps | {study.reference_label} | ours, each seed |",
        "|---|---|---|",
    ]
    for steps, value in study.reference:
        near = [min(row["evaluations"], key=lambda e: abs(e[0] - steps))[1] for row in rows]
        out.append(f"| {steps:,} | {value:g} | {' '.join(f'{mean:.3g}' for mean in near)} |")
    return out


def _table(name: str, study: Study, rows: Sequence[Row]) -> str:
    finished = [row for row in rows if not row.get("unfinished")]
    planned = len(study.algorithms) * len(study.seeds)
    parts = [
        f"# {study.title}",
        "",
        f"`python -m bench.results {name}`: {len(finished)} of {planned} trainings finished.",
        f"`{study.task}`, preset `{study.preset}`, {study.steps:,} environment steps. "
        + (
            f"{study.measure}: {study.unit}; greedy evaluation."
            if study.measure
            else f"Returns are in the environment's unit ({study.unit}); greedy evaluation."
        ),
        "",
        *_unfinished(rows),
        f"| algorithm | seeds | last {study.measure or 'return'}, IQM | 95% interval over seeds "
        "| mean | each seed | best mean on the way | learnable parameters |"
        + (" return, each seed |" if study.measure else ""),
        "|---|---|---|---|---|---|---|---|" + ("---|" if study.measure else ""),
    ]
    for label, group in _by_label(study, rows).items():
        s = summarise(_series(study, group))
        each = " ".join(f"{_evaluations(study, row)[-1][1]:.3g}" for row in group)
        returns = " ".join(f"{row['evaluations'][-1][1]:.3g}" for row in group)
        known = [f"{row['learnable_parameters']:,}" for row in group if not row.get("unfinished")]
        parts.append(
            f"| {label} | {len(group)} | {s.return_iqm:.3g} | {_interval(s)} | {s.return_mean:.3g} "
            f"| {each} | {s.best_return_mean:.3g} | {known[0] if known else ''} |"
            + (f" {returns} |" if study.measure else "")
        )
    parts += ["", study.note] if study.note else []
    parts += _differences(study, rows)
    parts += _reference(study, rows)
    for what, value in study.yardsticks:
        parts += ["", f"{what}: {value:g}."]
    parts += ["", f"![curves]({name}.png)"] if rows else []
    parts.append("")
    return "\n".join(parts)


def _unfinished(rows: Sequence[Row]) -> list[str]:
    """Says how far those came that have not finished."""
    found = [row for row in rows if row.get("unfinished")]
    if not found:
        return []
    said = ", ".join(f"{r['label']} seed {r['seed']} at {r['env_steps']:,} steps" for r in found)
    return [f"Not finished, shown as far as they came: {said}.", ""]


def _draw(study: Study, rows: Sequence[Row], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, group in _by_label(study, rows).items():
        curve = learning_curve([_evaluations(study, row) for row in group])
        steps = [point.env_steps for point in curve]
        seeds = "1 seed" if len(group) == 1 else f"{len(group)} seeds"
        (line,) = axes.plot(steps, [point.iqm for point in curve], label=f"{label} ({seeds})")
        bands = [point.ci for point in curve]
        if all(band is not None for band in bands):
            low, high = zip(*(band for band in bands if band is not None), strict=True)
            axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    if study.reference:
        at, values = zip(*study.reference, strict=True)
        axes.plot(at, values, "k--", marker="o", markersize=3, label=study.reference_label)
    for what, value in study.yardsticks:
        axes.axhline(value, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(what, (0, value), fontsize=7, color="0.4", va="bottom")
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel(
        f"IQM of the seeds' mean {study.measure or 'return'}s\n({study.unit})", fontsize=8
    )
    axes.set_title(f"{study.title}\nIQM and 95% bootstrap interval over seeds", fontsize=9)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Software": None})
