"""Which Python a candidate may be written in: every refusal names rule, line and substitute."""

from __future__ import annotations

import random
import re
import textwrap

import pytest

from sandbox.binding import AGENT_QS_NAMES, STATE_NAMES
from sandbox.extract import MAX_SOURCE_BYTES
from sandbox.findings import PolicyError
from sandbox.policy import check_source


def findings(source: str) -> list[tuple[str, int | None, str]]:
    """What the policy finds, as (rule, line, message)."""
    try:
        check_source(textwrap.dedent(source).strip("\n") + "\n")
    except PolicyError as error:
        return [(f.rule, f.line, f.message) for f in error.findings]
    return []


def body(*lines: str) -> str:
    """A weights-form candidate with these lines, the first of which is line 2."""
    return "\n".join(
        ["def tfcaf(state):", *(f"    {line}" for line in lines), "    return state, state"]
    )


BANNED = [
    ("while True:\n        pass", "policy.while", "for i in range"),
    ("class A:\n        pass", "policy.class", "plain function"),
    ("with torch.no_grad():\n        pass", "policy.with", "leave it out"),
    ("try:\n        pass\n    except ValueError:\n        pass", "policy.try", "torch.where"),
    ("try:\n        pass\n    except* ValueError:\n        pass", "policy.try", "torch.where"),
    ("raise ValueError(1)", "policy.raise", "return a value"),
    ("f = lambda x: x", "policy.lambda", "helper function"),
    ("yield state", "policy.yield", "return a tensor"),
    ("yield from [state]", "policy.yield", "return a tensor"),
    ("match state:\n        case _:\n            pass", "policy.match", "torch.where"),
    ("global x", "policy.global", "arguments"),
    ("def g():\n        nonlocal state", "policy.global", "return the value"),
    ("x = f'{state}'", "policy.format", "makes no text"),
    ("if (x := 1): pass", "policy.walrus", "line of its own"),
    ("del state", "policy.delete", "leave it out"),
    ("x = [y async for y in state]", "policy.async", "not allowed"),
    ("x = state.__class__", "policy.underscore", "rename"),
    ("__x = 1", "policy.underscore", "rename"),
    ("_x = 1", "policy.underscore", "rename"),
    ("x = __builtins__", "policy.underscore", "rename"),
    ("import os", "policy.import", "leave it out"),
    ("from os import path", "policy.import", "leave it out"),
    ("import numpy.random as npr", "policy.import", "torch functions"),
    ("from torch import *", "policy.import", "not allowed"),
    ("from . import x", "policy.import", "not allowed"),
    ("import torch.serialization", "policy.import", "not allowed"),
    ("x = state.sum().item()", "policy.item", "torch.where"),
    ("x = state.data", "policy.data", "tensor itself"),
    ("x = state.numpy()", "policy.numpy", "torch function"),
    ("x = state.tolist()", "policy.tolist", "stay in tensors"),
    ("x = state.detach()", "policy.detach", "gradients"),
    ("state.register_hook(state)", "policy.register_hook", "hooks"),
    ("state.requires_grad_()", "policy.requires_grad", "trained"),
    ("x = torch.rand(3)", "policy.torch", "deterministic"),
    ("x = torch.manual_seed(3)", "policy.torch", "deterministic"),
    ("x = torch.empty(3)", "policy.torch", "torch.zeros"),
    ("x = torch.nonzero(state)", "policy.torch", "torch.where"),
    ("x = torch.load('x')", "policy.torch", "reads nothing"),
    ("x = torch.softmx(state, 1)", "policy.torch", "torch.softmax"),
    ("x = math.sqr(2)", "policy.torch", "math.sqrt"),
    ("x = nn.Linear(2, 2)", "policy.trainable", "trained"),
    ("print(state)", "policy.name", "leave it out"),
    ("x = open('x')", "policy.name", "reads nothing"),
    ("x = eval('1')", "policy.name", "expression itself"),
    ("x = getattr(state, 'x')", "policy.name", "attribute itself"),
    ("x = np.std(state)", "policy.torch", "np."),
    ("torch = 3", "policy.name", "another name"),
    ("state.x = 3", "policy.attribute", "variable"),
    ("state.x += 3", "policy.attribute", "not allowed"),
    ("x = 2 ** 3 + 99999999999999999999", "policy.number", "float"),
    ("x = 3j", "policy.number", "plain numbers"),
    ("x = b'a'", "policy.number", "plain numbers"),
    ("x = (1 for y in [1]).gi_frame", "policy.restricted", "forbidden"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "rule", "substitute"), BANNED, ids=[b[0][:30] for b in BANNED])
