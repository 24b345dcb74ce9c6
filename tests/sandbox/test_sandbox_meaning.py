"""What a graph computes is what its source computes in plain PyTorch, or the source is refused."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import torch

from prompts.cards import load_card
from sandbox.agreement import require_types
from sandbox.feedback import for_findings
from sandbox.graph import CreditGraph, GraphError
from sandbox.inference import infer_types
from sandbox.isolation.child import judge
from sandbox.reading import read_graph
from sandbox.runtime import CreditFunction

CARD = load_card("matrix/climbing")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def judged(source: str) -> dict[str, Any]:
    """The child's answer on a source."""
    task = {
        "code": source, "n_agents": CARD.n_agents, "state_dim": CARD.state_dim, "schema_hash": "",
    }  # fmt: skip
    return judge(task)[0]


def refusal(source: str) -> tuple[str, str]:
    """Rule and message of the first finding."""
    first = judged(textwrap.dedent(source))["findings"][0]
    return first["rule"], first["message"]


def both(source: str) -> tuple[CreditGraph, torch.Tensor, torch.Tensor]:
    """The graph, what it computes, and what plain PyTorch makes of the source."""
    source = textwrap.dedent(source)
    answer = judged(source)
    assert answer["findings"] == []
    graph = read_graph(answer["graph"])
    qs, state = torch.tensor([[3.0, 5.0], [2.0, -1.0]]), torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    plain: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
    exec(source, plain)  # noqa: S102 - ours, from below
    return graph, CreditFunction(graph)(qs, state), plain["tfcaf"](agent_qs=qs, state=state)


def mixing(*lines: str) -> str:
    """A mixing form; ``w`` is a tensor of ones beside ``agent_qs``."""
    inner = "\n".join(f"    {line}" for line in ["w = torch.ones_like(agent_qs)", *lines])
    return f"def tfcaf(agent_qs, state):\n{inner}\n    return (agent_qs * w).sum(1, keepdim=True)\n"


ITEMS = {
    "a tensor in a list": mixing("parts = [w]", "parts[0] += 4.0"),
    "views in a dict": mixing("rows = {'a': w[:, :1]}", "rows['a'] *= 6.0"),
    "one tensor twice": mixing(
        "acc = [torch.zeros_like(w)] * 2", "acc[0] += 3.0", "acc[1] -= agent_qs", "w = acc[0] * w"
    ),
    "a number in a list": mixing("k = [1.0, 2.0]", "k[1] /= 4", "w = w * k[1]"),
    "a list in a list": mixing("k = [[1.0], [2.0]]", "k[1] += [5.0]", "w = w * k[1][1]"),
    "the item is read first": mixing("k = [1.0, 2.0]", "k[0] += k.pop()", "w = w * k[0]"),
    "columns": mixing("w[:, 0] += 2.0", "w[..., 1:] *= agent_qs[:, :1]", "w[:, 0] **= 2"),
    "columns that something else sees": mixing("v = w[:, 1]", "w[:, 1] -= 4.0", "w[:, 0] = v"),
    "places in a list": mixing("w[:, [1, 0]] += state", "w[:, [0]] %= 2"),
    "a row of a row": mixing("w[:, 0:1][:, 0] += 7.0"),
    "a mask's own": mixing("w[state > 1] = 3.0"),
}


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_changes_in_place_as_in_python(name: str) -> None:
    _, mine, plain = both(ITEMS[name])
    assert torch.equal(mine, plain)


def test_an_index_is_computed_once() -> None:
    source = "def pick(box):\n    box.append(1.0)\n    return 0\n" + mixing(
        "box = []", "k = [1.0, 1.0]", "k[pick(box)] += 1.0", "w = w * (k[0] + 10.0 * len(box))"
    )
    _, mine, plain = both(source)
    assert torch.equal(mine, plain)


def test_an_item_keeps_its_dtype() -> None:
    rule, message = refusal(mixing("k = w.long()", "k[:, 0] += 0.5", "w = k.float()"))
    assert rule == "export.dtype"
    assert "float()" in message


