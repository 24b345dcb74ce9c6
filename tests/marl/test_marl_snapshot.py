"""A training goes on from its own checkpoint only, and reads a foreign one within bounds."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import climbing, saved_state, small_config
from safetensors.torch import save_file
from torch import Tensor

from marl.checkpoint import latest_checkpoint
from marl.errors import CheckpointError
from marl.settings.train import TrainConfig
from marl.snapshot import MAY_DIFFER, differing_settings, read_facts
from marl.trainer import Trainer
from prompts.cards import load_card
from sandbox.graph import CreditGraph, Operation, Ref
from sandbox.runtime import CreditFunction

FACTS, TENSORS = "facts.json", "tensors.safetensors"


def config(**changes: Any) -> TrainConfig:
    return small_config(steps=100, **changes)


def credit(operation: str = "amin") -> CreditFunction:
    """The least of the agents' values, or the greatest."""
    made = Operation(f"aten.{operation}.default", (Ref(0), (1,), True), ())
    card = climbing(5)
    graph = CreditGraph(
        "mixing", card.n_agents, card.state_dim, card.schema_hash(), (), (made,), {"q_tot": Ref(2)}
    )
    return CreditFunction(graph)


def stopped(run_dir: Path, settings: TrainConfig | None = None, **more: Any) -> Path:
    """A training stopped at step 60, by which it has learned; returns its checkpoint."""
    asked = iter("cccs")
    answers: dict[str, Any] = {"c": "continue", "s": "stop"}
    Trainer(
        climbing(5),
        settings or config(),
        3,
        run_dir=run_dir,
        control=lambda: answers[next(asked)],
        **more,
    ).run()
    path = latest_checkpoint(run_dir)
    assert path is not None
    return path


def resume(run_dir: Path, **more: Any) -> Trainer:
    given: dict[str, Any] = {"card": climbing(5), "config": config(), "seed": 3, **more}
    return Trainer.resume(run_dir=run_dir, **given)


def refused(run_dir: Path, **more: Any) -> str:
    """Why nothing goes on from here, in one line that names the checkpoint."""
    with pytest.raises(CheckpointError) as caught:
        resume(run_dir, **more)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"checkpoint '{latest_checkpoint(run_dir)}': ")
    return said


