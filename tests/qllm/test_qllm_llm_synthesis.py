"""A whole synthesis by a language model in this process: tiny, with random weights, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qllm.cli.main import run
from qllm.store.store import open_store
from tests.models.tiny_model import build_tiny_model

pytestmark = pytest.mark.long

TASK = "matrix/climbing"
SEARCH = [
    "--coder",
    "tiny",
    "--evaluator",
    "llm",
    "synth.constraint=strict",
    "synth.rounds=1",
    "synth.candidates=2",
    "synth.max_tokens=1024",
    "sandbox.examples=10",
]
GIVEN = {
    "sum.py": "def tfcaf(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n",
    "lean.py": (
        "def tfcaf(state):\n"
        "    same = (state[:, 0:1] == state[:, 1:2]).float()\n"
        "    weights = torch.ones(state.shape[0], 2) + same\n"
        "    return weights, torch.zeros(state.shape[0], 1)\n"
    ),
}


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables under which ``tiny`` is a registered model."""
    base = tmp_path_factory.mktemp("tiny")
    build_tiny_model(base / "model")
    environment = {
        "QLLM_MODELS": str(base / "models.yaml"),
        "QLLM_SERVERS": str(base / "servers"),
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        words = ["models", "add", "tiny", str(base / "model"), "--backend", "transformers"]
        assert run([*words, "--device", "cpu"]) == 0
    for name, source in GIVEN.items():
        (base / name).write_text(source)
    return {**environment, "GIVEN": str(base)}


def given(registered: dict[str, str]) -> list[str]:
    folder = Path(registered["GIVEN"])
    return [word for name in GIVEN for word in ("--from", str(folder / name))]


@pytest.mark.usefixtures("_warm")
def test_a_model_in_this_process_writes_and_evaluates(
    registered: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in registered.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("QLLM_DB", raising=False)
    home = ["--home", str(tmp_path / "h")]
    words = [*home, "synth", TASK, *SEARCH, *given(registered), "--display", "none", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coder"] == {"name": "tiny", "is_llm": True}
    assert found["evaluator"] == {"kind": "llm", "model": "tiny"}
    assert found["stages"].get("policy", 0) == 0, "the grammar is the policy's"
    assert "undecided: tiny chose" in found["reason"]
    with open_store(tmp_path / "h", readonly=True) as store:
        said = store.synthesis.messages(1, "r0.select")
        verdict = json.loads(said[-1].content)
        assert set(verdict) == {"reason", "choice"}
        assert json.loads(store.synthesis.messages(1, "r0.advice")[-1].content)["advice"]
    monkeypatch.setattr("models.transformers_local.TransformersModel.complete", _silent)
    assert run([*home, "replay", "1", "--display", "none"]) == 0


def _silent(*_: object, **__: object) -> Any:
    raise AssertionError("the model was asked")


def test_the_whole_way_works_where_there_is_no_network(
    registered: dict[str, str], tmp_path: Path
) -> None:
    """In a network namespace of its own, whose only device is a loopback that is down."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], check=False).returncode:
        pytest.skip("this machine does not let its users make network namespaces")
    command = [
        *(unshare, "-rn"),
        *(sys.executable, "-m", "qllm.cli.main", "--home", str(tmp_path / "h")),
        *("synth", TASK, *SEARCH, "synth.candidates=1", *given(registered), "--json"),
    ]
    environment = {**os.environ, **registered, "QLLM_DB": ""}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["selected"] is not None
