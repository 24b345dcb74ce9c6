"""What is suggested for a machine, and the data that it is suggested from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.admin.suggesting import (
    HEADERS,
    Suggestion,
    document_of,
    room,
    rows_of,
    shortlist,
    suggestions,
)
from models.families import FAMILIES, Family, Size, read_families
from models.memory import GIB, Device, cache_of, fit_of, need_of

ROOT = Path(__file__).resolve().parents[2]
CPU = Device("cpu", 32 * GIB, 20 * GIB)


def gpu(gib: int) -> Device:
    return Device("a GPU", gib * GIB, gib * GIB)


def by_name(found: list[Suggestion]) -> dict[str, Suggestion]:
    return {s.size.name: s for s in found}


# --- the data -------------------------------------------------------------------------------------


def test_the_data_names_each_model_once_and_no_place_to_get_it() -> None:
    names = [size.name for family in FAMILIES for size in family.sizes]
    assert len(set(names)) == len(names)
    text = (ROOT / "models" / "families.yaml").read_text(encoding="utf-8")
    assert not re.search(r"https?:|www\.|\b[\w-]+\.(?:com|org|net|co|io|ai|cn)\b|\w/\w+-\d", text)


def test_every_size_is_recognised_as_its_own_family() -> None:
    for family in FAMILIES:
        for size in family.sizes:
            name = size.name.replace("R1-Distill", "DeepSeek-R1-Distill")
            assert re.search(family.names, name, re.IGNORECASE), name
        assert [s.total_b for s in family.sizes] == sorted(s.total_b for s in family.sizes)
        assert all((s.active_b or 0) < s.total_b for s in family.sizes)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (
            "Qwen2.5-Coder-7B",
            {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
            | {"hidden_size": 3584},
        ),
        (
            "GLM-4.7-Flash",
            {"num_hidden_layers": 47, "num_attention_heads": 20, "kv_lora_rank": 512}
            | {"qk_rope_head_dim": 64, "hidden_size": 2048},
        ),
        (
            "gpt-oss-20b",
            {"num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8}
            | {"head_dim": 64, "sliding_window": 128}
            | {"layer_types": ["sliding_attention", "full_attention"] * 12},
        ),
        (
            "Gemma-3-27B",
            {"num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16}
            | {"head_dim": 128, "sliding_window": 1024, "sliding_window_pattern": 6},
        ),
        (
            "Qwen3.6-27B",
            {"num_hidden_layers": 64, "num_attention_heads": 24, "num_key_value_heads": 4}
            | {"head_dim": 256, "layer_types": ["linear_attention"] * 48 + ["full_attention"] * 16},
        ),
        (
            "Granite-4.0-H-Small",
            {"num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8}
            | {"hidden_size": 4096, "layer_types": ["mamba"] * 36 + ["attention"] * 4},
        ),
    ],
)
def test_keys_and_values_are_those_of_the_published_configuration(
    name: str, config: dict[str, object]
) -> None:
    (size,) = (s for f in FAMILIES for s in f.sizes if s.name == name)
    assert size.cache == cache_of(config)


def test_an_unknown_key_of_the_data_is_refused(tmp_path: Path) -> None:
    entry = "- {key: a, title: A, model_types: [a], licence: MIT, good_for: x, verified: true"
    path = tmp_path / "families.yaml"
    path.write_text(f"{entry}, sizes: []}}\n")
    (family,) = read_families(path)
    assert family == Family(
        key="a",
        title="A",
        model_types=frozenset({"a"}),
        licence="MIT",
        good_for="x",
        verified=True,
        sizes=(),
    )
    path.write_text(f"{entry}, sizes: [], lisense: MIT}}\n")
    with pytest.raises(ValidationError, match="lisense"):
        read_families(path)


def test_the_page_has_the_table_of_the_data() -> None:
    thinks = {"no": "no", "switch": "switched off", "always": "always"}
    table = ["| family | better as | thinks | licence | good for |", "|---|---|---|---|---|"]
    for f in FAMILIES:
        licences = [f.licence, *sorted({s.licence for s in f.sizes} - {""})]
        mark = "" if f.verified else " (not verified)"
        table.append(
            f"| {f.title}{mark} | {f.roles[0]} | {thinks[f.thinks]} | {', '.join(licences)}"
            f" | {f.good_for} |"
        )
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert "\n".join(table) in page, "docs/models.md should have:\n" + "\n".join(table)


# --- what fits ------------------------------------------------------------------------------------


def test_a_model_is_suggested_at_the_most_bits_that_fit() -> None:
    large, middle, small = (by_name(suggestions((gpu(n), CPU))) for n in (80, 24, 8))
    assert large["Qwen2.5-Coder-32B"].bits == 16
    assert middle["Qwen2.5-Coder-7B"].bits == 16
    assert middle["Qwen2.5-Coder-14B"].bits == 4
    assert small["Qwen2.5-Coder-1.5B"].bits == 16
    assert "Qwen2.5-Coder-7B" not in small
    assert large["gpt-oss-20b"].bits == 4  # it comes in no other


def test_what_is_suggested_fits_as_show_says_it() -> None:
    here = (gpu(24), CPU)
    found = suggestions(here)
    assert found
    for s in found:
        assert s.need == need_of(s.size.weight_bytes(s.bits), s.size.cache, s.family.context_tokens)
        assert s.need.overhead == int(1.5 * GIB)
        assert fit_of(s.need, here).fits


def test_main_memory_counts_only_without_a_gpu() -> None:
    assert room((CPU,)) == (CPU, 32 * GIB)
    assert room((gpu(16), gpu(24), CPU)) == (gpu(24), int(24 * GIB * 0.9))
    assert len(suggestions((gpu(8), CPU))) < len(suggestions((CPU,)))
    assert suggestions((gpu(2), CPU)) == []


def test_small_coders_are_advised_a_grammar() -> None:
    found = by_name(suggestions((gpu(80), CPU)))
    assert found["Qwen2.5-Coder-7B"].constraint == "none"
    assert found["Qwen2.5-Coder-3B"].constraint == "guided"
    assert "synth.constraint=guided" in found["Qwen2.5-Coder-3B"].advice
    assert found["Qwen2.5-Coder-3B"].licence == "Qwen research"
    assert found["Qwen2.5-Coder-7B"].licence == "Apache-2.0"


def test_coders_come_first_and_the_largest_of_a_role() -> None:
    found = suggestions((gpu(80), CPU))
    order = [(s.family.roles[0] != "coder", -s.size.total_b) for s in found]
    assert order == sorted(order)


def test_of_a_family_the_largest_of_each_precision_is_listed() -> None:
    short = shortlist(suggestions((gpu(24), CPU)))
    coders = [s for s in short if s.family.key == "qwen2.5-coder"]
    assert [(s.size.name, s.bits) for s in coders] == [
        ("Qwen2.5-Coder-14B", 4),
        ("Qwen2.5-Coder-7B", 16),
    ]
    # Where the largest fits at 16 bits, no smaller one is listed.
    whole = [s for s in shortlist(suggestions((gpu(80), CPU))) if s.family.key == "qwen2.5-coder"]
    assert [(s.size.name, s.bits) for s in whole] == [("Qwen2.5-Coder-32B", 16)]


def test_the_table_fits_80_columns_whatever_fits() -> None:
    every = [
        Suggestion(f, s, b, need_of(s.weight_bytes(b), s.cache, f.context_tokens))
        for f in FAMILIES
        for s in f.sizes
        for b in s.bits
    ]
    rows = [HEADERS, *rows_of(every)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADERS))]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
    starred = {row[0].removesuffix(" *") for row in rows if row[0].endswith(" *")}
    assert starred == {s.name for f in FAMILIES if not f.verified for s in f.sizes}


def test_the_document_keeps_its_shape() -> None:
    document = document_of((gpu(24), CPU))
    assert list(document) == ["device", "room_bytes", "suggestions"]
    assert document["device"] == {
        "kind": "cuda",
        "name": "a GPU",
        "total_bytes": 24 * GIB,
        "free_bytes": 24 * GIB,
    }
    keys = (
        "family title model parameters_b active_b precision needs_bytes weights_bytes cache_bytes"
        " overhead_bytes context_tokens licence role thinks constraint advice good_for note"
        " verified"
    )
    assert {tuple(one) for one in document["suggestions"]} == {tuple(keys.split())}
    sums = [
        one["weights_bytes"] + one["cache_bytes"] + one["overhead_bytes"] - one["needs_bytes"]
        for one in document["suggestions"]
    ]
    assert set(sums) == {0}


def test_weights_are_two_bytes_a_parameter_or_an_estimate() -> None:
    size = Size(name="x", total_b=7.62, kv=(28, 4, 128))
    assert size.weight_bytes(16) == 15_240_000_000
    assert size.weight_bytes(4) == pytest.approx(5.57e9, rel=1 / 6)  # an AWQ file of that size
