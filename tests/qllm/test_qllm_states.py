"""A check plays its task in the sandbox's warm process, to the same effect as in its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from marl.random_play import scale_and_states
from prompts.cards import TASKS_DIR
from qllm.cli.main import run
from qllm.config.build import build_config
from qllm.config.tree import RunConfig
from qllm.jobs import states
from qllm.jobs.tasks import task_card

SUM = "def tfcaf(agent_qs, state):\n    return agent_qs.sum(dim=1, keepdim=True)\n"


def _config(task: str, *overrides: str) -> RunConfig:
    return build_config(flags={"task": task}, overrides=list(overrides))


def test_a_check_imports_no_torch_beside_its_sandbox(tmp_path: Path) -> None:
    source = tmp_path / "sum.py"
    source.write_text(SUM)
    code = (
        "import sys\n"
        "from qllm.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "sys.exit(code or 10 * ('torch' in sys.modules))"
    )
    words = ["check", str(source), "--task", "mpe/spread-3", "sandbox.examples=4", "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "accepted"


@pytest.mark.parametrize(
    ("task", "overrides"),
    [
        ("matrix/climbing", ()),
        ("mpe/tag", ()),
        ("lbf/8x8-2p-2f-coop-2s", ("learner.reward_scale=2",)),
    ],
)
def test_the_errand_finds_what_playing_here_does(task: str, overrides: tuple[str, ...]) -> None:
    config = _config(task, *overrides)
    errand = states.errand(task_card(config), config)
    assert errand is not None
    answer = json.loads(json.dumps(scale_and_states(json.loads(json.dumps(errand.argument)))))
    there, here = states.scaled_with_states(answer, config), states.scaled_with_states(None, config)
    assert there == here
    assert len(here[1]) > 1


def test_a_measured_scale_comes_with_the_errand(tmp_path: Path) -> None:
    text = (TASKS_DIR / "matrix/climbing.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(", scale: 1}", "}"))
    config = _config(str(path))
    errand = states.errand(task_card(config), config)
    assert errand is not None
    config, _ = states.scaled_with_states(scale_and_states(errand.argument), config)
    assert config.learner.reward_scale == 18.0


def test_nothing_of_the_users_own_is_played_there() -> None:
    config = _config("football/3-vs-1")
    assert states.errand(task_card(config), config) is None


def test_an_environment_that_cannot_be_made_is_told_as_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sum.py").write_text(SUM)
    words = ["check", str(tmp_path / "sum.py"), "--task", "matrix/climbing"]
    assert run([*words, "env.opponent=nobody.pt"]) == 2
    said = capsys.readouterr().err
    assert "for tasks of kind mpe" in said
    assert len(said.splitlines()) == 1
