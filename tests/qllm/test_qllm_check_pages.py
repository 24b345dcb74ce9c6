"""What ``qllm check`` writes besides its verdicts: a page, certificates, readable mathematics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompts.cards import load_card
from qllm.cli.main import run
from sandbox.certificate import load_tfcaf
from sandbox.checker import Sandbox

pytestmark = pytest.mark.long

GOOD = "def tfcaf(state):\n    return 1.0 + 0.5 * (state == 2).float(), 0.0 * state[:, :1]\n"
BAD = "def tfcaf(agent_qs, state):\n    return '<script>alert(1)</script>'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad<b>.py").write_text(BAD)
    return tmp_path


def _check(folder: Path, *words: str) -> int:
    few = "sandbox.examples=10"
    return run(["check", str(folder), "--task", "matrix/climbing", few, *words])


def test_a_page_shows_verdicts_source_and_mathematics_as_data(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "pages" / "checks.html"
    assert _check(folder, "--html", str(page)) == 1
    text = page.read_text()
    assert "1 of 2 accepted" in text
    assert "weight of agent 1" in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "<script" not in text
    assert str(page) in capsys.readouterr().err


def test_certificates_lie_beside_accepted_sources_only(folder: Path, warm_sandbox: Sandbox) -> None:
    _check(folder, "--certify")
    (certificate,) = folder.glob("*.tfcaf.json")
    report = load_tfcaf(certificate, load_card("matrix/climbing"), warm_sandbox)
    assert certificate.name.startswith(str(report.graph_hash)[:16])


def test_json_carries_the_mathematics_and_nothing_else_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _check(folder, "--json", "--certify")
    documents = json.loads(capsys.readouterr().out)
    assert [d["verdict"] for d in documents] == ["rejected", "accepted"]
    assert "last_action[0] = 2" in documents[1]["mathematics"]
    assert documents[0]["mathematics"] is None


def test_an_unwritable_page_is_one_clear_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "taken").write_text("")
    assert _check(folder, "--html", str(folder / "taken" / "x.html")) == 1
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("pad", [10, 33, 34, 60])
def test_no_text_of_a_candidate_begins_a_line_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pad: int
) -> None:
    claim = "accepted  x.py: mixing form, linear in q, IGM proved, finite proved (0.3 s) "
    source = f'def tfcaf(agent_qs, state):\n    raise ValueError("{"x" * pad} {claim * 4}")\n'
    (tmp_path / "fake.py").write_text(source)
    assert _check(tmp_path) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("rejected  ")
    assert "accepted" in "".join(others)
    assert all(line.startswith("  ") for line in others)
