"""Nothing that is checked in may tie the project to the machine where it was written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Home folders of particular people, and package indexes (which belong to a user's configuration).
FORBIDDEN = {
    "a home folder": re.compile(r"(?<![\w.~-])/(?:home|Users)/[\w.-]+/|(?<![\w.~-])/root/\w"),
    "a package index": re.compile(
        r"https?://[\w.:-]*(?:pythonhosted|py" + r"pi|artifactory|nexus|devpi)[\w.:-]*/?"
        r"|--(?:extra-)?index-url|--trusted-host"
    ),
    "somebody else's package": re.compile(
        r"pip install (?:-U |--\S+ )*['\"]?ql" + r"lm\b(?!-marl)"
    ),
}


def tracked_files() -> list[Path]:
    """What git tracks; skips where there is no git or no checkout."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def complaints(text: str, where: str) -> list[str]:
    """Lines of ``text`` that hold something forbidden."""
    return [
        f"{where}:{number} names {what}: {line.strip()[:80]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


def test_tracked_text_names_no_machine() -> None:
    found: list[str] = []
    for path in tracked_files():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += complaints(text, path.relative_to(ROOT).as_posix())
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "cache = '/home/someone/.cache'",
        "see /root/notes",
        "pip install --index-url x",
        "https://files.pythonhosted.org/packages/x",
    ],
)
def test_a_planted_line_is_caught(line: str) -> None:
    assert len(complaints(f"fine\n{line}\n", "file")) == 1


def test_ordinary_paths_are_let_through() -> None:
    text = "~/runs and $HOME/x and https://example.org/home/a/b and --home runs and /home"
    assert complaints(text, "file") == []
