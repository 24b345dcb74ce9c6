"""The configuration tree: layers, near keys, round trips, documentation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marl.settings.algorithms import QllmConfig, QmixConfig
from qllm.config import yaml_text
from qllm.config.build import build_config, from_stored, to_yaml
from qllm.config.errors import ConfigError
from qllm.config.reference import reference
from qllm.config.tree import RunConfig

TASK = {"task": "matrix/climbing"}


def _error(*overrides: str, file: Path | None = None, compared: list[str] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        build_config(file=file, overrides=overrides, flags=TASK, compared=compared)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_later_layer_wins(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("steps: 1000\nlearner: {lr: 1e-3, batch_size: 16}\nseeds: [5]\n")
    config = build_config(
        file=file, overrides=["learner.lr=3e-4"], flags={**TASK, "steps": 7, "seeds": None}
    )
    assert (config.steps, config.learner.lr, config.learner.batch_size) == (7, 3e-4, 16)
    assert config.seeds == (5,)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lerner.lr=1", "lerner.lr (on the command line): unknown key: did you mean learner.lr"),
        ("lr=1", "did you mean learner.lr?"),
        (
            "learner.lrr=1",
            "learner.lrr (on the command line): unknown key: did you mean learner.lr",
        ),
        ("learner=3", "no group of settings: set learner."),
        ("learner.lr=-1", "learner.lr=-1 (on the command line): must be a number, above 0"),
        ("learner.lr=fast", "must be a number, above 0"),
        ("steps=1.5", "steps=1.5 (on the command line): must be an integer, at least 1"),
        ("steps=abc", "steps=abc (on the command line): must be an integer, at least 1"),
        ("seeds=0 1 2", "seeds=0 1 2 (on the command line): must be integers from 0 with commas"),
        ("seeds=[-1]", "must be integers from 0 with commas, such as 0,1,2"),
        ("learner.gamma=x", "must be a number, above 0, at most 1, or null"),
        ("algorithm.lr=1", "write learner.lr, or own.NAME.learner.lr for one algorithm of several"),
        ("own.vdn.learner.lr=x", "own.vdn.learner.lr=x (on the command line): must be a number"),
        ("own.vdn.learner.lrr=1", "own.vdn.learner.lrr (on the command line): unknown key: did"),
        ("own.vdn.algorithm.mixing_dim=8", "own.vdn.algorithm.mixing_dim (on the command line): "),
        ("own.vdn.algorithm.name=qmix", "leave out its name"),
        ("own.vdn.steps=5", "own.vdn.steps (on the command line): is one for all algorithms"),
        ("own.qmx.learner.lr=1", "own.qmx (on the command line): unknown algorithm 'qmx': did you"),
        ("own.vdn=3", "own.vdn (on the command line): 3 is no group of settings"),
        ("own=3", "own (on the command line): 3 is no group of settings by algorithm"),
        ("env.opponent=x.pt", "opponent is for tasks of kind mpe, not 'matrix'"),
        ("own.vdn.env.workers=2", "workers is for tasks of kind football and pettingzoo"),
        ("preset=[paper]", "preset=[paper] (on the command line): must be 'equal', 'epymarl' or"),
        ("env=mankind", "'mankind' is no group of settings: set env."),
        ("env.kind=mpe", "env.kind (on the command line): the task's card says of which kind"),
        ("synth.halving=maybe", "must be true or false"),
        ("env.observe=jont", "must be 'own' or 'joint' (did you mean joint?)"),
        ("device=gpu", "must be auto"),
        ("algorithm=qmxi", "unknown algorithm 'qmxi': did you mean qmix"),
        ("algorithm.name=[1]", "unknown algorithm '[1]': choose from"),
        ("algorithm.mixing_dim=3", "belongs to qmix, not to vdn"),
        ("learner.lr=[", "the value is no YAML"),
        ("learner.lr", "is no setting: write key=value"),
        ("seeds=1,1", "a seed appears twice"),
        ("seeds=1000000", "belong to the pilots"),
        ("env.num_envs=6000", "more than learner.replay_capacity"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(override: str, said: str) -> None:
    assert said in _error(override)


@pytest.mark.parametrize("compared", [None, ("vdn", "qmix")])
@pytest.mark.parametrize("override", ["learner.lr=-1", "lr=1", "seeds=x", "own.vdn.learner.lr=x"])
def test_an_error_counts_once_and_names_no_place_where_there_is_only_one(
    override: str, compared: tuple[str, ...] | None
) -> None:
    with pytest.raises(ConfigError) as error:
        build_config(overrides=[override], flags=TASK, compared=compared, source="")
    assert "(" not in str(error.value)


def test_seeds_may_be_spelled_with_commas_or_as_a_list() -> None:
    for spelling in ("seeds=0,1,2", "seeds=0, 1, 2", "seeds=[0,1,2]"):
        assert build_config(overrides=[spelling], flags=TASK).seeds == (0, 1, 2)


def test_a_missing_task_is_said() -> None:
    with pytest.raises(ConfigError, match="task: needs a value"):
        build_config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is no YAML"),
        ("- a", "needs a mapping"),
        ("steps: 1\nsteps: 2", "'steps' appears twice"),
        ("1: 2", "no name"),
        ("learner: 3", "no group of settings"),
        ("learner: {lr: fast}", "settings.yaml'): must be a number, above 0"),
        ("tasks: x", "did you mean task?"),
        ("algorithm: {mixing_dim: 8}", "belongs to qmix"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    message = _error(file=file)
    assert said in message
    assert "settings.yaml" in message


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "cannot be read" in _error(file=tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in _error(file=tmp_path / "binary.yaml")


def test_a_group_with_nothing_in_it_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("learner:\n  # lr: 1e-3\nalgorithm:\n")
    assert build_config(file=file, flags=TASK) == build_config(flags=TASK)


def test_changing_the_algorithm_drops_what_belonged_to_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("algorithm: {name: qmix, mixing_dim: 8}\n")
    assert build_config(file=file, flags=TASK).algorithm == QmixConfig(mixing_dim=8)
    other = build_config(file=file, overrides=["algorithm=vdn"], flags=TASK)
    assert other.algorithm.name == "vdn"
    same = build_config(file=file, overrides=["algorithm=qmix"], flags=TASK)
    assert same.algorithm == QmixConfig(mixing_dim=8)


def test_overrides_may_name_the_algorithm_after_its_settings() -> None:
    config = build_config(overrides=["algorithm.mixing_dim=8", "algorithm=qmix"], flags=TASK)
    assert config.algorithm == QmixConfig(mixing_dim=8)


def test_compared_algorithms_take_the_settings_they_have() -> None:
    config = build_config(
        overrides=["algorithm.mixing_dim=8", "gate.mode=relax"],
        flags=TASK,
        compared=["vdn", "qmix", "qllm"],
    )
    assert config.algorithms == ("vdn", "qmix", "qllm")
    assert config.own == {"qmix": {"algorithm": {"mixing_dim": 8}}}
    assert config.for_training("qmix", 0).algorithm == QmixConfig(mixing_dim=8)
    assert config.for_training("qllm", 0).algorithm == QllmConfig()
    assert config.gate.mode == "relax"
    assert "did you mean algorithm.mixing_dim?" in _error(
        "algorithm.mixng_dim=8", compared=["vdn", "qmix"]
    )
    assert "unknown algorithm 'qmx'" in _error("algorithms=vdn,qmx", compared=["vdn"])
    assert "appears twice" in _error("algorithms=vdn,vdn", compared=["vdn"])
    assert "own.qmix.algorithm.KEY" in _error(
        "algorithms=[{name: qmix, mixing_dim: 8}]", compared=[]
    )
    assert "take the place of vdn's mixer" in _error("algorithms=vdn+tfcaf", compared=["vdn"])
    assert "write learner.lr, or own.NAME" in _error("algorithm.lr=1", compared=["vdn", "qmix"])


def test_the_gate_is_set_in_one_place() -> None:
    config = build_config(overrides=["gate.mode=relax", "algorithm=qllm"], flags=TASK)
    assert config.algorithm == QllmConfig()
    assert config.gate.mode == "relax"
    assert _error("algorithm=qllm", "algorithm.gate=relax").endswith("did you mean gate?")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["learner.lr=1e-05", "learner.gamma=0.5", "tfcaf=3"],
        ["algorithm=qmix", "algorithm.mixing_dim=8", "seeds=3,1,2"],
        ["algorithms=vdn,qmix,qllm", "own.qmix.algorithm.mixing_dim=8", "gate.mode=relax"],
        ["algorithms=coma,riit,riit+tfcaf,qllm", "preset=paper", "own.riit.learner.lr=2e-3"],
        ["preset=epymarl", "algorithm=mappo", "env.observe=joint"],
        ["variants=[qmix:learner.lr=1e-3, a=qmix:env.num_envs=16, vdn]", "preset=paper"],
    ],
)
def test_a_resolved_configuration_fed_back_is_the_same(
    tmp_path: Path, overrides: list[str]
) -> None:
    compared = ["vdn"] if any(o.startswith(("algorithms", "variants")) for o in overrides) else None
    config = build_config(overrides=overrides, flags=TASK, compared=compared)
    file = tmp_path / "resolved.yaml"
    file.write_text(to_yaml(config))
    assert build_config(file=file, compared=compared) == config
    assert from_stored(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("standardised", [True, False])
def test_a_stored_configuration_of_standardised_rewards_can_be_read(standardised: bool) -> None:
    stored = build_config(flags=TASK).model_dump(mode="json")
    del stored["learner"]["reward_scale"]
    old = {**stored, "learner": {**stored["learner"], "standardise_rewards": standardised}}
    assert from_stored(old) == build_config(flags=TASK)
    with pytest.raises(ConfigError, match=r"did you mean learner\.standardise_states"):
        build_config(overrides=["learner.standardise_rewards=true"], flags=TASK)


def test_a_comparisons_configuration_can_be_fed_to_a_single_training(tmp_path: Path) -> None:
    file = tmp_path / "resolved.yaml"
    file.write_text(to_yaml(build_config(flags=TASK, compared=["vdn", "qmix"])))
    alone = build_config(file=file, overrides=["algorithm=qmix"])
    assert (alone.algorithm, alone.algorithms) == (QmixConfig(), ())


def test_the_trainer_gets_its_part() -> None:
    config = build_config(overrides=["learner.lr=0.5", "algorithm=qmix"], flags=TASK)
    part = config.train_config()
    assert (part.learner.lr, part.algorithm.name) == (0.5, "qmix")
    assert set(type(part).model_fields) < set(RunConfig.model_fields)


def test_every_setting_is_described() -> None:
    from qllm.config.keys import walk

    assert [key.path for key in walk(RunConfig) if not key.field.description] == []


def test_the_documentation_is_up_to_date() -> None:
    page = Path(__file__).parents[2].joinpath("docs/configuration.md").read_text(encoding="utf-8")
    assert page == reference(page), "write it anew: python -m qllm.config.reference"
    assert "| `learner.lr` |" in page


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("0123", 123),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("cuda:1", "cuda:1"),
        ("[1, a]", [1, "a"]),
        (".inf", float("inf")),
    ],
)
def test_values_are_read_as_people_expect(text: str, value: object) -> None:
    found = yaml_text.parse(text)
    assert found == value
    assert type(found) is type(value)


_TEXT = st.text("abenoy019eE:-+_.,'\"#&*!|>%@{}[]~\n \té\u2028")
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT


@settings(derandomize=True, max_examples=300)
@given(st.dictionaries(_TEXT, _SCALARS | st.lists(_SCALARS, max_size=3), max_size=4))
def test_what_is_written_is_read_back(data: dict[str, object]) -> None:
    assert yaml_text.parse(yaml_text.dump(data)) == data


def test_the_paper_preset_also_sets_the_search() -> None:
    config = build_config(overrides=["preset=paper"], flags=TASK)
    assert (config.synth.rounds, config.synth.candidates, config.synth.repairs) == (3, 3, 10)
    mine = build_config(overrides=["preset=paper", "synth.repairs=1"], flags=TASK)
    assert (mine.synth.candidates, mine.synth.repairs) == (3, 1)
