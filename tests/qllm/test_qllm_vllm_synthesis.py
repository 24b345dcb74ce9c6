"""A whole synthesis through a real vLLM server on the CPU, where the only network is loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from qllm.store.store import open_store
from tests.models.tiny_model import build_tiny_model
from tests.models.vllm_fixture import vllm_python

__all__ = ["vllm_python"]  # a fixture

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(500)]

TASK = "matrix/climbing"
GIVEN = {
    "sum.py": "def tfcaf(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n",
    "lean.py": (
        "def tfcaf(state):\n"
        "    same = (state[:, 0:1] == state[:, 1:2]).float()\n"
        "    weights = torch.ones(state.shape[0], 2) + same\n"
        "    return weights, torch.zeros(state.shape[0], 1)\n"
    ),
}


def only_loopback(command: list[str]) -> list[str]:
    """The command inside a network namespace with nothing but loopback, where that is permitted."""
    unshare, ip = shutil.which("unshare"), shutil.which("ip")
    if unshare is None or ip is None:
        return command
    if subprocess.run([unshare, "-rn", ip, "link", "set", "lo", "up"], check=False).returncode:
        return command
    return [unshare, "-rn", "sh", "-c", f'{ip} link set lo up && exec "$@"', "sh", *command]


def test_a_served_model_writes_and_evaluates_and_nothing_is_left_running(
    vllm_python: str, tmp_path: Path
) -> None:
    build_tiny_model(tmp_path / "model")
    for name, source in GIVEN.items():
        (tmp_path / name).write_text(source)
    home = tmp_path / "h"
    environment = {
        **os.environ,
        "QLLM_MODELS": str(tmp_path / "models.yaml"),
        "QLLM_SERVERS": str(tmp_path / "servers"),
        "QLLM_DB": "",
    }

    def qllm(*words: str, isolated: bool = False) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "qllm.cli.main", "--home", str(home), *words]
        command = only_loopback(command) if isolated else command
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    model = ["tiny", str(tmp_path / "model"), "--backend", "vllm", "--device", "cpu"]
    qllm("models", "add", *model, "--python", vllm_python, "--kv-cache-gib", "0.25")
    search = [
        *("synth", TASK, "--coder", "tiny", "--evaluator", "llm", "--gate", "auto"),
        *("synth.constraint=strict", "synth.rounds=2", "synth.candidates=3"),
        *("synth.pilot_steps=200", "synth.pilot_seeds=1", "evaluation.episodes=4"),
        *("--from", str(tmp_path / "sum.py"), "--from", str(tmp_path / "lean.py")),
    ]
    found = json.loads(qllm(*search, "--json", isolated=True).stdout)
    assert found["evaluator"] == {"kind": "llm", "model": "tiny"}
    assert found["selected"] is not None
    assert found["rounds"] == 2
    assert found["stages"].get("policy", 0) == 0, "the grammar is the policy's"
    assert "undecided: tiny chose" in found["reason"]
    with open_store(home, readonly=True) as store:
        proposal = store.synthesis.messages(1, "r0.gate")[-1]
        assert json.loads(proposal.content)["gate"] in ("enforce", "relax")
        assert json.loads(store.synthesis.messages(1, "r1.advice")[-1].content)["advice"]
        (gate,) = store.synthesis.verdicts(1, "gate")
        assert gate.reason["evidence"]["proposal"]["model"] == "tiny"
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path / "model") in (process.info["cmdline"] or [])
    ]
    assert left == []
    assert "are the same" in qllm("replay", "1", "--display", "none").stdout
