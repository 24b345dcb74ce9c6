"""A training that is killed again and again ends as if it had never been."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from marl_toys import PlainSum, climbing, saved_state, small_config

from marl.trainer import Trainer

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("algorithm", "seed"), [("qmix", 0), pytest.param("qllm", 1, marks=pytest.mark.slow)]
)
def test_sigkill_at_random_moments_changes_nothing(
    algorithm: str, seed: int, tmp_path: Path
) -> None:
    """SIGKILL while rolling out, learning or writing a checkpoint (there is one per rollout)."""
    done = subprocess.run(
        [sys.executable, str(HERE / "marl_kill_runs.py"), str(tmp_path), algorithm, str(seed)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2

    config = small_config(
        steps=1_000, checkpoint_every=1, algorithm={"name": algorithm}, evaluation={"every": 100}
    )
    credit = PlainSum() if algorithm == "qllm" else None
    whole = Trainer(climbing(5), config, 1, credit=credit)
    whole.run()
    tensors, facts = saved_state(tmp_path)
    expected = whole.state_dict()
    assert tensors.keys() == expected.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], expected[name])] == []
    assert facts["env_steps"] == whole.env_steps == 1_000
    returns = [tuple(values) for _, _, values in facts["evaluations"]]
    assert returns == [e.returns for e in whole.evaluations]
