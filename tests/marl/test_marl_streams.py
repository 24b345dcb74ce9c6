"""Random streams: right numbers, independent of the batch, resumable."""

from __future__ import annotations

import pytest
import torch

from marl.streams import Streams, derive_seed

ALL = (1 << 64) - 1


def reference_mix(z: int) -> int:
    """SplitMix64's finaliser on Python's integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ALL
    return z ^ (z >> 31)


def test_numbers_equal_a_reference_on_unbounded_integers() -> None:
    golden, seed = 0x9E3779B97F4A7C15, 42
    drawn = Streams(seed, rows=3).uniform(5, dtype=torch.float64)
    root = reference_mix(derive_seed(seed, "streams"))
    for row in range(3):
        key = reference_mix((root + (row + 1) * golden) & ALL)
        for k in range(5):
            bits = reference_mix((key + (k + 1) * golden) & ALL)
            assert drawn[row, k].item() == (bits >> 11) * 2.0**-53


def test_a_row_does_not_depend_on_how_many_rows_there_are() -> None:
    few, many = Streams(7, 2), Streams(7, 9)
    for shape in ((), (3,), (2, 2)):
        assert torch.equal(few.uniform(*shape), many.uniform(*shape)[:2])


def test_a_masked_stream_does_not_advance() -> None:
    streams, plain = Streams(1, 2), Streams(1, 2)
    streams.uniform(4, mask=torch.tensor([True, False]))
    later, first = streams.uniform(4), plain.uniform(8)
    assert torch.equal(later[0], first[0, 4:])
    assert torch.equal(later[1], first[1, :4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_uniform_in_zero_to_one(dtype: torch.dtype) -> None:
    drawn = Streams(3, 500).uniform(1000, dtype=dtype)
    assert drawn.dtype == dtype
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = torch.histc(drawn.float(), bins=100, min=0, max=1)
    expected = drawn.numel() / 100
    # chi-squared with 99 degrees of freedom: 180 is beyond one in a million
    assert ((counts - expected) ** 2 / expected).sum() < 180
    neighbours = torch.corrcoef(torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()]))[0, 1]
    assert neighbours.abs() < 0.01


def test_streams_continue_where_their_state_was_taken() -> None:
    streams = Streams(5, 3)
    streams.uniform(2)
    state = streams.state_dict()
    expected = streams.uniform(4)
    other = Streams(5, 3)
    other.load_state_dict(state)
    assert torch.equal(other.uniform(4), expected)


def test_state_of_another_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="3 counters for 2 rows"):
        Streams(5, 2).load_state_dict(Streams(5, 3).state_dict())


def test_derived_seeds_differ_by_seed_and_purpose() -> None:
    seeds = {derive_seed(s, p, i) for s in range(5) for p in ("a", "b") for i in range(5)}
    assert len(seeds) == 50
    assert derive_seed(1, "a") == derive_seed(1, "a")
    assert all(0 <= s < 2**63 for s in seeds)