def test_a_banned_construct_gives_its_rule_its_line_and_a_substitute(
    line: str, rule: str, substitute: str
) -> None:
    found = findings(body("x = 0", line))
    matching = [f for f in found if f[0] == rule]
    assert matching, found
    assert matching[0][1] is not None
    assert matching[0][1] >= 3
    assert substitute in matching[0][2]


def test_async_functions_and_decorators_are_refused() -> None:
    assert findings("async def tfcaf(state):\n    return state")[0][0] in (
        "policy.async",
        "policy.entry",
    )
    found = findings("import math\n@math.sqrt\ndef tfcaf(state):\n    return state, state")
    assert [f[0] for f in found] == ["policy.decorator"]


def test_every_finding_is_told_at_once_and_at_most_ten() -> None:
    found = findings(body(*["while True: pass"] * 30))
    assert [f[1] for f in found] == list(range(2, 12))


ACCEPTED = [
    "x: torch.Tensor = state",
    "x: int",
    "x = 1\n    x += 1",
    "x = state.clone()\n    x[:, 0] += 1\n    x[0][1] *= 2",
    "x, _ = state, 1",
    "for _ in range(3):\n        pass",
    "for _, x in enumerate([1]):\n        pass",
    "def helper(a: int, _, *rest: int, b: float = 1.0, **more) -> float:\n        return a",
    "import torch",
    "import torch.nn as nn, torch.nn.functional as F",
    "from torch.nn import functional as F",
    "from torch.nn.functional import softmax",
    "from typing import Tuple, Optional",
    "from torch import Tensor, nn",
    "import torch.nn.functional as functional\n    y = functional.relu(state)",
    "from math import sqrt as root\n    y = root(2.0)",
    "F = torch.nn.functional",
    "assert state.dim() == 2, 'must be a matrix'",
    "'a text that explains'",
    "a, (b, c) = 1, (2, 3)",
    "x = [i * 2 for i in range(3) if i]",
    "x = {i: i for i in range(3)}",
    "x = 7 % 2 + 2 ** 3 + (1 << 2) + 3 * 4",
    "if True:\n        pass\n    elif False:\n        pass\n    else:\n        pass",
]


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_is_harmless_is_normalised_and_accepted(line: str) -> None:
    assert findings(body(line)) == []


def test_annotations_are_never_evaluated_and_call_nothing() -> None:
    source = """
        from typing import Tuple
        def tfcaf(state: "B, n", k: no.such[thing] = 1) -> f"{1}":
            x: Tuple[int, ...] | None = state
            return x, x
    """
    assert findings(source) == []
    calling = source.replace("no.such[thing]", '__import__("os").x').replace(
        "None", 'os.system("y")'
    )
    assert [f[0] for f in findings(calling)] == ["policy.annotation"] * 2


def test_a_main_block_is_left_out() -> None:
    source = """
        def tfcaf(state):
            return state, state

        if __name__ == "__main__":
            print(tfcaf(torch.rand(3, 3)))
    """
    assert findings(source) == []


def test_an_import_alias_keeps_its_meaning() -> None:
    checked = check_source(
        "import torch as t\nimport torch.nn.functional as fn\n"
        "def tfcaf(state):\n    return t.abs(fn.relu(state)), state\n"
    )
    assert {"t", "fn", "tfcaf"} <= set(checked.code.co_names)


@pytest.mark.parametrize(
    "line", ["import math as _getattr_", "import torch as __builtins__", "import math as torch"]
)
def test_vulnerability_an_import_alias_rebinds_a_guard(line: str) -> None:
    assert findings(f"{line}\ndef tfcaf(state):\n    return state, state")


