"""A warmed sandbox imports nothing more, whatever a candidate calls: a locked child cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EACH_NAME = """
import contextlib, json, sys
import torch
from sandbox import names
from sandbox.graph import GraphError
from sandbox.isolation import child, zygote
from sandbox.judging import TASKS

zygote.warm_up()
known = set(sys.modules)
GIVEN = (
    "x", "x, 1", "x, x", "x, 2.0", "x, dim=1", "x, 1, i", "x, 1, i, x", "x > 0, x, x", "x, x, x",
    "[x, x], dim=1", "[x, x]", "'bi,bj->bi', x, x", "x.unsqueeze(1), x.unsqueeze(2)", "x, 0, 1",
    "x, m, 1.0", "x, x, 0.5", "x, [1]", "x, [0, 1]", "x, [-1, 2]", "x, 1, 0, 1", "x, 1, (1, 2)",
    "x, 1, i[0]", "i, 2", "x, (2,)", "(2, 3)", "(2, 3), 1.0", "0.0, 1.0, 2", "2", "x[0], x[0]",
    "x, x[0]",
)
METHOD = [given[1:].lstrip(", ") for given in GIVEN if given[0] == "x" and given[1:2] in ("", ",")]
CALLS = {
    **{f"torch.{name}": GIVEN for name in names.TORCH_FUNCTIONS},
    **{f"F.{name}": GIVEN for name in names.FUNCTIONAL},
    **{f"torch.linalg.{name}": GIVEN for name in names.LINALG},
    **{f"x.{name}": METHOD for name in names.TENSOR_METHODS},
}
x = torch.tensor([[0.5, 1.0], [-1.0, 2.0], [0.3, 0.1]])
here = {"torch": torch, "F": torch.nn.functional, "x": x, "i": x.long().clamp(0, 1), "m": x > 0}


def call_of(name):
    for given in CALLS[name]:
        try:
            eval(f"{name}({given})", dict(here, x=x.clone()))
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        return f"{name}({given})"


BODY = '''
def f(agent_qs, state):
    x = agent_qs + 0.1 * state[:, :2]
    i = state[:, :2].long().clamp(0, 1)
    m = x > 0
    y = CALL
    y = y[0] if isinstance(y, (tuple, list)) else y
    return agent_qs.sum(1, True) + 0.0 * y.float().reshape(state.shape[0], -1)[:, :1]
'''
numbers = [[0.5, 1.0], [-1.0, 2.0]]
exported = 0
for call in filter(None, map(call_of, CALLS)):
    task = {"n_agents": 2, "state_dim": 2, "schema_hash": ""}
    answer, function = child.judge({**task, "code": BODY.replace("CALL", call)})
    if function is None:
        continue
    exported += 1
    child._evidence(function, [{"agent_qs": numbers, "state": numbers}])
    run = {"graph": answer["graph"], "agent_qs": numbers, "states": numbers, "rows": 3}
    with contextlib.suppress(GraphError):  # some reach from one row into another
        TASKS["rehearse"](run)
print(json.dumps({"exported": exported, "late": sorted(set(sys.modules) - known)}))
"""


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_no_listed_name_makes_torch_import_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EACH_NAME], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["late"] == []
    assert found["exported"] >= 220


_ORDER = """
import sys, torch
from torch._subclasses.fake_tensor import FakeTensorMode
sys.path.insert(0, sys.argv[1])
grad, enter, seen = torch.autograd.grad, FakeTensorMode.__enter__, []
torch.autograd.grad = lambda *a, **k: (seen.append("gradient"), grad(*a, **k))[1]
FakeTensorMode.__enter__ = lambda self: (seen.append("fake"), enter(self))[1]
from sandbox.isolation.zygote import warm_up
warm_up()
print(seen[0], seen.count("fake") > 0)
"""


def test_the_first_gradient_comes_before_any_fake_tensor() -> None:
    """Where torch is built for CUDA, autograd starts a thread for every GPU that fake tensors
    feign, and no child could compute a gradient."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-P", "-c", _ORDER, root]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert said.stdout.split() == ["gradient", "True"]
