"""The synthesis' settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from synth.config import PILOT_SEED_BASE, SynthConfig


def test_every_field_is_described() -> None:
    assert all(field.description for field in SynthConfig.model_fields.values())


def test_unknown_keys_and_impossible_values_are_refused() -> None:
    with pytest.raises(ValidationError, match="rouns"):
        SynthConfig.model_validate({"rouns": 3})
    for wrong in ({"rounds": 0}, {"candidates": 0}, {"temperature": -1}, {"evaluator": "best"}):
        with pytest.raises(ValidationError):
            SynthConfig.model_validate(wrong)


def test_pilot_seeds_are_distinct_and_far_from_what_people_type() -> None:
    configs = [SynthConfig(seed=seed, pilot_seeds=9) for seed in range(5)]
    seeds = [s for config in configs for s in config.pilot_seed_values()]
    assert len(set(seeds)) == 45
    assert min(seeds) >= PILOT_SEED_BASE