@pytest.mark.parametrize("taken", ["unused_value = 1.0", "unused_value = unused_value_2 = 1.0"])
def test_the_unused_name_is_none_of_the_source(taken: str) -> None:
    source = mixing(taken, "for _ in range(8):", "    pass", "w = w * unused_value")
    _, mine, plain = both(source)
    assert torch.equal(mine, plain)


def behind(*lines: str, before: str = "SCALE = 1.0\nTABLE = [1.0]\nN = 2\nx = 1.0") -> str:
    """A function that reads the globals before it, with lines behind it."""
    return f"{before}\n{mixing('w = w * SCALE * TABLE[0] * N')}" + "\n".join(lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["SCALE = float(-3)"],
        ["SCALE -= 4.0"],
        ["for SCALE in [-3.0]: pass"],
        ["if True:", "    SCALE = -3.0"],
        ["if True:", "    from math import pi as SCALE"],
        ["x = float(-3)", "SCALE = x"],
        ["y = (SCALE := -3.0)"],
        ["print(SCALE := -3.0)"],
        ["TABLE[0] -= 4.0"],
        ["TABLE.append(4.0)"],
        ["y = TABLE", "for i in range(3):", "    y[0] -= 4.0"],
        ["for y in [TABLE]:", "    y.insert(0, -4.0)"],
        ["def change():", "    global SCALE", "    SCALE = -3.0", "change()"],
        ["if True:", "    def tfcaf(agent_qs, state):", "        return -agent_qs"],
        ["globals().update(SCALE=-3.0)"],
        ["setattr(torch, 'ones_like', torch.zeros_like)"],
        ["torch.set_default_dtype(torch.float64)"],
        ["tfcaf.__code__ += 1"],
        ["if True:", "    from math import *"],
    ],
    ids=lambda lines: lines[0] + (lines[1] if len(lines) > 1 else ""),
)
def test_what_follows_the_functions_may_not_change_them(lines: list[str]) -> None:
    rule, message = refusal(behind(*lines))
    assert rule in ("policy.behind", "policy.global")
    assert "before the functions" in message or rule == "policy.global"


def test_what_follows_the_functions_must_compile() -> None:
    assert refusal(behind("if True:", "    nonlocal x"))[0] == "policy.syntax"


def test_a_function_of_the_source_may_not_write_a_global_behind_them() -> None:
    source = "def change(t):\n    t[0] = -3.0\n" + behind("change(TABLE)")
    assert refusal(source)[0] == "policy.behind"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["SCALE = 2.0"],
        ["TABLE[0] = 3.0"],
        [
            "torch.manual_seed(0)",
            "agent_qs = torch.randn(4, N)",
            "state = torch.zeros(4, N)",
            "state[:, 0] = 1.0",
            "agent_qs.requires_grad_()",
            "q_tot = tfcaf(agent_qs, state)",
            "assert q_tot.shape == (4, 1)",
            "q_tot.sum().backward()",
            "seen = []",
            "for i in range(2):",
            "    seen.append(q_tot[i] * SCALE)",
        ],
        ["if __name__ == '__main__':", "    SCALE = -3.0"],
    ],
)
def test_constants_examples_and_tests_behind_the_functions_are_taken(lines: list[str]) -> None:
    _, mine, plain = both(behind(*lines))
    assert torch.equal(mine, plain)


def test_an_entry_that_is_bound_anew_is_refused() -> None:
    source = "def helper(state, agent_qs):\n    return agent_qs\n" + mixing() + "tfcaf = helper\n"
    assert refusal(source)[0] == "compile.entry"


def test_an_entry_is_called_by_name() -> None:
    _, mine, plain = both(
        "def tfcaf(state, agent_qs, k=2.0):\n    return agent_qs[:, :1] * state[:, 1:] * k"
    )
    assert torch.equal(mine, plain)


@pytest.mark.parametrize(
    "head",
    [
        "def tfcaf(agent_qs, state: (SCALE := -3.0)):",
        "def tfcaf(agent_qs, state: change()):",
        "def tfcaf(agent_qs, state) -> TABLE.append(1.0):",
    ],
)
def test_an_annotation_may_change_nothing(head: str) -> None:
    source = f"TABLE = [1.0]\ndef change():\n    return 1\n{head}\n    return agent_qs[:, :1]"
    assert refusal(source)[0] == "policy.annotation"


