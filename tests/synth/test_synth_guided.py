"""The guided flavour: whatever it derives passes policy, export and shapes, with names bound."""

from __future__ import annotations

import random

import jinja2
import pytest
import synth_grammar_walks as walks

from prompts.cards import TaskCard, load_card
from prompts.schema import StateSlice
from prompts.templates import PROMPTS_DIR
from prompts.views import state_views
from sandbox.checker import Sandbox
from synth.grammar import GUIDED, build_grammar, program_grammar
from synth.grammar.guided import WORDS, guided_names, parts_of

LBF = load_card("lbf/8x8-2p-2f-coop-2s")
HEAD = f"# idea\ndef tfcaf({', '.join(state_views(LBF))}):\n"
MIXING = HEAD.replace("tfcaf(", "tfcaf(agent_qs, ")
WEIGHED = "    weights = 1 + share(agent_level)\n    return weights, 0.0\n"


def _programs(card: TaskCard, count: int, seed: int) -> list[str]:
    start, rng = walks.matcher(program_grammar(card, limits=GUIDED)), random.Random(seed)
    return [walks.walk(start, rng, rng.choice([100, 200, 400, 600])) for _ in range(count)]


def _fit(task: str, count: int, sandbox: Sandbox) -> None:
    card = load_card(task)
    reports = [sandbox.check(source, card) for source in _programs(card, count, seed=7)]
    for report in reports:
        assert report.stage in ("properties", "done"), f"{report.code}\n{report.feedback}"
        assert report.finite == "proved", report.code
    # What is left is meaning: a condition that never holds gives nobody any credit.
    refused = [r for r in reports if not r.accepted]
    assert all(r.rule == "properties.someone_credited" for r in refused)
    assert {r.signature for r in reports} == {"weights", "mixing"}


@pytest.mark.parametrize("task", ["lbf/8x8-2p-2f-coop-2s", "mpe/spread-3"])
def test_random_programs_pass_policy_export_and_shapes(task: str, warm_sandbox: Sandbox) -> None:
    _fit(task, 14, warm_sandbox)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    ["matrix/climbing", "mpe/tag", "mpe/adversary", "football/3-vs-1", "lbf/15x15-4p-3f-2s"],
)
def test_many_random_programs_pass_policy_export_and_shapes(
    task: str, warm_sandbox: Sandbox
) -> None:
    _fit(task, 60, warm_sandbox)


@pytest.mark.parametrize(
    ("body", "derived"),
    [
        (WEIGHED, True),
        ("    # who is near\n    total = count(food_level > 0)\n" + WEIGHED, True),
        ("    need = at_nearest(distance, food_level)\n" + WEIGHED, False),  # not bound yet
        (
            "    distance = pairwise_distance(agent_position, food_position)\n"
            "    need = at_nearest(distance, food_level, food_level > 0)\n"
            "    closeness = near(nearest(distance), 2.0) * need\n"
            "    return 0.5 + closeness, -0.1 * count(food_level > 0)\n",
            True,
        ),
        (
            "    distance = pairwise_distance(agent_position, food_position)\n"
            "    closeness = distance * food_level\n" + WEIGHED,
            False,  # [B, n, m] times [B, m]
        ),
        (
            "    distance = pairwise_distance(agent_position, food_position)\n"
            "    closeness = distance * food_level.unsqueeze(1)\n" + WEIGHED,
            True,
        ),
        ("    need = agent_level\n    need = agent_level\n" + WEIGHED, False),  # set twice
        ("    return food_level, 0.0\n", False),  # weights are for agents
        ("    if total > 1:\n        pass\n" + WEIGHED, False),
    ],
)
def test_names_are_bound_and_shapes_fit(body: str, derived: bool) -> None:
    left = walks.first_departure(program_grammar(LBF, limits=GUIDED), HEAD + body)
    assert (left == "") == derived, left


@pytest.mark.parametrize(
    ("result", "derived"),
    [
        ("agent_qs.sum(dim=1, keepdim=True)", True),
        ("((0.5 + share(agent_level)) * agent_qs).sum(dim=1, keepdim=True)", True),
        ("2 * soft_min(agent_qs, 0.5) + 0.3 * agent_qs.amax(dim=1, keepdim=True)", True),
        ("(agent_level * agent_qs).sum(dim=1, keepdim=True)", False),  # may be negative
        ("agent_qs.sum(dim=1, keepdim=True) * 2", False),
        ("torch.tanh(agent_qs).sum(dim=1, keepdim=True)", False),
    ],
)
def test_the_mixing_form_rises_with_every_q(
    result: str, derived: bool, warm_sandbox: Sandbox
) -> None:
    source = f"{MIXING}    return {result}\n"
    left = walks.first_departure(program_grammar(LBF, limits=GUIDED), source)
    assert (left == "") == derived, left
    if derived:
        report = warm_sandbox.check(source, LBF)
        assert report.igm in ("proved", "proved-over-reals"), report.feedback


def test_shapes_of_a_task_follow_from_its_parts() -> None:
    football = parts_of(load_card("football/3-vs-1"))
    assert set(football.shapes) == {"a", "r", "p_left4", "p_right2", "i_left4", "i_right2"}
    assert "agent_ball[:, :, 1]" in football.scalars["a"]
    spread = parts_of(load_card("mpe/spread-3"))
    assert spread.scalars["p_others2"] == [f"agent_others[:, :, :, {k}]" for k in (0, 1)]
    climbing = parts_of(load_card("matrix/climbing"))
    assert climbing.scalars["a"] == ["last_action"]


def test_a_part_that_would_hide_a_helper_or_a_variable_is_left_out(warm_sandbox: Sandbox) -> None:
    """Cards are users' own: theirs may be called ``near``, ``score`` or ``weights``."""
    names = {"agent_level": "near", "food_level": "score", "last_action": "weights"}
    state = tuple(s.model_copy(update={"name": names.get(s.name, s.name)}) for s in LBF.state)
    assert "weights" in {s.name for s in state}
    card = LBF.model_copy(update={"state": state})
    source = _programs(card, 1, seed=1)[0]
    head = source[source.index("def tfcaf(") :].split("\n")[0]
    assert "weights" not in head
    assert warm_sandbox.check(source, card).stage in ("properties", "done")


def test_the_prompt_names_what_the_grammar_derives() -> None:
    told = guided_names(LBF)
    text = program_grammar(LBF, limits=GUIDED)
    for word in (*WORDS, "weights", "bias"):
        assert word in told
        assert f'"{word}"' in text
    assert build_grammar(LBF, GUIDED).longest() > 1000  # bounded


def test_the_example_of_the_prompt_can_be_derived() -> None:
    def part(name: str, shape: list[int], agent: int | None) -> StateSlice:
        return StateSlice(
            name=name, shape=shape, kind="integer", low=0, high=9, meaning="a part", agent=agent
        )

    fires = [part(f"fire{k}_{f}", s, None) for f, s in _FIRE for k in range(2)]
    agents = [part(f"agent{k}_{f}", s, k) for f, s in _AGENT for k in range(3)]
    card = LBF.model_copy(update={"n_agents": 3, "state": (*agents, *fires)})
    folder = jinja2.Environment(loader=jinja2.FileSystemLoader(PROMPTS_DIR / "coder"))
    example = folder.get_template("example.py.j2").render(guided=True).strip() + "\n"
    assert walks.first_departure(program_grammar(card, limits=GUIDED), example) == ""


_FIRE = (("place", [2]), ("size", [1]))
_AGENT = (("place", [2]), ("water", [1]))
