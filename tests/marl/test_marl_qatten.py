"""Qatten's penalty on the attention's logits; the mixer is in test_marl_mixers_slow.py."""

from __future__ import annotations

import pytest
import torch
from marl_loops import SIZES, made_with, ragged

from marl.algorithms.base import TaskSizes
from marl.algorithms.qatten import QattenMixer
from marl.batch import Batch
from marl.settings.algorithms import QattenConfig

SMALL = QattenConfig(heads=2, embed_dim=4, hypernet_dim=5)


def test_the_penalty_is_the_mean_square_of_the_logits_of_steps_that_happened() -> None:
    made, episodes = made_with(SMALL.model_copy(update={"logit_penalty": 0.5})), ragged()
    plain = made_with(SMALL.model_copy(update={"logit_penalty": 0.0}))
    query, key, squares = made.mixer.query, made.mixer.key, [[], []]
    for e in range(episodes.count):
        for t in range(int(episodes.lengths()[e])):
            state = episodes.state[e, t]
            for head in range(2):
                x = (state @ query.weights[0][head] + query.biases[0][head, 0]).clamp(min=0)
                x = x @ query.weights[1][head]
                squares[head] += [(x @ key[head, :, i]).item() ** 2 for i in range(SIZES.n_agents)]
    penalty = sum(sum(found) / len(found) for found in squares)
    batch = Batch.of(episodes)
    loss = made.loss("q", batch)
    assert loss.metrics["logit_penalty"].item() == pytest.approx(penalty)
    without = plain.loss("q", batch)
    assert (loss.value - without.value).item() == pytest.approx(0.5 * penalty)
    assert "logit_penalty" not in without.metrics


def test_attention_is_the_softmax_of_the_scaled_logits() -> None:
    torch.manual_seed(0)
    mixer = QattenMixer(SMALL, TaskSizes(3, 4, 7, ((0, 4), (1, 5), (3, 2))))
    state = torch.randn(6, 7)
    expected = (mixer.logits(state) / SMALL.embed_dim**0.5).softmax(-1)
    torch.testing.assert_close(mixer.attention(state), expected)
