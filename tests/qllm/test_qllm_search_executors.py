"""Pilots on executors: wherever they are trained, a search comes to the same, bit for bit."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from recorded import everything, recorded

from prompts.cards import load_card
from qllm.cli.main import run
from qllm.config.build import build_config
from qllm.errors import UsageError
from qllm.executors.task import perform
from qllm.jobs.job_control import JobControl
from qllm.jobs.messages import PilotOrder
from qllm.jobs.pilot_training import pilot_task
from qllm.store.schema import Base
from qllm.store.store import open_store
from sandbox.config import GateConfig, SandboxConfig

pytestmark = pytest.mark.long

SEARCH = [
    "matrix/climbing", "--coder", "sampler", "steps=1000", "synth.rounds=2", "synth.candidates=1",
    "synth.pilot_updates=120", "synth.pilot_seeds=2", "sandbox.examples=10", "agent.hidden=8",
    "learner.batch_size=8", "evaluation.every=500", "evaluation.episodes=4",
    "evaluation.final_episodes=8",
]  # fmt: skip
TRAINED = ["--algos", "qllm,vdn", "--seeds", "0,1"]
COMPARED = ("candidates", "verdicts")
WHEN = {"created", "seconds", "elapsed_s", "attempt"}
RUNNING = {"note", "piloting"}
"""Verdicts that say how far it was, and warn of crowded processors."""


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a search records whose pilots are trained in its own process."""
    home = tmp_path_factory.mktemp("in-process")
    assert run(["--home", str(home), "synth", *SEARCH, "--display", "none"]) == 0
    return _found(home)


def _found(home: Path) -> dict[str, Any]:
    """Candidates, verdicts (pilots and the selection among them), all but the times."""
    with open_store(home) as store:
        rows = everything(store)
    columns = {name: Base.metadata.tables[name].columns.keys() for name in COMPARED}
    found = {
        name: [_timeless(dict(zip(columns[name], row, strict=True))) for row in rows[name]]
        for name in COMPARED
    }
    kept = [row for row in found["verdicts"] if row["kind"] not in RUNNING]
    return {**found, "verdicts": [{**row, "id": at} for at, row in enumerate(kept)]}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(kept) for key, kept in value.items() if key not in WHEN}
    if isinstance(value, list | tuple):
        return [_timeless(kept) for kept in value]
    return value


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("local", []),
        ("processes", ["--parallel", "2"]),
        ("submitit", ["--with", "cluster=local"]),
        ("ray", ["--with", "num_cpus=1"]),
    ],
)
def test_pilots_of_every_executor_are_those_of_one_process(
    home: Path, in_process: dict[str, Any], name: str, options: list[str]
) -> None:
    if name in ("submitit", "ray") and find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    words = ["synth", *SEARCH, "--display", "none", "--executor", name, *options]
    assert run(["--home", str(home), *words]) == 0
    found = _found(home)
    assert found == in_process
    assert {row["kind"] for row in found["verdicts"]} >= {"pilot", "selection"}


def test_a_search_with_its_trainings_is_the_same_and_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", *SEARCH, *TRAINED, "--display", "none"]
    whole = home.with_name("whole")
    assert run(["--home", str(whole), *words]) == 0
    asked = iter(["continue"] * 40)  # stopped among the pieces or before them
    with monkeypatch.context() as patch:
        patch.setattr(JobControl, "training", lambda _: next(asked, "stop"))
        assert run(["--home", str(home), *words, "--executor", "processes"]) != 0
    assert run(["--home", str(home), "resume", "1", "--executor", "local"]) == 0
    with open_store(home) as one, open_store(whole) as other:
        assert recorded(one) == recorded(other)
        assert all(training.status == "finished" for training in one.runs.trainings(1))
    assert _found(home) == _found(whole)


@pytest.mark.parametrize("command", ["synth", "run"])
def test_an_executor_that_cannot_be_used_is_refused_before_a_run_exists(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, *SEARCH, "--display", "none", "--executor", "local", "--with", "cpus=1"]
    assert run(["--home", str(home), *words]) == 2
    assert "--with cpus: executor 'local' has the options none" in capsys.readouterr().err
    with open_store(home, readonly=True) as store:
        assert store.runs.listed() == []


def _order(graph: dict[str, Any] | None) -> PilotOrder:
    config = build_config(
        overrides=["task=matrix/climbing", "steps=400", "agent.hidden=8", "evaluation.every=400"],
        algorithm="qllm" if graph else "vdn",
    )
    train = config.for_training(config.labels[0], 0).train_config()
    card = load_card("matrix/climbing").model_dump(mode="json")
    return PilotOrder(card, train.model_dump(mode="json"), graph, 1_000_000)


def _graph(value: str, warm_sandbox: Any, mode: str) -> dict[str, Any]:
    source = f"def tfcaf(agent_qs, state):\n    return {value}\n"
    gate = GateConfig.model_validate({"mode": mode})
    report = warm_sandbox.check(source, load_card("matrix/climbing"), gate)
    assert report.graph is not None, report.feedback
    document: dict[str, Any] = report.graph.to_json()
    return document


def test_a_worker_judges_a_function_before_it_trains_with_it(warm_sandbox: Any) -> None:
    def answer(graph: dict[str, Any]) -> dict[str, Any]:
        text = pilot_task(_order(graph), SandboxConfig(examples=10), 1)
        found: dict[str, Any] = json.loads(perform(text))
        return found

    good = _graph("agent_qs.sum(1, True)", warm_sandbox, "enforce")
    done = answer(good)
    assert (done["status"], done["error"]) == ("finished", None)
    assert done["pilot"]["env_steps"] >= 400
    falling = _graph("-agent_qs.sum(1, True)", warm_sandbox, "relax")
    falling["gate"]["mode"] = "enforce"  # on its way to the worker
    refused = answer(falling)
    assert refused["status"] == "failed"
    assert "refused where it was to be trained" in refused["error"]


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "null", "NaN", "{}", "[" * 100_000, '{"kind": "pilot"}', "9" * 6_000,
        '{"kind": ["piece"], "threads": 1}', '{"kind": "pilot", "threads": "1"}',
        '{"kind": "pilot", "threads": 1, "order": null}',
        '{"kind": "pilot", "threads": 1, "order": {"card": {}, "config": {}, "graph": null}}',
        '{"kind": "piece", "threads": 1, "plan": {}, "index": 0, "home": "x"}',
    ],
)  # fmt: skip
def test_a_damaged_task_is_one_clear_line(text: str) -> None:
    with pytest.raises(UsageError):
        perform(text)


def test_a_task_with_a_damaged_function_is_refused(warm_sandbox: Any) -> None:
    graph = _graph("agent_qs.sum(1, True)", warm_sandbox, "enforce")
    for damaged in ({**graph, "gate": None}, {"a": 1}, [1]):
        text = pilot_task(_order(damaged), SandboxConfig(examples=10), 1)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="the task is damaged"):
            perform(text)
