"""Runs of the version before: they open, are compared with new ones, and are resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qllm.cli.main import run
from qllm.config.build import from_stored
from qllm.config.errors import ConfigError
from qllm.config.stored import stored_settings
from qllm.facts.compared import compare_runs
from qllm.store.store import open_store

QUICK = ["evaluation.every=100", "evaluation.episodes=1", "agent.hidden=8", "--display", "none"]


def older(config: dict[str, Any]) -> dict[str, Any]:
    """Settings as the version before stored them."""
    own = config["own"]
    rest = {key: value for key, value in config.items() if key != "own"}

    def entry(label: str) -> dict[str, Any]:
        tree = own.get(label, {})
        alone = {"lr": tree.get("learner", {}).get("lr"), "batch_size": None, "num_envs": None}
        return {"name": label, **alone, "gamma": None, **tree.get("algorithm", {})}

    env = {key: value for key, value in config["env"].items() if key != "kind"}
    return {
        **rest,
        "algorithm": {**config["algorithm"], **dict.fromkeys(("lr", "batch_size", "num_envs"))},
        "algorithms": [entry(label) for label in config["algorithms"]],
        "env": {**env, "opponent": None, "factory": None, "workers": None, "worker_timeout_s": 60},
    }


def test_a_comparison_of_the_version_before_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)
    home = ["--home", str(tmp_path)]
    words = ["compare", "matrix/climbing", "--algos", "vdn,qmix", "--steps", "300"]
    words += ["own.qmix.learner.lr=2e-3", "own.qmix.algorithm.mixing_dim=8", *QUICK]
    assert run([*home, *words]) == 0
    with open_store(tmp_path) as store:
        new = {one.id: one.config for one in store.runs.family(1)}
        for one in store.runs.family(1):
            store.runs.set_config(one.id, older(one.config))
            if one.algo != "vdn":
                store.runs.finish(one.id, "stopped")
        for one in store.runs.family(1):
            assert stored_settings(one.config) == new[one.id]
            assert from_stored(one.config) == from_stored(new[one.id])
    assert run([*home, *words, "--continue"]) == 0
    with open_store(tmp_path, readonly=True) as store:
        assert [one.status for one in store.runs.family(1)] == ["finished"] * 3
        assert [one.id for one in store.runs.listed(top_level=True)] == [1]
    with open_store(tmp_path) as store:
        store.runs.finish(1, "stopped")
    assert run([*home, "resume", "1"]) == 0
    assert run([*home, "report", "1"]) == 0


def test_other_settings_of_one_algorithm_make_it_another_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)
    words = ["--home", str(tmp_path), "compare", "matrix/climbing", "--steps", "100", *QUICK]
    assert run(words) == 0
    assert run([*words, "own.qmix.learner.lr=2e-3", "--continue"]) == 0
    assert run([*words, "own.qmix.env.num_envs=8", "--continue"]) == 0  # as it is anyway
    with open_store(tmp_path, readonly=True) as store:
        assert [one.id for one in store.runs.listed(top_level=True)] == [2, 1]
        found = compare_runs(store, [1, 2])
    assert [(d.path, d.values) for d in found.settings] == [("own.qmix.learner.lr", ("", "0.002"))]


def test_stored_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    config = {"task": "matrix/climbing", "own": {"vdn": {"learner": {"lr": -1}}}}
    with pytest.raises(ConfigError, match="the stored configuration does not fit"):
        from_stored(config)
