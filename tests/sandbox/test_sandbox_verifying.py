"""Somebody else's certificate: every claim is compared with what is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prompts.cards import load_card
from sandbox.certificate import DamagedCertificateError, read_document, read_tfcaf, save_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.reading import read_graph
from sandbox.verifying import in_unit_of, verify

CARD = load_card("matrix/climbing").in_unit(4)
SOURCE = "def f(state):\n    return 1.0 + state.abs(), 0.5 * state[:, :1]\n"


@pytest.fixture(scope="module")
def saved(warm_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a certificate as it was written."""
    report = warm_sandbox.check(SOURCE, CARD, GateConfig())
    return save_tfcaf(tmp_path_factory.mktemp("saved"), report, CARD).read_text()


def failing(saved: str, folder: Path, box: Sandbox, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Names of the claims that do not hold once the file was changed."""
    document = json.loads(saved)
    change(document)
    path = folder / "x.tfcaf.json"
    path.write_text(json.dumps(document))
    return [r.name for r in verify(read_tfcaf(path, CARD), CARD, box) if not r.holds]


def _boast(document: dict[str, Any]) -> None:
    document["claims"].update(igm="proved", q_bound=1e30, row_bytes=1)
    document["claims"].update(weight_bounds=[[1, 2], [1, 2]])
    document.update(mathematics="q_tot = Q_0")


def _belittle(document: dict[str, Any]) -> None:
    document["claims"].update(igm="tested", finite="tested", linear_in_q=False, row_bytes=10**9)
    document["claims"].update(q_bound=1.0, weight_bounds=[[0, 100], [None, None]])
    for claimed in document["claims"]["properties"]:
        claimed.update(status="warn")


def test_every_claim_of_an_honest_certificate_holds(
    saved: str, tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    path = tmp_path / "x.tfcaf.json"
    path.write_text(saved)
    card = in_unit_of(read_document(path), load_card("matrix/climbing"))
    results = verify(read_tfcaf(path, card), card, warm_sandbox)
    assert all(r.holds for r in results)
    claimed = json.loads(saved)["claims"]
    assert len(results) == 4 + len(claimed) - 2 + len(claimed["properties"])  # seed is no claim
    assert {r.name for r in results} >= {"source", "mathematics", "igm", "weights", "range of Q"}


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (_boast, ["mathematics", "igm", "range of Q", "memory", "weights"]),
        (lambda d: d["claims"].update(weight_bounds=[]), ["weights"]),
        (lambda d: d.update(source=SOURCE.replace("0.5", "0.6")), ["source"]),
        (lambda d: d.update(source="def f(state):\n    while True: pass\n"), ["source"]),
        (
            lambda d: d["claims"]["properties"].append({"name": "optimal", "status": "proved"}),
            ["property optimal"],
        ),
        (
            lambda d: [p.update(status="proved") for p in d["claims"]["properties"]],
            None,
        ),
    ],
)
def test_a_claim_that_is_not_so_is_named(
    change: Callable[[dict[str, Any]], Any],
    failed: list[str] | None,
    saved: str,
    tmp_path: Path,
    warm_sandbox: Sandbox,
) -> None:
    found = failing(saved, tmp_path, warm_sandbox, change)
    if failed is None:
        assert "property deterministic" in found
        assert "property monotone" not in found
    else:
        assert found == failed


@pytest.mark.parametrize("change", [_belittle, lambda d: d.update(claims={}, source="")])
def test_a_weaker_claim_holds(
    change: Callable[[dict[str, Any]], Any], saved: str, tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    assert failing(saved, tmp_path, warm_sandbox, change) == []


def test_a_function_that_breaks_a_property_fails_its_verdict(
    tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    """A graph whose weights may be negative, dressed up as one that was accepted under enforce."""
    relaxed = "def f(agent_qs, state):\n    return (agent_qs * (state - 3)).sum(1, keepdim=True)\n"
    report = warm_sandbox.check(relaxed, CARD, GateConfig(mode="relax"))
    path = save_tfcaf(tmp_path, report, CARD)
    document = json.loads(path.read_text())
    document["graph"]["gate"]["mode"] = "enforce"
    document["graph_hash"] = read_graph(document["graph"]).graph_hash
    document["claims"]["igm"] = "proved"
    path.write_text(json.dumps(document))
    found = {r.name: r for r in verify(read_tfcaf(path, CARD), CARD, warm_sandbox)}
    assert not found["verdict"].holds
    assert not found["igm"].holds


@pytest.mark.parametrize(
    "claims", [7, {"q_bound": "high"}, {"properties": [{"name": 1}]}, {"weight_bounds": [[1]]}]
)
def test_claims_of_another_shape_are_damage(
    claims: object, saved: str, tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    with pytest.raises(DamagedCertificateError, match="is damaged: claims"):
        failing(saved, tmp_path, warm_sandbox, lambda d: d.update(claims=claims))


def test_a_unit_of_q_that_makes_no_sense_is_left_aside() -> None:
    for scale in (None, "4", True, 0, -1, 1e-320, 10**400, float("inf"), float("nan")):
        card = load_card("matrix/climbing")
        assert in_unit_of({"reward_scale": scale}, card) == card
    assert in_unit_of({"reward_scale": 4.0}, card) == CARD
