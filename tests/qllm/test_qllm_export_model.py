"""Taking a training away: agents, cards, and a credit function that need no QLLM."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_store import fill_store

from marl.portable import AgentStep, load_agent
from marl.trained import load_trained
from prompts.cards import load_card
from qllm.cli.main import run
from qllm.config.build import from_stored
from qllm.export.model_cards import credit_card, fenced
from qllm.facts.provenance import provenance_of
from qllm.store.store import open_store
from sandbox.certificate import read_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig
from sandbox.pymarl import mixer_difference
from sandbox.reading import read_graph

TASK = "matrix/climbing"
SOURCE = """
def tfcaf(last_action):
    agreed = (last_action[:, 0:1] == last_action[:, 1:2]).float()
    return 1.0 + 0.5 * fraction_of(last_action + 1.0, 3.0), 0.1 * agreed
"""
QUICK = ["--steps", "400", "evaluation.every=400", "evaluation.episodes=2", "--display", "none"]
FILES = {"README.md", "config.json", "model.safetensors", ".qllm-run"}
OF_CREDIT = {"credit.py", "credit.tfcaf.json", "pymarl_mixer.py", "CREDIT.md"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, warm_commands: Sandbox) -> Iterator[Path]:
    """A home with run 1 (qllm, recurrent), and run 2 (vdn and ippo, feed-forward, apart)."""
    home = tmp_path_factory.mktemp("home")
    source = home / "mine.py"
    source.write_text(SOURCE)
    patch = pytest.MonkeyPatch()
    patch.setattr("sandbox.checker.Sandbox", lambda *a, **k: _Borrowed(warm_commands))
    patch.setenv("QLLM_HOME", str(home))
    patch.delenv("QLLM_DB", raising=False)
    first = ["train", TASK, "--algo", "qllm", "--tfcaf", str(source), "sandbox.examples=10"]
    assert run([*first, *QUICK, "agent.last_action=true"]) == 0
    second = ["compare", TASK, "--algos", "vdn,ippo", "agent.core=feedforward"]
    assert run([*second, *QUICK, "agent.share=none", "--seeds", "3"]) == 0
    yield home
    patch.undo()


class _Borrowed:
    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def __getattr__(self, name: str) -> Any:
        return getattr(self._box, name)

    def close(self) -> None:
        """Leave it to its owner."""


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of models, by algorithm."""
    out = tmp_path_factory.mktemp("models")
    folders = {"qllm": ("1", out / "a"), "vdn": ("2", out / "b"), "ippo": ("2.2", out / "c")}
    for number, folder in folders.values():
        assert run(["export-model", number, "--out", str(folder)]) == 0
    return {algo: folder for algo, (_, folder) in folders.items()}


def step_of(home: Path, run_id: int) -> AgentStep:
    """The training's own agents."""
    with open_store(home, readonly=True) as store:
        row = store.runs.get(run_id)
        settings = from_stored(row.config)
        graph = row.inputs.get("graph_hash")
        config, card = settings.train_config(), load_card(TASK)
        found = load_trained(store.run_dir(run_id), card, config, settings.seeds[0], graph)
    return AgentStep(load_agent(found))


RUNS = {"qllm": 1_000_001, "vdn": 2_000_001, "ippo": 2_000_002}


