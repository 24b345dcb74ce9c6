"""From a running candidate to credit-graph JSON, and what it says where that fails."""

from __future__ import annotations

import contextlib
import json
import textwrap
from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import PythonKeyTracer

from sandbox.export import describe, load, trace
from sandbox.export_json import ExportError, to_json
from sandbox.policy import check_source
from sandbox.reading import read_graph
from sandbox.runtime import CreditFunction

AGENTS, COLUMNS = 3, 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def export(source: str) -> tuple[Any, Any]:
    """The graph's JSON and the candidate's own function."""
    checked = check_source(textwrap.dedent(source).strip("\n") + "\n")
    function = load(checked)
    weights = checked.parameters == ("state",)
    made = trace(function, AGENTS, COLUMNS, weights)
    return to_json(made, AGENTS, COLUMNS, "", weights), function


def failure(source: str) -> ExportError:
    """How exporting fails."""
    with pytest.raises(ExportError) as caught:
        export(source)
    return caught.value


def weights(*lines: str) -> str:
    """A weights-form candidate; the first line is line 2."""
    inner = "\n".join(f"    {line}" for line in lines)
    return f"def tfcaf(state):\n{inner}\n    return w, b"


REST = ["w = state[:, :3].abs()", "b = state[:, :1]"]


@pytest.mark.parametrize(
    "lines",
    [
        REST,
        [
            "w = torch.ones(state.shape[0], 3)",
            "w[:, 0] = state[:, 1]",
            "w[:, 1] *= 2",
            "b = w[:, :1]",
        ],
        ["w = torch.zeros_like(state[:, :3])", "w[state[:, :3] > 0] = 2.0", "b = w.sum(1, True)"],
        ["w = torch.stack([state[:, i] * i for i in range(3)], dim=1)", "b = w.mean(1, True)"],
        [
            "d = {'k': state}",
            "w = F.softmax(d['k'], dim=1)[:, 1:]",
            "b = torch.full((len(state), 1), .5)",
        ],
        ["w = F.gelu(state[:, :3])", "b = torch.index_select(state, 1, torch.tensor([0]))"],
        ["w, i = torch.sort(state[:, :3], dim=1)", "b = torch.max(w, dim=1, keepdim=True).values"],
        ["w = state.t()[:3].t()", "b = torch.einsum('bi,bi->b', state, state).unsqueeze(1)"],
    ],
    ids=range(8),
)
def test_the_rebuilt_graph_computes_what_the_source_computes(lines: list[str]) -> None:
    if "len(state)" in "".join(lines):
        lines = [line.replace("len(state)", "state.shape[0]") for line in lines]
    data, function = export(weights(*lines))
    rebuilt = CreditFunction(read_graph(json.loads(json.dumps(data))))
    for batch in (1, 2, 5):
        state = torch.randn(batch, COLUMNS, generator=torch.Generator().manual_seed(batch))
        qs = torch.ones(batch, AGENTS)
        mine, theirs = rebuilt.outputs(qs, state), function(qs, state.clone())
        torch.testing.assert_close(mine["weights"], theirs[0])
        torch.testing.assert_close(mine["bias"], theirs[1])


MISTAKES = [
    # What small models get wrong, the rule, the line, and what they need to read.
    ("if state.sum() > 0: pass", "export.branch", 2, "torch.where"),
    ("if state[:, 0].sum() < 1 and True: pass", "export.branch", 2, "torch.where"),
    ("x = 1 if state.mean() > 0 else 2", "export.branch", 2, "torch.where"),
    ("x = state[:, 0] < state[:, 1] < state[:, 2]", "export.branch", 2, "torch.where"),
    ("if state.shape[0] > 5: pass", "export.branch", 2, "every batch alike"),
    ("x = max(state.shape[0], 9)", "export.branch", 2, "every batch alike"),
    ("for row in state: pass", "export.batch_loop", 2, "all rows"),
    ("for i in range(state.shape[0]): pass", "export.batch_loop", 2, "all rows"),
    ("x = [r for r in state]", "export.batch_loop", 2, "all rows"),
    ("x = int(state.shape[0])", "export.batch_loop", 2, "all rows"),
    ("x = state[state > 0]", "export.data_dependent", 2, "torch.where"),
    ("state[:, 0] = 1.0", "export.mutation", 2, "clone()"),
    ("state += 1", "export.mutation", 2, "clone()"),
    ("x = state[:, 9]", "export.error", 2, "IndexError"),
    ("x = state + torch.ones(7)", "export.error", 2, "size"),
    ("x = undefined", "export.error", 2, "undefined"),
    ("x = math.sqrt(state)", "export.math", 2, "torch.sqrt"),
    ("x = state.view(torch.int32)", "export.dtype", 2, ".to(dtype)"),
    ("x = [1]\n    for i in range(19000): x = [x]\n    y = x == x", None, 2, ""),
]


@pytest.mark.parametrize(("line", "rule", "number", "word"), MISTAKES)
def test_a_mistake_at_export_is_told_with_rule_line_and_remedy(
    line: str, rule: str | None, number: int | None, word: str
) -> None:
    if rule is None:
        export(weights(line, *REST))
        return
    error = failure(weights(line, *REST))
    assert (error.rule, error.line) == (rule, number)
    assert word in error.message
    assert "/pytorch/" not in error.message


