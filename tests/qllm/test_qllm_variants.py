"""Variants: several settings of one algorithm in a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.config.build import build_config, from_stored
from qllm.config.errors import ConfigError
from qllm.config.tree import RunConfig
from qllm.config.variants import is_variant
from qllm.display.rows import layout
from qllm.jobs.credit import trains_with_credit
from qllm.store.store import open_store
from qllm.tui.form import answer

TASK = {"task": "matrix/climbing"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


def compared(*variants: str, file: Path | None = None, words: tuple[str, ...] = ()) -> RunConfig:
    flags = {**TASK, "variants": list(variants) or None}
    return build_config(file=file, overrides=words, flags=flags, compared=("vdn", "qmix"))


@pytest.mark.parametrize(
    ("variants", "labels"),
    [
        (
            ["qmix:learner.lr=1e-3", "qmix:learner.lr=5e-4", "vdn"],
            "qmix lr=0.001|qmix lr=0.0005|vdn",
        ),
        (["qmix:learner.lr=1e-3,agent.hidden=32", "vdn:agent.hidden=32"], "qmix lr=0.001|vdn"),
        (["fast=qmix:learner.lr=1e-2", "qmix", "riit"], "fast|qmix|riit"),
        (["qmix:env.num_envs=4", "qmix:env.num_envs=16"], "qmix num_envs=4|qmix num_envs=16"),
        (["riit+tfcaf:learner.lr=1e-3", "riit+tfcaf"], "riit+tfcaf lr=0.001|riit+tfcaf"),
        (
            ["coma:algorithm.td_lambda=0.5", "coma:learner.td_lambda=0.5"],
            "coma algorithm.td_lambda=0.5|coma learner.td_lambda=0.5",
        ),
    ],
)
def test_a_label_is_the_algorithm_and_what_not_all_have(variants: list[str], labels: str) -> None:
    assert "|".join(compared(*variants).labels) == labels


def test_a_variant_is_the_algorithm_with_its_settings_above_all_layers(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "preset: paper\nown: {qmix: {learner: {lr: 0.2, grad_clip: 5}}}\nvariants:\n"
        "  a: {algorithm: qmix, learner: {lr: 0.3}}\n"
        "  b: {algorithm: {name: qmix, mixing_dim: 8}}\n  c: vdn:exploration.anneal_steps=2k\n"
    )
    config = compared(file=file, words=("learner.lr=0.1",))
    a, b, c = (config.for_training(label, 4) for label in "abc")
    assert (a.learner.lr, b.learner.lr, c.learner.lr) == (0.3, 0.1, 0.1)
    assert (a.learner.grad_clip, b.learner.grad_clip, c.learner.grad_clip) == (5, 5, 10)
    assert (b.algorithm.model_dump()["mixing_dim"], c.algorithm.name) == (8, "vdn")
    assert (c.exploration.anneal_steps, c.seeds, c.variants) == (2_000, (4,), {})
    words = ["preset=paper", "learner.lr=0.3", "learner.grad_clip=5"]
    alone = build_config(overrides=words, flags={**TASK, "algorithm": "qmix"})
    assert a.train_config() == alone.train_config()


def test_of_algorithms_and_variants_the_later_layer_counts(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("algorithms: [vdn, iql]\n")
    assert compared("qmix", "a=qmix:learner.lr=1", file=file).labels == ("qmix", "a")
    file.write_text("variants: [qmix, 'a=qmix:learner.lr=1']\n")
    assert compared(file=file, words=("algorithms=vdn,iql",)).labels == ("vdn", "iql")
    assert build_config(file=file, flags=TASK).labels == ("vdn",)


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("qmx:learner.lr=1", "unknown algorithm 'qmx': did you mean qmix"),
        ("qmix:learner.lrr=1", "unknown key: did you mean learner.lr"),
        ("qmix:learner.lr=-1", "learner.lr=-1 (on the command line): must be a number, above 0"),
        ("qmix:lr=1", "did you mean learner.lr?"),
        ("vdn:algorithm.mixing_dim=3", "belongs to qmix, not to vdn"),
        ("qmix:steps=5", "qmix:steps=5: steps (on the command line): is one for all algorithms"),
        ("qmix:seeds=1,2", "seeds (on the command line): is one for all algorithms"),
        ("qmix:learner.lr=3e-3", "variants 'qmix' and 'qmix lr=0.003' are alike"),
        ("qmix", "there are two of the label 'qmix'"),
        ("vdn=qmix:learner.lr=1", "label 'vdn': it is the name of another algorithm"),
        ("qmix:env.observe=a/b", "label 'qmix observe=a/b': it may have up to 60 characters"),
        ("qmix:learner.lr", "'learner.lr' is no setting: write key=value"),
        ("x=qmix:algorithm=vdn", "its algorithm stands before the colon"),
        ("vdn+tfcaf", "no credit function can take the place of vdn's mixer"),
        ("a b", "is no variant: write qmix:learner.lr=1e-3"),
        (f"{'x' * 61}=qmix:learner.lr=1", "up to 60 characters and no slash"),
    ],
)
def test_a_wrong_variant_is_one_line_that_says_what_to_do(variant: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        compared("qmix", variant)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["variants=3", "variants={a: 3}", "variants={a: {learner: {}}}"])
def test_what_is_no_list_of_variants_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no (list of variants|variant)"):
        compared(words=(text,))


def test_variants_and_algorithms_in_one_place_are_refused() -> None:
    with pytest.raises(ConfigError, match="algorithms are given, too: leave one out"):
        compared("qmix", words=("algorithms=vdn",))


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("vdn", True),
        ("qmx", True),
        ("qmix:learner.lr=1", True),
        ("a=qmix:learner.lr=1", True),
        ("a=qmix", True),
        ("matrix/climbing", False),
        ("card.yaml", False),
        ("steps=5", False),
        ("device=cuda:1", False),
        ("env.factory=toys:make", False),
        ("seds=3", False),
    ],
)
def test_words_behind_variants_are_told_from_a_task_and_settings(word: str, found: bool) -> None:
    assert is_variant(word) == found


def test_a_comparison_of_variants_is_told_like_one_of_algorithms(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "matrix/climbing", "--variants", "qmix:learner.lr=1e-3", "steps=400"]
    words += ["low=qmix:learner.lr=1e-4", "vdn", "agent.hidden=8", "learner.batch_size=8"]
    words += ["evaluation.every=400", "evaluation.episodes=2", "--seeds", "0,1", "--json"]
    assert run(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    labels = ["qmix lr=0.001", "low", "vdn"]
    assert [(r["algo"], r["seed"]) for r in rows] == [(x, s) for x in labels for s in (0, 1, None)]
    table = layout(rows)
    notes = " ".join(table.notes)
    assert "qmix lr=0.001 minus vdn is" in notes
    assert "low minus vdn is" in notes
    assert {row[0] for row in table.cells} == set(labels)
    assert "qmix lr=0.001" in (home / "1" / "report.html").read_text(encoding="utf-8")
    with open_store(home) as store:
        rates = {t.algo: t.config["learner"]["lr"] for t in store.runs.trainings(1)}
        assert rates == {"qmix lr=0.001": 1e-3, "low": 1e-4, "vdn": 3e-3}
        stored = store.runs.get(1).config
    assert from_stored(stored).labels == tuple(labels)
    draft, lost = answer.like("compare", stored)
    assert lost == ""
    again = [f"{path}={text}" for path, text in draft.values.items()]
    assert answer.check("compare", draft.task, again).problem == ""
    assert run([*words, "--continue"]) == 0  # and it is found again
    assert json.loads(capsys.readouterr().out)["run"] == 1


def test_a_variant_under_any_label_trains_with_the_credit_function(home: Path) -> None:
    config = compared("mine=qllm:learner.lr=1e-3", "qllm", "vdn")
    assert config.credited
    with open_store(home) as store:
        for label in config.labels:
            own = config.for_training(label, 0).model_dump(mode="json")
            store.runs.create("train", "t", config=own, command="", versions={}, algo=label, seed=0)
        found = {run.algo: trains_with_credit(run) for run in store.runs.listed()}
    assert found == {"mine": True, "qllm": True, "vdn": False}
