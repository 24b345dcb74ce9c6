"""What a candidate reaches at run time, and what it does not."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

from sandbox import guards, names
from sandbox.facade import make_namespace
from sandbox.findings import PolicyError
from sandbox.guards import CandidateError, Namespace, guarded_getattr
from sandbox.policy import check_source


def run(*lines: str, **given: Any) -> Any:
    """The value of ``out`` after these lines, run eagerly under policy and facade."""
    source = "\n".join(["def helper(state):", *(f"    {line}" for line in lines), "    return out"])
    source += "\ndef tfcaf(state):\n    return helper(state)\n"
    namespace = make_namespace()
    exec(check_source(source).code, namespace)  # noqa: S102 - under the policy, ours
    return namespace["tfcaf"](given.get("state", torch.ones(3, 2)))


def refusal(*lines: str) -> CandidateError:
    """The error that these lines run into."""
    with pytest.raises(CandidateError) as caught:
        run("out = 1", *lines)
    return caught.value


def reachable(value: Any, depth: int = 0) -> list[Any]:
    """Everything that plain containers and namespaces hold."""
    found = [value]
    if isinstance(value, Namespace):
        for name in value._members:
            found += reachable(value.member(name), depth + 1)
    elif isinstance(value, dict):
        for inner in value.values():
            found += reachable(inner, depth + 1)
    return found


def test_no_module_and_no_dangerous_builtin_can_be_reached() -> None:
    everything = reachable(make_namespace())
    assert len(everything) > 200
    assert not [x for x in everything if isinstance(x, types.ModuleType)]
    builtins = make_namespace()["__builtins__"]
    forbidden = {"eval", "exec", "open", "getattr", "setattr", "type", "object", "vars", "compile"}
    assert forbidden.isdisjoint(builtins)


def test_every_listed_name_is_there_and_no_other() -> None:
    namespace = make_namespace()
    torch_names = {*names.TORCH_FUNCTIONS, *names.TORCH_DTYPES, *names.TORCH_CONSTANTS}
    assert set(namespace["torch"]._members) == torch_names | {"nn", "linalg", "Tensor"}
    assert set(namespace["F"]._members) == set(names.FUNCTIONAL)
    assert set(namespace["math"]._members) == set(names.MATH)
    assert set(namespace["__builtins__"]) == {*names.BUILTINS, "__import__"}
    for name in (*names.TENSOR_METHODS, *names.TENSOR_ATTRIBUTES):
        assert hasattr(torch.Tensor, name), name


def test_the_names_in_the_prompt_are_there() -> None:
    for title, listed in names._ESSENTIALS:
        known = names.TORCH_FUNCTIONS if title == "torch.*" else names.TENSOR_METHODS
        assert set(listed) <= set(known)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch, "abs"),
        (torch.max(torch.ones(2, 2), dim=1), "n_fields"),
        (torch.max(torch.ones(2, 2), dim=1), "__class__"),
        (torch.ones(2).shape, "__reduce__"),
        (torch.ones(2), "untyped_storage"),
        (torch.ones(2), "data_ptr"),
        (torch.ones(2), "__torch_function__"),
        (torch.ones(2), "apply_"),
        (torch.ones(2), "map_"),
        (torch.float32, "to_real"),
        (torch.device("cpu"), "type"),
        ((x for x in [1]), "gi_frame"),
        ((x for x in [1]), "send"),
        (len, "__self__"),
        ("text", "format"),
        (dict, "fromkeys"),
        ({}, "pop"),
        ([], "sort"),
        (ValueError(1), "__traceback__"),
        (guards.guarded_getattr, "__globals__"),
        (enumerate([1]), "__reduce__"),
        (slice(1), "indices"),
        (1, "real"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_vulnerability_an_attribute_that_is_not_listed(value: Any, name: str) -> None:
    with pytest.raises(CandidateError):
        guarded_getattr(value, name)


def test_listed_attributes_of_small_objects_work() -> None:
    assert run("r = torch.max(state, dim=1)", "out = r.values.sum() + r.indices.sum()") == 3
    assert run("d = {'a': 1}", "d.update({'b': 2})", "out = sum([v for k, v in d.items()])") == 3
    assert run("out = state.shape.numel() + state.size(0)") == 9
    assert run("x = [1]", "x.append(2)", "x[0] = 5", "out = (x, x.index(2))") == ([5, 2], 1)


def test_near_names_are_told() -> None:
    assert "softmax" in refusal("state.softmx(1)").message
    assert "tanh" in refusal("t = torch", "t.tanhh(state)").message


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("torch.abs(state, out=state)", "policy.keyword"),
        ("torch.ones(2, requires_grad=True)", "policy.keyword"),
        ("torch.ones(2, pin_memory=True)", "policy.keyword"),
        ("torch.abs(**{'input': state, 'out': state})", "policy.keyword"),
        ("F.relu(state, True)", "policy.keyword"),
        ("F.relu(*[state, True])", "policy.keyword"),
        ("F.elu(state, inplace=True)", "policy.keyword"),
        ("torch.where(state > 0)", "export.data_dependent"),
        ("x = state[state > 0]", "export.data_dependent"),
        ("x = float(state.sum())", "export.branch"),
        ("x = int(state.sum())", "export.branch"),
        ("x = bool(state.sum())", "export.branch"),
        ("for i in range(state.sum()): pass", "export.branch"),
        ("x = max(state, state)", "export.branch"),
        ("x = min([state, state])", "export.branch"),
        ("x = math.sqrt(state)", "export.math"),
        ("x = 'a%s' % state", "policy.format"),
        ("s = '%s'", "policy.operator"),
        ("x = int('3')", "policy.format"),
        ("x = 9 ** 9 ** 9", "policy.number"),
        ("x = 1 << 10000", "policy.number"),
        ("x = pow(9, 999)", "policy.number"),
        ("x = [0] * 10 ** 9", "export.loop"),
        ("x = 'a' * 10 ** 9", "export.loop"),
        ("x = 10 ** 9 * (1, 2)", "export.loop"),
        ("for i in range(10 ** 9): pass", "export.loop"),
        ("x = [j for i in range(300) for j in range(300)]", "export.loop"),
        ("torch['abs'] = 1", "policy.write"),
        ("state.shape[0] = 1", "policy.write"),
        ("x = torch[0]", "policy.item"),
    ],
)
def test_vulnerability_a_call_that_reaches_too_far(line: str, rule: str) -> None:
    more = ["s %= state"] if line == "s = '%s'" else []
    error = refusal(line, *more)
    assert error.rule == rule
    assert len(error.message) > 20


def test_arithmetic_is_left_alone() -> None:
    assert run("out = (7 % 4, 2 ** 10, 2 ** -1, 1 << 3, 3 * 1.5, [1] * 2)") == (
        3, 1024, 0.5, 8, 4.5, [1, 1],
    )  # fmt: skip
    assert torch.equal(run("out = (state * 3) % 2"), torch.ones(3, 2))
    assert run("x = 7", "x %= 4", "x **= 2", "x *= 2", "out = x") == 18
    assert torch.equal(
        run("x = state.clone()", "x *= 3", "x **= 2", "out = x"), 9 * torch.ones(3, 2)
    )


def test_numbers_cannot_be_grown_by_repeated_multiplication() -> None:
    error = refusal("x = 3", "for i in range(60):", "    x = x * x")
    assert error.rule == "policy.number"


def test_the_loop_budget_is_one_for_the_whole_candidate() -> None:
    outer = ["for i in range(15000):", "    pass"]
    assert run(*outer, "out = 1") == 1
    assert refusal(*outer, *outer).rule == "export.loop"


def test_the_guarded_import_serves_only_what_was_imported_before() -> None:
    guarded = make_namespace()["__builtins__"]["__import__"]
    assert guarded("torch").__name__ == "torch"
    for name in ("os", "subprocess", "torch.utils.cpp_extension.missing", "builtins"):
        with pytest.raises(CandidateError):
            guarded(name)


@pytest.mark.parametrize(
    "expression",
    [
        "isinstance(1, int)",
        "isinstance(True, int)",
        "isinstance(1, bool)",
        "isinstance(0.5, int)",
        "isinstance(1, float)",
        "isinstance(1.0, float)",
        "isinstance([], list)",
        "isinstance((), list)",
        "isinstance((), tuple)",
        "isinstance({}, (dict, set))",
        "isinstance([], int)",
        "isinstance(range(2), range)",
        "isinstance(state, torch.Tensor)",
        "isinstance(state.shape, tuple)",
        "isinstance(state.shape[0], (int, float))",
        "isinstance(state.shape[0] / 2, float)",
    ],
)
def test_isinstance_means_what_it_means_in_python(expression: str) -> None:
    plain = eval(expression, {"torch": torch, "state": torch.ones(3, 2)})  # noqa: S307 - ours
    assert run(f"out = {expression}") is plain


@pytest.mark.parametrize("kind", ["torch.float32", "1", "helper", "len"])
def test_isinstance_of_what_is_no_type_is_refused(kind: str) -> None:
    assert refusal(f"x = isinstance(1, {kind})").rule == "export.isinstance"


def test_vulnerability_the_tensor_type_makes_nothing() -> None:
    assert refusal("x = torch.Tensor(3)").rule == "policy.torch"
    assert refusal("t = torch.Tensor", "t.tensor").rule == "policy.attribute"


@pytest.mark.parametrize("line", ["x = state is state", "x = 1 is not state", "x = state is 1 > 0"])
def test_identity_of_a_tensor_is_refused(line: str) -> None:
    if line.endswith("> 0"):
        with pytest.raises(PolicyError, match="chain"):
            run(line)
        return
    assert refusal(line).rule == "policy.is"


def test_identity_of_plain_values_is_left_alone() -> None:
    assert run("out = (state is None, state is not None, (1 > 0) is True, None is None)") == (
        False, True, True, True,
    )  # fmt: skip


def test_numpy_names_mean_their_torch_functions() -> None:
    from sandbox import names
    from sandbox.facade import make_namespace

    np = make_namespace()["np"]
    x = torch.tensor([[3.0, -1.0, 2.0]])
    assert np.member("max")(x, axis=1).tolist() == [3.0]
    assert np.member("sum")(x, axis=1, keepdims=True).tolist() == [[4.0]]
    assert np.member("clip")(x, 0.0, 2.5).tolist() == [[2.5, 0.0, 2.0]]
    assert {"std", "var", "sort", "transpose", "random"}.isdisjoint(names.NUMPY)


def test_float_takes_the_names_of_special_numbers_and_no_other_text() -> None:
    to_float = make_namespace()["__builtins__"]["float"]
    assert to_float("-inf") == float("-inf")
    with pytest.raises(CandidateError):
        to_float("1e5")
