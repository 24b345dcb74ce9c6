"""``qllm doctor --attacks``: the project's attack programs against each wall of the sandbox.

The attacks are tests, so they lie in the source tree and not in the installed package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qllm.errors import WorkError
from qllm.output import echo

RUNNER = Path(__file__).resolve().parents[1] / "tests" / "sandbox" / "attacks" / "attack_runner.py"
WALLS = {
    "policy": "language wall alone",
    "system": "operating-system wall alone",
    "both": "both walls",
}


def run_attacks(timeout_s: float = 1800.0) -> list[dict[str, Any]]:
    """Run every attack against every wall: a row for each, with its effects (none, if it held).

    Raises:
        WorkError: this is no source checkout, or the runner failed.
    """
    if not RUNNER.is_file():
        raise WorkError("the attack programs come with the source tree: run this from a checkout")
    try:
        done = subprocess.run(
            [sys.executable, str(RUNNER)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorkError(f"the attacks did not end within {timeout_s:.0f} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise WorkError(f"the attacks could not be run: {last[0]}")
    left = [line for line in done.stderr.splitlines() if line.startswith("LEFT BEHIND")]
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows + [{"attack": line, "wall": "both", "effects": [line]} for line in left]


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Number of attacks by kind, and number with an effect at each wall.

    None where no attack of a kind was made on a wall: graphs are sent to the parent, past both.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for row in rows:
        kind = kinds.setdefault(
            row["attack"].split("_")[0], {"names": set(), **dict.fromkeys(WALLS)}
        )
        kind["names"].add(row["attack"])
        kind[row["wall"]] = (kind[row["wall"]] or 0) + bool(row["effects"])
    table = [
        {"kind": name, "attacks": len(kind["names"]), **{wall: kind[wall] for wall in WALLS}}
        for name, kind in sorted(kinds.items())
    ]
    total = {"kind": "all", "attacks": sum(r["attacks"] for r in table)}
    return [*table, {**total, **{wall: sum(r[wall] or 0 for r in table) for wall in WALLS}}]


def show_attacks(rows: Sequence[dict[str, Any]]) -> None:
    """The summary, and every attack that had an effect, on stdout."""
    echo("", "Attacks that had an effect:")
    echo(f"  {'kind':<12} {'attacks':>8}  " + "  ".join(f"{w:>27}" for w in WALLS.values()))
    for row in summarise(rows):
        cells = "  ".join(f"{'–' if row[wall] is None else row[wall]:>27}" for wall in WALLS)
        echo(f"  {row['kind']:<12} {row['attacks']:>8}  {cells}")
    for row in rows:
        if row["effects"]:
            echo(f"  ✗ {row['attack']} at the {WALLS[row['wall']]}: {'; '.join(row['effects'])}")