# -- whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"card": load_card("matrix/penalty-0")}, "task matrix/climbing, here matrix/penalty-0"),
        ({"card": climbing(6)}, "another version of the card of task matrix/climbing"),
        ({"seed": 4}, "seed 3, here 4"),
        ({"config": config(algorithm={"name": "qmix"})}, "algorithm.name vdn, here qmix"),
        ({"config": config(learner={"lr": 0.1})}, "learner.lr 0.003, here 0.1"),
        ({"config": small_config(steps=101)}, "steps 100, here 101"),
        (
            {"seed": 5, "config": config(dtype="float64", agent={"agent_id": False})},
            "seed 3, here 5; agent.agent_id True, here False; dtype float32, here float64",
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_what_differs(
    other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    stopped(tmp_path)
    assert refused(tmp_path, **other).endswith(f"it is of another training: {said}")


def test_a_checkpoint_of_another_credit_function_is_refused(tmp_path: Path) -> None:
    settings = config(algorithm={"name": "qllm"})
    stopped(tmp_path, settings, credit=credit())
    assert resume(tmp_path, config=settings, credit=credit()).env_steps == 60
    then, here = (credit(name).graph.graph_hash[:12] for name in ("amin", "amax"))
    said = refused(tmp_path, config=settings, credit=credit("amax"))
    assert said.endswith(f"credit function {then}, here {here}")


def test_where_and_how_the_work_is_done_may_differ(tmp_path: Path) -> None:
    stopped(tmp_path)
    other = config(threads=2, device="auto", checkpoint_every=7, log_every=9)
    assert resume(tmp_path, config=other).config.threads == 2


def test_settings_in_groups_may_differ_too() -> None:
    other = {"kind": "pettingzoo", "workers": 2, "num_envs": 2}
    then, now = config().on("pettingzoo").model_dump(), config(env=other).model_dump()
    assert list(differing_settings(then, now, MAY_DIFFER)) == ["env.num_envs 4, here 2"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_earlier_version_is_read_and_not_resumed(
    version: int, tmp_path: Path
) -> None:
    """Formats 1 and 2 had raw or standardised rewards, and format 1 no function's hash."""
    settings = config(algorithm={"name": "qllm"})
    path = stopped(tmp_path, settings, credit=credit())

    def older(facts: dict[str, Any]) -> None:
        facts["format"] = version
        del facts["reward_scale"], facts["config"]["learner"]["reward_scale"]
        facts["config"]["learner"]["standardise_rewards"] = False
        if version == 1:
            del facts["credit"]

    edit_facts(path, older)
    assert read_facts(json.loads((path / FACTS).read_text())).env_steps == 60
    said = refused(tmp_path, config=settings, credit=credit())
    assert "raw or standardised rewards" in said


def test_a_checkpoint_of_the_version_before_is_resumed(tmp_path: Path) -> None:
    """Format 3 had settings of all kinds of tasks, and an algorithm its own learning rate."""
    path = stopped(tmp_path)

    def older(facts: dict[str, Any]) -> None:
        facts["format"] = 3
        facts["config"]["algorithm"] |= {"lr": None, "batch_size": None, "num_envs": None}
        env = facts["config"]["env"]
        del env["kind"]
        env |= {"observe": "own", "opponent": None, "factory": None, "workers": None}

    edit_facts(path, older)
    resumed = resume(tmp_path)
    assert resumed.env_steps == 60
    assert resumed.run().env_steps == 100


# -- what it holds -------------------------------------------------------------------------------


def edit_facts(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    facts = json.loads((path / FACTS).read_text())
    change(facts)
    (path / FACTS).write_text(json.dumps(facts))


def edit_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = {k: v.clone() for k, v in saved_state(path.parents[1])[0].items()}
    change(tensors)
    save_file(tensors, path / TENSORS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"env_steps": -5}, "facts.env_steps: Input should be greater than or equal to 0"),
        ({"env_steps": 10**18}, "at step 1,000,000,000,000,000,000 of 100"),
        ({"env_steps": 10**40}, "beyond 64 bits"),
        ({"env_steps": 1.5}, "facts.env_steps"),
        ({"env_steps": 30}, "evaluations or metrics after step 30"),
        ({"finished": True}, "finished at step 60 of 100"),
        ({"logged_at": -1}, "facts.logged_at"),
        ({"wall_s": float("nan")}, "not finite"),
        ({"wall_s": -1.0}, "facts.wall_s"),
        ({"sums": {"loss": [float("nan"), 1]}}, "not finite"),
        ({"sums": {"loss": [1.0, 0]}}, "facts.sums.loss"),
        ({"evaluations": [[0, 0.0, []]]}, "facts.evaluations"),
        ({"evaluations": [[50, 0.0, [1.0]], [0, 0.0, [1.0]]]}, "out of order"),
        ({"seed": "three"}, "facts.seed"),
        ({"more": 1}, "facts.more"),
        ({"config": []}, "facts.config"),
    ],
)
def test_facts_out_of_range_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    edit_facts(stopped(tmp_path), lambda facts: facts.update(change))
    assert said in refused(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"9" * 10_000, b"null", b'{"format": 2}'],
)
def test_facts_that_are_no_such_json_are_refused(text: bytes, tmp_path: Path) -> None:
    (stopped(tmp_path) / FACTS).write_bytes(text)
    refused(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("replay.obs"), "replay.obs is not there, and this training has"),
        (lambda t: t.update(more=torch.zeros(3)), "tensor more is float32 [3]"),
        (
            lambda t: t.update({"learner.agent.head.bias": torch.zeros(4)}),
            "learner.agent.head.bias is float32 [4], and this training has float32 [3]",
        ),
        (lambda t: t.update({"learner.updates": torch.zeros(())}), "learner.updates is float32 []"),
        (lambda t: t.update({"replay.reward": torch.zeros(13, 5)}), "replay.reward is"),
        (lambda t: t.update({"replay.next": torch.tensor(-1)}), "replay.next has values out of"),
        (lambda t: t.update({"replay.next": torch.tensor(12)}), "replay.next has values out of"),
        (lambda t: t["replay.actions"].fill_(3), "replay.actions has values out of range"),
        (lambda t: t["replay.actions"].fill_(-1), "replay.actions has values out of range"),
        (lambda t: t["learner.updates"].fill_(-1), "learner.updates has values out of range"),
        (lambda t: t["learner.agent.head.bias"].fill_(torch.nan), "learner.agent.head.bias has"),
        (lambda t: t["replay.generator"].fill_(255), "damaged: "),
    ],
)
def test_tensors_that_this_training_cannot_have_are_refused(
    change: Callable[[dict[str, Tensor]], object], said: str, tmp_path: Path
) -> None:
    edit_tensors(stopped(tmp_path), change)
    assert said in refused(tmp_path)


def header(entries: object, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header({}, 2**63),
        header({}, 2**30),
        header([]),
        header({"a": 7}),
        header({"a": {"dtype": "F128", "shape": [], "data_offsets": [0, 16]}}),
        header({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 16]}}),
        header({"a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}),
        header({"a": {"dtype": "F32", "shape": [2**62] * 9, "data_offsets": [0, 0]}}),
        header({str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(9)}),
    ],
)
def test_a_header_that_claims_what_is_not_there_is_refused_without_memory(
    content: bytes, tmp_path: Path
) -> None:
    (stopped(tmp_path) / TENSORS).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10  # kB


def test_a_file_with_a_hole_of_terabytes_is_refused_without_memory(tmp_path: Path) -> None:
    claim = header({"a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}})
    path = stopped(tmp_path) / TENSORS
    path.write_bytes(claim)
    try:
        os.truncate(path, len(claim) + 2**40)
    except OSError:
        pytest.skip("this filesystem has no files of that size")
    assert "tensor a is float32 [274877906944]" in refused(tmp_path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "folder"])
@pytest.mark.parametrize("name", [FACTS, TENSORS])
def test_what_is_no_file_in_its_place_is_refused_and_nothing_hangs(
    name: str, kind: str, tmp_path: Path
) -> None:
    place, aside = stopped(tmp_path) / name, tmp_path / "aside"
    place.rename(aside)
    match kind:
        case "link":
            place.symlink_to(aside)
        case "pipe":
            os.mkfifo(place)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(place.parent):
                listening.bind(place.name)  # whole, it may be longer than a socket's path
        case "folder":
            place.mkdir()
    refused(tmp_path)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_is_no_checkpoint(kind: str, tmp_path: Path) -> None:
    place = stopped(tmp_path)
    aside = place.rename(tmp_path / "aside")
    if kind == "link":
        place.symlink_to(aside)
    else:
        place.touch()
    refused(tmp_path)


def test_names_that_only_look_like_numbers_are_no_checkpoints(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    for name in ("²", "٣", "7" * 200, "000009.draft", "-1"):
        (path.parent / name).mkdir()
    assert latest_checkpoint(tmp_path) == path
    assert resume(tmp_path).env_steps == 60