@pytest.mark.parametrize("algo", sorted(RUNS))
def test_the_readme_s_code_plays_as_the_trained_agents(
    algo: str, trained: Path, exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported[algo]
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code is not None
    assert sum(bool(line.strip()) for line in code[1].splitlines()) <= 20
    imported = {n.module for n in ast.walk(ast.parse(code[1])) if isinstance(n, ast.ImportFrom)}
    assert imported == {"safetensors.torch"}
    script = folder.parent / f"{algo}.py"
    script.write_text(code[1])
    monkeypatch.chdir(folder)
    step, own = runpy.run_path(str(script))["step"], step_of(trained, RUNS[algo])
    given = own.examples(5, 0)
    for here, there in zip(step(*given), own(*given), strict=True):
        torch.testing.assert_close(here, there)


@pytest.mark.parametrize("algo", sorted(RUNS))
def test_the_folder_says_what_it_holds(algo: str, trained: Path, exported: dict[str, Path]) -> None:
    folder = exported[algo]
    assert set(os.listdir(folder)) == FILES | (OF_CREDIT if algo == "qllm" else set())
    config = json.loads((folder / "config.json").read_text())
    assert (config["task"], config["algorithm"]) == (TASK, algo)
    assert config["action_names"] == list(load_card(TASK).action_names)
    assert config["env_steps"] == 400
    assert next(iter(config["step"]["outputs"])) == ("logits" if algo == "ippo" else "q")
    assert ("last_actions" in config["step"]["inputs"]) is (algo == "qllm")
    assert config["network_of_agent"] == ([0, 0] if algo == "qllm" else [0, 1])
    assert config["versions"]["torch"] == torch.__version__
    tensors = load_file(folder / "model.safetensors")
    sizes = {k: list(x.shape) for k, x in tensors.items()}
    assert sizes["0.encoder.weight"] == [64, config["obs_dim"] + 2 + 3 * (algo == "qllm")]
    for path in folder.iterdir():
        assert str(trained).encode() not in path.read_bytes(), f"{path.name} names this machine"


def test_the_model_card_has_front_matter_that_the_hub_reads(exported: dict[str, Path]) -> None:
    text = (exported["qllm"] / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "reinforcement-learning"
    assert {"qllm", TASK} <= set(front["tags"])
    hub = pytest.importorskip("huggingface_hub")
    (result,) = hub.ModelCard(text).data.eval_results
    assert (result.metric_type, result.dataset_name) == ("mean_return", TASK)
    assert f"{result.metric_value:.6g}" in text
    assert "| actions | greedy |" in text


def test_the_credit_function_s_card_says_what_is_known(
    trained: Path, exported: dict[str, Path]
) -> None:
    folder = exported["qllm"]
    assert (folder / "credit.py").read_text().strip() == SOURCE.strip()
    certificate = json.loads((folder / "credit.tfcaf.json").read_text())
    assert certificate == json.loads((trained / "1" / "credit.tfcaf.json").read_text())
    text = (folder / "CREDIT.md").read_text()
    for part in (
        certificate["graph_hash"], certificate["mathematics"],
        f"```python\n{SOURCE.strip()}\n```", "IGM: holds by construction",
        "proved finite, for |Q| up to 1,024", "every agent: 1 to 1.5",
        "| monotone | q_tot never falls when an agent's Q rises | proved |",
        "| deterministic | the same inputs give the same q_tot | tested |",
        "It was given as a file (mine.py)",
    ):  # fmt: skip
        assert part in text, part
    graph = read_graph(certificate["graph"])
    assert mixer_difference(folder / "pymarl_mixer.py", graph, load_card(TASK)) <= 1e-6
    assert graph.graph_hash in (folder / "pymarl_mixer.py").read_text()


def test_a_fence_is_longer_than_any_in_the_source() -> None:
    assert fenced("a ```` b", "python") == "`````python\na ```` b\n`````"


def test_a_card_tells_the_search_that_a_function_is_of(
    tmp_path: Path, exported: dict[str, Path]
) -> None:
    fill_store(tmp_path)
    with open_store(tmp_path, readonly=True) as store:
        found, row = provenance_of(store, 1), store.runs.get(1)
    assert (found.model, found.is_llm, found.run, found.place, found.round) == (
        "m", True, "1", "1.1", 1
    )  # fmt: skip
    assert (found.replies, found.accepted, found.selected) == (2, 1, True)
    assert [(p.steps, p.seeds) for p in found.pilots] == [(100, (7,))]
    certificate = read_tfcaf(exported["qllm"] / "credit.tfcaf.json", load_card(TASK))
    text = credit_card(certificate, load_card(TASK), row, replace(found, prompt_hash="c" * 64))
    for part in (
        "| author | m |", "| candidate | 1: 1.1 of run 1 (round 1) |", f"`{'c' * 64}`",
        "2 replies, 1 accepted", "| 100 | 0 | 7 |",
    ):  # fmt: skip
        assert part in text, part
    assert "given as a file" not in text


def test_json_names_the_files_and_the_run_s_other_trainings(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export-model", "2", "--checkpoint", "newest", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["run"], document["other_trainings"]) == ("2.1", ["2.2"])
    assert Path(document["files"][0]) == trained / "2.1" / "model" / "model.safetensors"


def test_what_cannot_be_exported_is_one_clear_line(
    trained: Path,
    exported: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(words: list[str], code: int, said: str) -> None:
        capsys.readouterr()
        assert run(["export-model", *words]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert said in err
        assert err.count("\n") == 1

    refused(["9"], 2, "no run 9")
    refused(["2", "--out", str(exported["qllm"])], 2, "holds the export of another run")
    refused(["1", "--checkpoint", "worst"], 2, "is no checkpoint: newest, best")
    refused(["1", "--out", str(trained / "mine.py")], 2, "is no folder")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *a: None)
    refused(["1", "--onnx", "--out", str(tmp_path / "x")], 2, "needs the extra 'onnx'")
    monkeypatch.undo()
    assert not (tmp_path / "x").exists()
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "copy"))
    shutil.copytree(trained, tmp_path / "copy")
    path = tmp_path / "copy" / "1" / "credit.tfcaf.json"
    path.write_text(path.read_text().replace("graph_hash", "graph_hush"))
    refused(["1"], 2, "is damaged")
    shutil.rmtree(tmp_path / "copy" / "1.1" / "checkpoints")
    refused(["1.1"], 2, "no checkpoint in")


def test_a_file_that_differs_from_what_was_trained_is_not_left(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def differs(*_: object) -> float:
        raise ArithmeticError("the mixer and its graph differ by 1")

    monkeypatch.setattr("qllm.export.model.mixer_difference", differs)
    assert run(["export-model", "1", "--out", str(tmp_path / "x")]) == 1
    assert "the mixer and its graph differ by 1" in capsys.readouterr().err
    assert "pymarl_mixer.py" not in "".join(os.listdir(tmp_path / "x"))


def test_an_exported_certificate_is_verified_and_a_forged_one_is_not(
    exported: dict[str, Path],
    tmp_path: Path,
    warm_commands: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Given(_Borrowed):
        def __init__(self, config: SandboxConfig, **_: object) -> None:
            assert config.examples == 10
            super().__init__(warm_commands)

        def __enter__(self) -> Given:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("qllm.cli.checking.Sandbox", Given)
    path = exported["qllm"] / "credit.tfcaf.json"
    quick = "sandbox.examples=10"
    assert run(["verify", str(path), quick]) == 0
    assert re.search(r"all \d\d claims of .* hold\n", capsys.readouterr().out)
    forged = tmp_path / "forged.tfcaf.json"
    forged.write_text(path.read_text().replace("0.1 * agreed", "0.2 * agreed"))
    assert run(["verify", str(forged), quick]) == 1
    assert "1 of" in (said := capsys.readouterr().out)
    assert "FAILS  source" in said
    assert run(["verify", str(forged), "--task", TASK, quick, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert not document["holds"]
    assert [c["name"] for c in document["claims"] if not c["holds"]] == ["source"]
    for words, code, said in (
        (["verify", str(tmp_path / "none.tfcaf.json")], 2, "cannot be read"),
        (["verify", str(exported["qllm"] / "config.json")], 2, "is not a qllm-tfcaf file"),
        (["verify", str(path), "--task", "mpe/spread-3"], 2, "was made for task"),
        (["verify", str(path), "steps=3"], 2, "does not read it"),
        (["check", str(path), "--task", TASK], 2, f"`qllm verify {path}`"),
    ):
        assert run(words) == code
        assert said in capsys.readouterr().err
    document = json.loads(path.read_text())
    forged.write_text(json.dumps(document | {"claims": {"igm": "proved", "x": [None]}}))
    assert run(["verify", str(forged), quick]) == 1
    assert "claims.x: Extra inputs are not permitted" in capsys.readouterr().err
    forged.write_text(json.dumps(document | {"claims": {"igm": "by-gate"}}))
    assert run(["verify", str(forged), quick]) == 0
    unsaid = "finite, linear_in_q, q_bound, row_bytes, properties"
    assert f"it claims nothing on {unsaid}\n" in capsys.readouterr().out
    damaged = path.read_text().replace('"graph_hash": "', '"graph_hash": "0')
    forged.write_text(damaged)
    assert run(["verify", str(forged), quick]) == 1
    assert "does not have the hash it names" in capsys.readouterr().err
