"""The check of a GPU machine, as far as a machine without one can run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "gpu_check.sh"
BIN = Path(sys.executable).parent
PARTS = ["training speed", "stop and resume", "served model", "search with handover"]


def page(out: Path, **environment: str) -> dict[str, list[str]]:
    """The page's rows by part: verdict, time, what was said."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MODEL", "VLLM", "DEVICE")}
    path = f"{BIN}:{kept['PATH']}"
    subprocess.run(
        [SCRIPT, out], env={**kept, "QLLM": "qllm", "PATH": path, **environment}, check=True,
        stdout=subprocess.DEVNULL, timeout=560,
    )  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in (out / "page.md").read_text().splitlines()]
    return {row[0]: row[1:] for row in rows if row[0] in PARTS}


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU")
def test_without_a_gpu_every_part_says_why_it_is_skipped(tmp_path: Path) -> None:
    rows = page(tmp_path)
    assert list(rows) == PARTS
    assert all(verdict == "skipped" and "nvidia-smi" in said for verdict, _, said in rows.values())


@pytest.mark.slow
def test_a_cpu_rehearses_the_trainings(tmp_path: Path) -> None:
    rows = page(tmp_path, DEVICE="cpu")
    assert [rows[part][0] for part in PARTS] == ["works", "works", "skipped", "skipped"]
    assert "steps/s" in rows["training speed"][2]
    assert "stopped at TERM with a checkpoint" in rows["stop and resume"][2]
    assert "MODEL names no folder" in rows["served model"][2]