@pytest.mark.parametrize(
    "source",
    [
        "def tfcaf(state, _getattr_=1):\n    return state, state",
        "def _getattr_(x, y):\n    return x\ndef tfcaf(state):\n    return state, state",
        body("for _getiter_ in [1]: pass"),
        body("x = [1 for _getitem_ in [1]]"),
        body("def g(*_write_, **_apply_): pass"),
        body("_operator_ = max"),
        body("(_inplacevar_, x) = 1, 2"),
    ],
)
def test_vulnerability_a_guard_is_shadowed(source: str) -> None:
    assert any(rule == "policy.underscore" for rule, _, _ in findings(source))


@pytest.mark.parametrize("name", AGENT_QS_NAMES)
def test_agent_qs_is_bound_by_any_of_its_names_in_any_place(name: str) -> None:
    assert check_source(f"def f(state, {name}):\n    return {name}\n").parameters == (
        "state",
        "agent_qs",
    )


@pytest.mark.parametrize("name", STATE_NAMES)
def test_state_is_bound_by_any_of_its_names(name: str) -> None:
    assert check_source(f"def f({name}):\n    return {name}\n").parameters == ("state",)


@pytest.mark.parametrize(
    "signature",
    [
        "x",
        "agent_qs",
        "state, agent_qs, x",
        "state, s",
        "*state",
        "state, *, agent_qs",
        "state, /",
        "",
    ],
)
def test_parameters_that_cannot_be_bound_are_refused_with_the_names_to_use(signature: str) -> None:
    found = findings(f"def tfcaf({signature}):\n    return 1")
    assert [(f[0], f[1]) for f in found] == [("policy.signature", 1)]
    assert "state" in found[0][2]


def test_parameters_with_defaults_are_left_alone() -> None:
    checked = check_source("def f(state, scale=1.0):\n    return state, state\n")
    assert checked.parameters == ("state",)


def test_the_last_top_level_function_is_the_entry() -> None:
    checked = check_source(
        "def other(state):\n    return 1\ndef credit(agent_qs, state):\n    return 2\n"
    )
    assert (checked.entry, checked.line) == ("credit", 3)


def test_a_function_called_tfcaf_is_the_entry_wherever_it_stands() -> None:
    source = (
        "def tfcaf(state):\n    return helper(state), state\ndef helper(state):\n    return state\n"
    )
    assert check_source(source).entry == "tfcaf"


@pytest.mark.parametrize(
    ("condition", "refused"),
    [
        ("state.shape[1] == 2", False),
        ("isinstance(state, torch.Tensor) and len(state.shape) == 2", False),
        ("torch.isfinite(state).all(), 'not finite'", False),
        ("n.pop() == 5.0", True),
        ("n.append(3.0) is None", True),
        ("(m := 3) == 3", True),
        ("state.zero_() is not None", True),
        ("change(n)", True),
    ],
)
def test_an_assertion_that_is_left_out_changes_nothing(condition: str, refused: bool) -> None:
    source = f"def tfcaf(state):\n    n = [1.0]\n    assert {condition}\n    return state, state\n"
    if not refused:
        check_source(source)
        return
    with pytest.raises(PolicyError) as caught:
        check_source(source)
    assert caught.value.findings[0].rule == "policy.assert"


def test_no_function_is_told_so() -> None:
    assert findings("x = 1")[0][0] == "policy.entry"


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def tfcaf(state:\n    pass", "policy.syntax"),
        ("def tfcaf(state):\nreturn 1", "policy.syntax"),
        ("x = 'abc", "policy.syntax"),
        ("def tfcaf(state):\n    return 1\n\0", "policy.syntax"),
        ("x = " + "(" * 500 + ")" * 500, "policy.syntax"),
        ("x = " + "-" * 5000 + "1", "policy.nesting"),
        ("x = a" + ".b" * 5000, "policy.nesting"),
        ("x = " + "[" * 70 + "]" * 70, "policy.nesting"),
        ("x = 1\n" * MAX_SOURCE_BYTES, "policy.size"),
        ("x = " + "9" * 10_000, "policy.syntax"),
        ("return 1\ndef tfcaf(state):\n    return 1", "policy.syntax"),
        ("def tfcaf(state, state):\n    return 1", "policy.signature"),
        ("break\ndef tfcaf(state):\n    return 1", "policy.syntax"),
    ],
)  # fmt: skip
def test_what_does_not_parse_or_compile_is_a_finding(source: str, rule: str) -> None:
    assert findings(source)[0][0] == rule


