"""What the doctor says of the attack programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from qllm import attacks
from qllm.errors import WorkError

ROWS = [
    {"attack": "file_open", "wall": "policy", "effects": []},
    {"attack": "file_open", "wall": "system", "effects": ["file x"]},
    {"attack": "file_open", "wall": "both", "effects": []},
    {"attack": "bomb_cpu", "wall": "both", "effects": []},
]


def test_effects_are_counted_by_kind_and_wall(capsys: pytest.CaptureFixture[str]) -> None:
    assert attacks.summarise(ROWS) == [
        {"kind": "bomb", "attacks": 1, "policy": None, "system": None, "both": 0},
        {"kind": "file", "attacks": 1, "policy": 0, "system": 1, "both": 0},
        {"kind": "all", "attacks": 2, "policy": 0, "system": 1, "both": 0},
    ]
    attacks.show_attacks(ROWS)
    assert "✗ file_open at the operating-system wall alone: file x" in capsys.readouterr().out


def test_without_a_checkout_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attacks, "RUNNER", tmp_path / "gone.py")
    with pytest.raises(WorkError, match="checkout"):
        attacks.run_attacks()