@pytest.mark.parametrize(
    ("result", "rule", "word"),
    [
        ("state", "export.result", "(weights, bias)"),
        ("None", "export.result", "return missing"),
        ("(1, 2)", "export.result", "must be a tensor"),
        ("state[:, :3], state[:, 0]", "export.shape", "unsqueeze"),
        ("state[:, :3], state", "export.shape", "keepdim"),
        ("state, state[:, :1]", "export.shape", "[B, 3]"),
        ("torch.ones(5, 3), state[:, :1]", "export.shape", "[5, 3]"),
        ("torch.cat([state[:, :3], state[:, :3]]), state[:, :1]", "export.shape", "[2*B, 3]"),
        ("state[:, :3] > 0, state[:, :1]", "export.dtype", "float"),
        ("state[:, :3].long(), state[:, :1]", "export.dtype", "float"),
    ],
)
def test_a_result_of_another_form_is_told_with_what_is_expected(
    result: str, rule: str, word: str
) -> None:
    error = failure(f"def tfcaf(state):\n    return {result}")
    assert error.rule == rule
    assert word in error.message


def test_an_error_in_a_helper_names_the_line_in_the_helper() -> None:
    error = failure("def h(x):\n    return x[:, 9]\ndef tfcaf(state):\n    return h(state), state")
    assert error.line == 2


def test_a_failing_top_level_is_told_as_such() -> None:
    error = failure("x = 1 / 0\ndef tfcaf(state):\n    return state, state")
    assert (error.rule, error.line) == ("compile.toplevel", 1)


def test_a_function_that_is_replaced_by_something_else_is_told() -> None:
    error = failure("def tfcaf(state):\n    return state, state\ntfcaf = 3")
    assert error.rule == "compile.entry"


@pytest.mark.parametrize(
    "source",
    [
        weights("x = state", "for i in range(300): x = x + 1", *REST),
        "def h(x):\n    return x.sin().cos().sin().cos().sin().cos().sin().cos()\n"
        + weights("x = state", "for i in range(30): x = h(x)", *REST),
    ],
)
def test_vulnerability_a_trace_without_end(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.export.MAX_TRACED", 200)
    error = failure(source)
    assert error.rule == "graph.size"
    assert error.line is not None


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("x = helper(state)", "export.recursion"),
        ("x = sorted([1, 2], key=helper)", "export.recursion"),
    ],
)
def test_recursion_is_told(line: str, rule: str) -> None:
    source = "def helper(x):\n    return helper(x) + 1\n" + weights(line, *REST)
    assert failure(source).rule == rule


@pytest.mark.parametrize("line", ["x = 1", "x = undefined", "if state.shape[0] > 5: pass"])
def test_what_export_patches_is_put_back(line: str) -> None:
    before = (torch.SymBool.__bool__, PythonKeyTracer.create_node)
    with contextlib.suppress(ExportError):
        export(weights(line, *REST))
    assert (torch.SymBool.__bool__, PythonKeyTracer.create_node) == before


def test_vulnerability_the_result_is_an_object_that_lies() -> None:
    """Containers that are not exactly tuples or lists of tensors do not pass for a result."""
    for result in ("{'weights': state}", "(x for x in [state, state])", "'ab'", "range(2)"):
        assert failure(f"def tfcaf(state):\n    return {result}").rule == "export.result"


@pytest.mark.parametrize(
    "source",
    [
        "CALLS = []\n" + weights("CALLS.append(1)", "w = state[:, :3] * len(CALLS)", REST[-1]),
        "CALLS = {'n': 1}\n" + weights("CALLS['n'] += 1", *REST),
        "CALLS = ({'n': [0]},)\n" + weights("CALLS[0]['n'][0] += 1", *REST),
        "CALLS = {1, 2}\ndef h(x):\n    x |= {3}\n" + weights("h(CALLS)", *REST),
        "def h(seen=[]):\n    seen.append(1)\n" + weights("h()", *REST),
        "def h(*, seen=[]):\n    seen.append(1)\n" + weights("h()", *REST),
        "def make():\n    seen = []\n    def count_calls():\n        seen.append(1)\n"
        "    return count_calls\nh = make()\n" + weights("h()", *REST),
        "KEPT = []\n" + weights("KEPT.append(state)", *REST),
        "EACH = enumerate([1, 2])\n" + weights("for i, x in EACH: break", *REST),
        "EACH = [(x for x in [1, 2])]\n" + weights("for x in EACH[0]: break", *REST),
    ],
)
def test_vulnerability_state_is_kept_between_calls(source: str) -> None:
    assert failure(source).rule == "export.state"


def test_what_is_kept_and_read_only_is_taken() -> None:
    source = weights("for i in TABLE: x = [state]", "x.append(state)", *REST)
    export("TABLE = [1, 2]\ndef h(seen=[]):\n    return seen\n" + source)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("size s0 of s12", "ValueError: size B of B"),
        ("a\n b\t c", "ValueError: a b c"),
        ("bad Exception raised from f at /x/y.cpp:3 (most recent", "ValueError: bad"),
        ("/a/b/c.cpp:12: bad", "ValueError: bad"),
        ("", "ValueError"),
    ],
)
def test_torch_messages_are_shortened_to_what_a_reader_can_use(text: str, shown: str) -> None:
    assert describe(ValueError(text)) == shown


def test_a_huge_message_is_cut() -> None:
    assert len(describe(KeyError("x" * 10_000_000))) < 500