SEEDS = """
import torch, math
SCALE: float = 2.0
def helper(x, *rest, k=3, **more):
    for i, (a, b) in enumerate(zip([1, 2], [3, 4])):
        x[:, 0] += a * b % k
    return {"a": [y for y in rest if y], **more}, (yield x), lambda z: z
async def tfcaf(agent_qs, state) -> "x":
    w = F.softmax(state[..., 1:3:-1], dim=-1) @ agent_qs.T if state is not None else ...
    try:
        assert w, f"{w!r:>{SCALE}}"
    except* (ValueError, TypeError) as e:
        raise e from None
    else:
        global q; del w[0], w.x; q: int = (p := 3) ** -~+1 << 2
    match state:
        case {"a": [1, *_], **rest} | object(x=1) as y if y: pass
    with torch.no_grad() as g, g: a = b, *c = d.e[f] = not 1 < 2 <= 3 in [4] and 5
    while _: break
    else: continue
    class A(B, metaclass=C): x = 1
    return await state, print(*a, **b), printed
""".strip()  # every kind of statement and expression, to be torn to pieces


def test_a_mangled_source_is_a_finding_or_compiles_and_never_anything_else() -> None:
    rng = random.Random(0)
    tokens = re.findall(r"\s+|\w+|[^\w\s]", SEEDS)
    lines = SEEDS.split("\n")
    outcomes = set()
    for _ in range(1500):
        if rng.random() < 0.5:  # whole lines survive more often
            picked = [line for line in lines if rng.random() < 0.3]
            source = "def tfcaf(state):\n" + "\n".join(f"    {line.strip()}" for line in picked)
        else:
            kept = list(tokens)
            for _ in range(rng.randrange(1, 6)):
                kept[rng.randrange(len(kept))] = rng.choice(tokens)
            source = "".join(kept)
        try:
            check_source(source)
            outcomes.add("compiled")
        except PolicyError as error:
            outcomes.update(f.rule for f in error.findings)
    assert len(outcomes) > 10


MISTAKES = [
    # What small models get wrong, and a word that their next attempt needs to see.
    ("def f(state):\n    return torch.Softmax(state, dim=1), state", "torch.softmax"),
    ("def f(states, actions):\n    return states", "agent_qs"),
    ("class Mixer(nn.Module):\n    def forward(self, x):\n        return x", "plain function"),
    ("def f(state):\n    w = nn.Parameter(state)\n    return w, w", "trained"),
    ("def f(state):\n    w = np.random.rand(1)\n    return w, w", "np.random"),
    ("def f(state):\n    print(state.shape)\n    return state, state", "nobody reads it"),
    ("def f(state):\n    i = 0\n    while i < 3:\n        i += 1\n    return state", "range"),
    ("def f(state):\n    try:\n        pass\n    except ValueError:\n        pass", "clamp"),
    ("def f(state):\n    return state.cpu().numpy(), state", "device"),
    ("def f(state):\n    return [x.item() for x in state], state", "torch.where"),
    ("def f(state):\n    return torch.randn(3), state", "deterministic"),
    ("def f(state):\n    with torch.no_grad():\n        return state, state", "leave it out"),
    ("import random\ndef f(state):\n    return state, state", "leave it out"),
    ("weights = 1", "def tfcaf(state)"),
    ("def f(state):\n    return state, state,\n)", "syntax"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "word"), MISTAKES)
def test_the_usual_mistakes_are_answered_with_what_to_write_instead(source: str, word: str) -> None:
    assert any(word in message for _, _, message in findings(source)), findings(source)
