"""A certificate is a claim: loading judges the graph anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts.cards import load_card
from sandbox.certificate import CertificateError, load_tfcaf, save_tfcaf
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.reading import read_graph
from sandbox.runtime import CreditFunction

CARD = load_card("matrix/climbing")
WEIGHTS = "def f(state):\n    return 1.0 + state.abs(), 0.5 * state[:, :1]\n"
MIXING = "def f(agent_qs, state):\n    return agent_qs.mean(1, keepdim=True)\n"

GATES = [
    GateConfig(),
    GateConfig(function="softmax", scale_by_agents=True),
    GateConfig(mode="relax", scale_by_agents=True),
]


def _saved(box: Sandbox, folder: Path, source: str, gate: GateConfig) -> Path:
    return save_tfcaf(folder, box.check(source, CARD, gate), CARD)


def _edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("source", [WEIGHTS, MIXING])
def test_what_is_loaded_is_what_was_checked(
    source: str, gate: GateConfig, tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    report = warm_sandbox.check(source, CARD, gate)
    assert report.graph is not None
    graph = load_tfcaf(save_tfcaf(tmp_path, report, CARD), CARD, warm_sandbox).graph
    assert graph is not None
    qs, state = torch.randn(5, 2), torch.randint(-1, 3, (5, 2)).float()
    assert torch.equal(CreditFunction(graph)(qs, state), CreditFunction(report.graph)(qs, state))


def test_a_certificate_names_the_unit_of_q_and_is_refused_in_another(
    tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    card = CARD.in_unit(4)
    path = save_tfcaf(tmp_path, warm_sandbox.check(WEIGHTS, card, GateConfig()), card)
    document = json.loads(path.read_text())
    assert (document["reward_scale"], document["claims"]["q_bound"]) == (4, 256)
    assert load_tfcaf(path, card, warm_sandbox).q_bound == 256
    with pytest.raises(CertificateError, match=r"made for rewards divided by 4, and .* by 8"):
        load_tfcaf(path, CARD.in_unit(8), warm_sandbox)
    # One without a unit is of a version that knew raw rewards only.
    _edit(path, lambda d: d.pop("reward_scale"))
    assert load_tfcaf(path, CARD, warm_sandbox).q_bound == 1024
    with pytest.raises(CertificateError, match="check its source again"):
        load_tfcaf(path, card, warm_sandbox)


def test_edited_claims_gain_nothing(tmp_path: Path, warm_sandbox: Sandbox) -> None:
    path = _saved(warm_sandbox, tmp_path, WEIGHTS, GateConfig())
    _edit(path, lambda d: d["claims"].update(igm="proved", finite="proved", q_bound=1e30))
    loaded = load_tfcaf(path, CARD, warm_sandbox)
    assert (loaded.igm, loaded.q_bound) == ("by-gate", CARD.q_bound())


def test_an_edited_graph_is_judged_anew(tmp_path: Path, warm_sandbox: Sandbox) -> None:
    """A sign slipped into a mixing form, with the hash made to match, is found out again."""
    path = _saved(warm_sandbox, tmp_path, MIXING, GateConfig())

    def negate(document: dict[str, Any]) -> None:
        graph = document["graph"]
        graph["operations"].append({"op": "aten.neg.default", "args": [graph["outputs"]["q_tot"]]})
        graph["outputs"]["q_tot"] = {"value": 1 + len(graph["operations"])}
        document.update(graph_hash=read_graph(graph).graph_hash, source="")

    _edit(path, negate)
    with pytest.raises(CertificateError, match="lowers q_tot"):
        load_tfcaf(path, CARD, warm_sandbox)


def test_weights_that_bypass_their_gate_are_refused(tmp_path: Path, warm_sandbox: Sandbox) -> None:
    path = _saved(warm_sandbox, tmp_path, WEIGHTS, GateConfig(mode="relax"))
    _edit(path, lambda d: d["graph"]["gate"].update(mode="enforce", function="softplus"))
    with pytest.raises(CertificateError, match="gate"):
        load_tfcaf(path, CARD, warm_sandbox)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.write_text(p.read_text()[:-200]), "no JSON"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "no UTF-8 text"),
        (lambda p: p.write_text("[]"), "not a qllm-tfcaf"),
        (lambda p: p.unlink(), "cannot be read"),
        (lambda p: _edit(p, lambda d: d.update(version=99)), "version"),
        (lambda p: _edit(p, lambda d: d.update(graph_hash="0" * 64)), "damaged"),
        (lambda p: _edit(p, lambda d: d.update(schema_hash="x")), "made for task"),
        (lambda p: _edit(p, lambda d: d.update(graph={"op": "os.system"})), "no valid"),
        (lambda p: _edit(p, lambda d: d["graph"].update(gate=None)), "no valid"),
        (lambda p: _edit(p, lambda d: d["graph"].update(schema_hash="x")), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    damage: Any, said: str, tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    path = _saved(warm_sandbox, tmp_path, WEIGHTS, GateConfig())
    damage(path)
    with pytest.raises(CertificateError, match=said) as caught:
        load_tfcaf(path, CARD, warm_sandbox)
    assert "\n" not in str(caught.value)


def test_a_certificate_of_another_task_is_refused(tmp_path: Path, warm_sandbox: Sandbox) -> None:
    path = _saved(warm_sandbox, tmp_path, WEIGHTS, GateConfig())
    with pytest.raises(CertificateError, match="climbing"):
        load_tfcaf(path, load_card("matrix/penalty-25"), warm_sandbox)


def test_a_rejected_candidate_has_no_certificate(tmp_path: Path, warm_sandbox: Sandbox) -> None:
    with pytest.raises(CertificateError):
        save_tfcaf(tmp_path, warm_sandbox.check("nonsense", CARD), CARD)
    assert not list(tmp_path.iterdir())


def test_a_source_that_does_not_lead_to_the_graph_is_refused(
    tmp_path: Path, warm_sandbox: Sandbox
) -> None:
    card = load_card("matrix/climbing")
    report = warm_sandbox.check("def f(agent_qs, state):\n    return agent_qs.sum(1, True)\n", card)
    path = save_tfcaf(tmp_path, report, card)
    assert load_tfcaf(path, card, warm_sandbox).code == report.code
    text = path.read_text()
    for other in ("2 * agent_qs.sum(1, True)", "agent_qs.nonsense()"):
        path.write_text(text.replace("agent_qs.sum(1, True)", other))
        with pytest.raises(CertificateError, match="does not lead to its graph"):
            load_tfcaf(path, card, warm_sandbox)
