"""The grammar and the policy hold each other to account: what it derives is accepted, and what is
accepted of our own can be derived.
"""

from __future__ import annotations

import ast
import random
import re
import textwrap
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import synth_grammar_walks as walks

from prompts.cards import TaskCard, list_tasks, load_card, load_listed
from prompts.views import all_views, state_views
from sandbox import guards, names, policy
from sandbox.extract import extract_code
from sandbox.policy import check_source
from synth.grammar import (
    GUIDED,
    STRICT,
    GrammarLimits,
    build_grammar,
    normalise,
    program_grammar,
)
from synth.grammar.vocabulary import KEYWORDS, reserved
from synth.programs.odds import Odds
from synth.programs.writer import write_program
from tests.sandbox import sandbox_written_functions as written

ROOT = Path(__file__).resolve().parents[2]
FREE = GrammarLimits()
EXAMPLES = sorted((ROOT / "bench" / "functions").rglob("*.py"))


@pytest.fixture(scope="module")
def spread() -> TaskCard:
    return load_card("mpe/spread-3")


# ---- what it derives is accepted -----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize(("limits", "count"), [(FREE, 150), (STRICT, 150)], ids=["free", "strict"])
def test_every_program_that_is_derived_passes_the_policy(
    limits: GrammarLimits, count: int, spread: TaskCard
) -> None:
    _policy_holds(spread, limits, count, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("limits", [FREE, STRICT], ids=["free", "strict"])
@pytest.mark.parametrize("task", ["matrix/climbing", "mpe/tag", "football/3-vs-1"])
def test_thousands_of_programs_that_are_derived_pass_the_policy(
    limits: GrammarLimits, task: str
) -> None:
    _policy_holds(load_card(task), limits, 1000, seed=1)


def _policy_holds(card: TaskCard, limits: GrammarLimits, count: int, seed: int) -> None:
    start = walks.matcher(program_grammar(card, limits=limits))
    rng = random.Random(seed)
    views = {name: view.shape_text for name, view in all_views(card).items()}
    forms = set()
    for _ in range(count):
        source = walks.walk(start, rng, rng.choice([30, 100, 300, 600]))
        ast.parse(source)
        checked = check_source(source, views)
        assert checked.entry == "tfcaf"
        assert extract_code(source) == source, "the reply is taken as it is"
        forms.add(frozenset(checked.parameters))
    parts = {"state"} if limits == FREE else set(state_views(card))
    assert {frozenset(parts), frozenset({"agent_qs", *parts})} <= forms


@pytest.mark.parametrize(
    ("parameters", "derived"),
    [
        ("agent_velocity", True),
        ("agent_position, agent_others", True),
        ("agent_qs, agent_landmarks", True),
        ("agent_qs", False),
        ("agent_others, agent_others", False),
        ("agent_messages", False),
        ("agent_position, state", False),
    ],
)
def test_parameters_are_the_state_or_parts_of_it_by_name(
    parameters: str, derived: bool, spread: TaskCard
) -> None:
    result = "agent_qs" if "agent_qs" in parameters else "x, x"
    source = f"import torch\ndef tfcaf({parameters}):\n    return {result}\n"
    assert (walks.first_departure(program_grammar(spread), source) == "") == derived


def test_the_most_deeply_nested_program_passes_the_policy(spread: TaskCard) -> None:
    def chain(depth: int) -> str:
        return f"torch.abs({expr(depth - 1)})" + ".abs()" * tails[depth] if depth else "x.T"

    def expr(depth: int) -> str:
        compared = " == 1" if depth > 1 else ""
        return "-" + chain(depth) + " + 1" * terms[depth] + compared

    from synth.grammar.free import _CHAIN as tails
    from synth.grammar.free import _TERMS as terms

    loops = "    for i in range(1):\n        for j in range(1):\n            "
    head = f"import torch\ndef tfcaf(state):\n{loops}"
    deepest = f"{head}a = {expr(4)}\n    return a, a\n"
    assert walks.first_departure(program_grammar(spread), deepest) == ""
    check_source(deepest)
    deeper = f"{head}a = ({expr(4)})\n    return a, a\n"
    assert walks.first_departure(program_grammar(spread), deeper) != ""


def test_no_strict_program_is_longer_than_three_thousand_characters() -> None:
    for task in list_tasks():
        card = load_listed(task)
        assert build_grammar(card, STRICT).longest() < 3000, task


@pytest.mark.parametrize(
    ("expression", "derived"),
    [
        ("agent_position[:, :, 1]", True),
        ("agent_landmarks[:, :, 2, 0]", True),
        ("agent_landmarks[:, 0:1, 2, 0].expand(-1, 3)", True),
        ("agent_position[:, :, 2]", False),
        ("agent_landmarks[:, 3:4, 2, 0].expand(-1, 3)", False),
        ("agent_position", False),
        ("state[:, 0:1].expand(-1, 3)", False),
    ],
)
def test_strict_programs_read_parts_of_the_state_that_exist(
    expression: str, derived: bool, spread: TaskCard
) -> None:
    parts = "agent_velocity, agent_position, agent_landmarks, agent_others"
    ended = "agent_position[:, 0:1, 0]"
    source = f"def tfcaf({parts}):\n    return (1 + {expression}), {ended}\n"
    left = walks.first_departure(program_grammar(spread, limits=STRICT), source)
    assert (left == "") == derived


def test_a_walk_without_a_hurry_ends_by_itself_in_the_strict_flavour(spread: TaskCard) -> None:
    start = walks.matcher(program_grammar(spread, limits=STRICT))
    rng = random.Random(3)
    lengths = [len(walks.walk(start, rng, budget=10**9)) for _ in range(100)]
    assert max(lengths) <= build_grammar(spread, STRICT).longest()
    assert np.median(lengths) > 100


@pytest.mark.parametrize(
    "source",
    [
        "import os\n",
        "import torch\nx = torch.load('x')\n",
        "import torch\ndef tfcaf(state):\n    while True:\n",
        "import torch\ndef tfcaf(state):\n    if state.sum() > 0:\n",
        "import torch\ndef tfcaf(state):\n    x = state.item()\n",
        "import torch\ndef tfcaf(state):\n    x = state.data\n",
        "import torch\ndef tfcaf(state):\n    x = torch.rand(3)\n",
        "import torch\ndef tfcaf(state):\n    x = state.__class__\n",
        "import torch\ndef tfcaf(state):\n    _x = state\n",
        "import torch\ndef tfcaf(state):\n    torch = state\n",
        "import torch\ndef tfcaf(state):\n    x = eval('1')\n",
        "import torch\ndef tfcaf(state):\n    x = (lambda: 1)()\n",
        "import torch\ndef tfcaf(state):\n    x = state.sum(dim=1, dim=0)\n",
        "import torch\ndef tfcaf(state):\n    x = torch.abs(state, out=state)\n",
        "import torch\ndef helper(x, x):\n",
        "import torch\ndef tfcaf(world):\n",
        "import torch\ndef tfcaf(state):\n    return state\n",
        "import torch\ndef tfcaf(agent_qs, state):\n    return agent_qs, state\n",
        "import torch\ndef tfcaf(state):\n   return state, state\n",
        "import torch\ndef tfcaf(state):\n    x = state[:, 99]\n",
        "import torch\ndef tfcaf(state):\n    for i in range(1000000):\n",
    ],
)
def test_what_a_credit_function_may_not_do_cannot_be_written(source: str, spread: TaskCard) -> None:
    for limits in (FREE, GUIDED, STRICT):
        assert walks.first_departure(program_grammar(spread, limits=limits), source) != ""


# ---- what is ours can be derived -----------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_functions_are_in_the_language(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    task = source.removeprefix('"""').split(":")[0]
    normal = normalise(source)
    card = load_card(task)
    check_source(normal, {name: view.shape_text for name, view in all_views(card).items()})
    assert walks.first_departure(program_grammar(card), normal) == ""


def test_the_functions_of_the_sandboxs_tests_are_in_the_language() -> None:
    grammar = program_grammar(written.foraging_card())
    everything = [*written.WEIGHTS, *written.MIXING, *written.REFUTABLE]
    assert len(everything) > 40
    for name in everything:
        assert walks.first_departure(grammar, normalise(written.source_of(name))) == "", name


def test_the_samplers_programs_are_in_the_language() -> None:
    for task in list_tasks():
        card = load_listed(task)
        grammar = program_grammar(card)
        for seed in range(8):
            program = write_program(card, random.Random(seed), Odds())
            assert walks.first_departure(grammar, normalise(program.source)) == "", program.source


@pytest.mark.parametrize("page", ["README.md", "docs/synthesis.md"])
def test_the_functions_in_the_documentation_are_in_the_language(page: str) -> None:
    text = textwrap.dedent((ROOT / page).read_text(encoding="utf-8"))
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    found = [textwrap.dedent(b) for _, b in blocks if "def tfcaf" in b]
    assert found
    tasks = ("matrix/climbing", "lbf/8x8-2p-2f-coop-2s", "mpe/tag")  # those of the pages
    grammars = [program_grammar(load_card(task)) for task in tasks]
    for source in found:
        left = [walks.first_departure(grammar, normalise(source)) for grammar in grammars]
        assert "" in left, source


def test_comments_may_stay(spread: TaskCard) -> None:
    source = (
        "import torch\n# what is near\ndef tfcaf(state):\n    # velocity, in units a step\n"
        "    v = state[:, 0:2]\n    # all alike\n    return v, v\n"
    )
    assert walks.first_departure(program_grammar(spread), source) == ""
    cut_off = source.replace("all alike", "done </think>")
    assert walks.first_departure(program_grammar(spread), cut_off) != ""
    bare = program_grammar(spread, limits=GrammarLimits(comment=0))
    assert walks.first_departure(bare, source) != ""


def test_normalising_keeps_the_program_and_drops_the_rest() -> None:
    source = (
        '"""Words."""\nfrom torch import Tensor\nSIZE: int = 2\n\n'
        'def tfcaf(state: Tensor) -> Tensor:\n    """More."""\n    x: Tensor\n    assert SIZE\n'
        "    y = F.relu(state)  # no\n    return y, y\n"
    )
    assert normalise(source) == (
        "import torch\nimport torch.nn.functional as F\nSIZE = 2\n\ndef tfcaf(state):\n"
        "    y = F.relu(state)\n    return (y, y)\n"
    )


# ---- it follows the sandbox's lists --------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "value", "call"),
    [
        (names, "TORCH_FUNCTIONS", "cumsum", "torch.cumsum(state, 1)"),
        (names, "FUNCTIONAL", "mish", "F.mish(state)"),
        (names, "TENSOR_METHODS", "square", "state.square()"),
        (names, "TENSOR_ATTRIBUTES", "mT", "state.mT"),
        (names, "MATH", "hypot", "math.hypot(3, 4)"),
        (names, "BUILTINS", "sorted", "sorted([1, 2])"),
        (names, "LINALG", "norm", "torch.linalg.norm(state)"),
        (names, "TORCH_DTYPES", "int64", "state.to(torch.int64)"),
    ],
)
def test_a_name_taken_from_the_list_leaves_the_language(
    owner: object, name: str, value: str, call: str, spread: TaskCard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source = f"import torch\ndef tfcaf(state):\n    x = {call}\n    return x, x\n"
    assert walks.first_departure(program_grammar(spread), source) == ""
    fewer = tuple(n for n in getattr(owner, name) if n != value)
    assert len(fewer) == len(getattr(owner, name)) - 1
    monkeypatch.setattr(owner, name, fewer)
    left = walks.first_departure(program_grammar(spread), source)
    if name == "BUILTINS":  # it is then a name like any other, which a helper may have
        assert left == ""
        assert value not in reserved()
    else:
        assert left != ""


def test_every_listed_name_can_be_written(spread: TaskCard) -> None:
    grammar = program_grammar(spread)
    calls = [f"torch.{n}(x, 1)" for n in names.TORCH_FUNCTIONS if n != "einsum"]
    calls += [f"F.{n}(x)" for n in names.FUNCTIONAL] + [f"x.{n}()" for n in names.TENSOR_METHODS]
    calls += [f"x.{n}" for n in names.TENSOR_ATTRIBUTES]
    calls += [f"torch.{n}" for n in names.TORCH_DTYPES + names.TORCH_CONSTANTS]
    calls += [f"torch.linalg.{n}(x)" for n in names.LINALG]
    calls += ["torch.einsum('bi,bj->bij', x, x)"]
    for call in calls:
        source = f"import torch\ndef tfcaf(state):\n    x = {call}\n    return x, x\n"
        assert walks.first_departure(grammar, source) == "", call


def test_a_name_that_the_policy_bans_leaves_the_language(
    spread: TaskCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import torch\ndef tfcaf(state):\n    credit = state\n    return credit, credit\n"
    assert walks.first_departure(program_grammar(spread), source) == ""
    monkeypatch.setitem(policy._BANNED_NAMES, "credit", "take another")
    assert walks.first_departure(program_grammar(spread), source) != ""


def test_a_strict_function_that_is_not_listed_leaves_the_language(
    spread: TaskCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = tuple(n for n in names.TORCH_FUNCTIONS if n != "atan")
    before = program_grammar(spread, limits=STRICT)
    monkeypatch.setattr(names, "TORCH_FUNCTIONS", fewer)
    after = program_grammar(spread, limits=STRICT)
    line = "    t0 = torch.atan(agent_position[:, 0:1, 0])\n"
    parts = ", ".join(state_views(spread))
    source = f"def tfcaf({parts}):\n{line}    return (1 + t0.expand(-1, 3)), t0\n"
    assert walks.first_departure(before, source) == ""
    assert walks.first_departure(after, source) != ""


def test_no_keyword_is_one_that_the_sandbox_refuses() -> None:
    ours = [k for several in KEYWORDS.values() for k in several]
    assert len(ours) == len(set(ours))
    assert not set(ours) & set(guards._REFUSED_KEYWORDS)


# ---- it is quick ---------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [FREE, GUIDED, STRICT], ids=["free", "guided", "strict"])
def test_the_grammar_of_every_card_compiles_and_stays_small(limits: GrammarLimits) -> None:
    for task in list_tasks():
        grammar = program_grammar(load_listed(task), limits=limits)
        assert len(grammar) < 100_000, task  # a server compiles this much in about 0.04 s
        walks.matcher.__wrapped__(grammar)


def test_a_mask_takes_far_less_time_than_a_token(spread: TaskCard) -> None:
    for limits in (FREE, GUIDED, STRICT):
        start = walks.matcher(program_grammar(spread, limits=limits))
        text = walks.walk(start, random.Random(0), 500).encode()
        at = start.deep_copy()
        spent = []
        for byte in text:
            began = time.process_time()
            at.compute_bitmask()
            at.consume_token(byte)
            spent.append(time.process_time() - began)
        assert median(spent) < 2e-3


@pytest.mark.parametrize("wrong", [{"depth": 5}, {"depth": 0}, {"strict_depth": 0}])
def test_limits_that_the_sandbox_would_refuse_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="depth"):
        GrammarLimits(**wrong)  # type: ignore[arg-type]