def test_an_assertion_calls_no_function_of_the_source() -> None:
    source = "BOX = []\ndef len(x):\n    BOX.append(1)\n    return 1\n" + mixing("assert len(w)")
    assert refusal(source)[0] == "policy.assert"


def test_an_integer_too_large_for_a_graph_is_refused() -> None:
    lines = ["big = 2**30", "rare = (state > 1.5).long() * (big * big)", "w = rare.float()"]
    rule, message = refusal(mixing(*lines))
    assert rule == "policy.number"
    assert "float" in message
    _, mine, plain = both(mixing("w = w * state[:, 0:9007199254740992][:, -9007199254740992:]"))
    assert torch.equal(mine, plain)


@pytest.mark.parametrize(
    "expression",
    [
        "sorted([state.shape[0], 1.5]).index(1.5)",
        "max(state.shape[0], 2)",
        "min([state.shape[0], 2])",
        "1.0 if state.shape[0] - 1 else 2.0",
        "1.0 if not (state.shape[0] - 1) / 2 else 2.0",
        "1.0 if any([state.shape[0] - 1]) else 2.0",
        "1.0 if state.shape[0] is state.shape[0] else 2.0",
        "1.0 if (state.shape[0] == state.shape[0]) is True else 2.0",
        "1.0 if (state.shape[0],) == (1,) else 2.0",
    ],
)
def test_vulnerability_a_trace_is_told_apart_from_a_run(expression: str) -> None:
    rule, _ = refusal(mixing(f"w = w * ({expression})"))
    assert rule in ("export.branch", "policy.is", "export.batch")


def test_a_size_is_an_integer_in_a_trace_as_in_a_run() -> None:
    _, mine, plain = both(mixing("w = w * (3.0 if isinstance(state.shape[0], int) else 1.0)"))
    assert torch.equal(mine, plain)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("w[:, [0, 0]] = state", True),
        ("w[:, torch.tensor([1, -1])] = state", True),
        ("w[:, torch.arange(2) // 2] = state", True),
        ("w[:, [0, 1]] = state", False),
        ("w[:, torch.arange(2)] = state", False),
        ("w[:, [0, 0]] = 2.0", False),
        ("w[:, [0, 0]] = state[:, :1]", False),
        ("w[:, [0]] = state[:, :1]", False),
        ("t = torch.zeros(2, 2)\n    t[[0, 1], [0, 1]] = torch.tensor([1.0, 2.0])", False),
        ("t = torch.zeros(2, 2)\n    t[[0, 0], [1, 1]] = torch.tensor([1.0, 2.0])", True),
        ("t = torch.zeros(2, 2, 2)\n    t[[0, 0], :, [1, 1]] = torch.ones(1, 2)", False),
        ("t = torch.zeros(2, 2, 2)\n    t[[0, 0], :, [1, 1]] = torch.ones(2, 2)", True),
    ],
)
def test_several_values_are_never_written_into_one_place(line: str, refused: bool) -> None:
    more = ["w = w * t.reshape(1, -1)[:, :2]"] if line.startswith("t =") else []
    graph, mine, plain = both(mixing(line, *more))
    if refused:
        with pytest.raises(GraphError, match="one place"):
            require_types(graph, infer_types(graph))
        return
    require_types(graph, infer_types(graph))
    assert torch.equal(mine, plain)


def test_a_piece_of_unbind_that_is_written_into_is_told() -> None:
    source = mixing("for c in w.unbind(1):", "    c += 3.0").replace("agent_qs * w", "w")
    rule, message = refusal(source)
    assert rule == "export.shape"
    assert "unbind" in message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("graph.arguments", "'self' must be a tensor"),
        ("graph.operation", "operation 'aten.remainder.Scalar_Tensor' is not on the list"),
    ],
)
def test_a_number_on_the_left_is_told_what_to_write(rule: str, message: str) -> None:
    assert "torch.full_like(x, 10) // x" in for_findings("", [(rule, message, None)], CARD)
