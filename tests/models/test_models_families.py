"""Presets, and the memory that a model needs, held against published configurations.

The configurations below are the numbers of each model's own config.json; the bytes were worked out
by hand from ``2 x layers x kv_heads x head_dim x 2`` and written as products.
"""

from __future__ import annotations

from typing import Any

import pytest
from model_files import QWEN

from models.families import FAMILIES, detect_family, suggested_context
from models.memory import (
    GIB,
    Cache,
    Device,
    cache_of,
    fit_of,
    gpus_in,
    need_of,
)
from models.protocol import ModelError

LLAMA_8B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
}
QWEN3_CODER_30B = {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "hidden_size": 2048,
    "head_dim": 128,
    "sliding_window": None,
}
DEEPSEEK_V2_LITE = {
    "model_type": "deepseek_v2",
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_size": 2048,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}
GEMMA3_27B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "num_hidden_layers": 62,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "hidden_size": 5376,
        "head_dim": 128,
        "sliding_window": 1024,
        "sliding_window_pattern": 6,
    },
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "num_hidden_layers": 24,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "hidden_size": 2880,
    "head_dim": 64,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
}
PHI4 = {
    "model_type": "phi3",
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 10,
    "hidden_size": 5120,
    "sliding_window": None,
}
DEVSTRAL = {
    "model_type": "mistral",
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 5120,
    "head_dim": 128,
    "sliding_window": None,
}
GLM4_9B = {
    "model_type": "glm4",
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "hidden_size": 4096,
    "head_dim": 128,
}
MISTRAL_7B_V1 = {
    "model_type": "mistral",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "sliding_window": 4096,
}
QWEN3_NEXT_80B = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "hidden_size": 2048,
    "head_dim": 256,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"]
    * 12,
}


@pytest.mark.parametrize(
    ("config", "token_bytes", "at_8k"),
    [
        (QWEN, 57_344, 57_344 * 8192),  # 2 x 28 x 4 x 128 x 2
        (LLAMA_8B, 131_072, 1 << 30),  # 2 x 32 x 8 x 128 x 2: 1 GiB at 8k
        (QWEN3_CODER_30B, 98_304, 98_304 * 8192),  # 2 x 48 x 4 x 128 x 2
        (DEEPSEEK_V2_LITE, 31_104, 31_104 * 8192),  # 27 x (512 + 64) x 2
        (PHI4, 204_800, 204_800 * 8192),  # 2 x 40 x 10 x 128 x 2
        (DEVSTRAL, 163_840, 163_840 * 8192),  # 2 x 40 x 8 x 128 x 2
        (GLM4_9B, 40_960, 40_960 * 8192),  # 2 x 40 x 2 x 128 x 2
        # 10 of 62 layers keep everything: 8,192 bytes a layer and token, window 1,024
        (GEMMA3_27B, 81_920, 81_920 * 8192 + 52 * 8192 * 1024),
        # 12 of 24: 2,048 bytes a layer and token, window 128
        (GPT_OSS_20B, 24_576, 24_576 * 8192 + 12 * 2048 * 128),
        (MISTRAL_7B_V1, 0, 131_072 * 4096),  # every layer has the window
        (QWEN3_NEXT_80B, 24_576, 24_576 * 8192),  # 2 x 12 x 2 x 256 x 2
    ],
)
def test_keys_and_values_take_what_the_published_numbers_say(
    config: dict[str, Any], token_bytes: int, at_8k: int
) -> None:
    cache = cache_of(config)
    assert cache.token_bytes == token_bytes
    assert cache.bytes_for(8192) == at_8k


def test_the_cache_follows_its_own_type() -> None:
    assert cache_of(LLAMA_8B, dtype="float32").token_bytes == 262_144
    assert cache_of(LLAMA_8B, dtype="fp8").token_bytes == 65_536


def test_families_that_leave_their_pattern_out_are_known() -> None:
    text = dict(GEMMA3_27B["text_config"])  # type: ignore[call-overload]
    del text["sliding_window_pattern"]
    assert cache_of({"model_type": "gemma3", "text_config": text}) == cache_of(GEMMA3_27B)
    config = {k: v for k, v in GPT_OSS_20B.items() if k != "layer_types"}
    assert cache_of(config) == cache_of(GPT_OSS_20B)


def test_what_is_special_is_said() -> None:
    assert cache_of(LLAMA_8B).note == ""
    assert "latent" in cache_of(DEEPSEEK_V2_LITE).note
    assert cache_of(GEMMA3_27B).note == "52 of 62 layers keep 1,024 tokens at most"


def test_a_configuration_without_the_numbers_is_refused() -> None:
    with pytest.raises(ModelError, match="num_hidden_layers"):
        cache_of({"model_type": "mystery"})


@pytest.mark.parametrize(
    ("config", "name", "key"),
    [
        (QWEN, "Qwen2.5-Coder-7B-Instruct", "qwen2.5-coder"),
        (QWEN, "Qwen2.5-32B-Instruct", "qwen2.5"),
        (QWEN, "DeepSeek-R1-Distill-Qwen-7B", "deepseek-r1-distill"),
        ({"model_type": "llama"}, "DeepSeek-R1-Distill-Llama-8B", "deepseek-r1-distill"),
        ({"model_type": "qwen3"}, "Qwen3-8B", "qwen3"),
        ({"model_type": "qwen3"}, "Qwen3-4B-Instruct-2507", "qwen3-instruct"),
        ({"model_type": "qwen3_moe"}, "Qwen3-30B-A3B-Thinking-2507", "qwen3-thinking"),
        (QWEN3_CODER_30B, "Qwen3-Coder-30B-A3B-Instruct", "qwen3-coder"),
        (DEEPSEEK_V2_LITE, "DeepSeek-Coder-V2-Lite-Instruct", "deepseek-coder-v2"),
        (LLAMA_8B, "Meta-Llama-3.1-8B-Instruct", "llama3"),
        (LLAMA_8B, "deepseek-coder-6.7b-instruct", "deepseek-coder"),
        (DEVSTRAL, "Devstral-Small-2505", "devstral"),
        ({"model_type": "mistral"}, "Codestral-22B-v0.1", "codestral"),
        ({"model_type": "mistral"}, "Mistral-7B-Instruct-v0.3", "mistral"),
        (GEMMA3_27B, "gemma-3-27b-it", "gemma3"),
        (PHI4, "phi-4", "phi4"),
        (PHI4, "Phi-4-reasoning-plus", "phi4-reasoning"),
        (GPT_OSS_20B, "gpt-oss-20b", "gpt-oss"),
        (GLM4_9B, "GLM-4-9B-0414", "glm4"),
        ({"model_type": "glm4_moe"}, "GLM-4.5-Air", "glm4.5"),
        ({"model_type": "glm4_moe_lite"}, "GLM-4.7-Flash", "glm4.5"),
        ({"model_type": "qwen3_5", "text_config": {}}, "Qwen3.6-27B", "qwen3.5"),
        ({"model_type": "qwen3_5_moe"}, "Qwen3.6-35B-A3B", "qwen3.5"),
        ({"model_type": "qwen3_next"}, "Qwen3-Coder-Next", "qwen3-coder"),
        ({"model_type": "qwen3_next"}, "Qwen3-Next-80B-A3B-Instruct", "qwen3-instruct"),
        ({"model_type": "mistral3"}, "Devstral-Small-2-24B-Instruct-2512", "devstral"),
        ({"model_type": "gemma4"}, "gemma-4-31B-it", "gemma4"),
        ({"model_type": "gemma4_unified"}, "gemma-4-12B-it", "gemma4"),
        ({"model_type": "granitemoehybrid"}, "granite-4.0-h-small", "granite"),
    ],
)
def test_families_are_recognised(config: dict[str, Any], name: str, key: str) -> None:
    family = detect_family(config, name)
    assert family is not None
    assert family.key == key


def test_an_unknown_model_has_no_preset() -> None:
    assert detect_family({"model_type": "mystery"}, "mystery-7b") is None
    assert detect_family(LLAMA_8B, "vicuna-7b") is None


def test_presets_hold_together() -> None:
    assert len({f.key for f in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        if family.thinks == "always":  # else the constraint would hold its thoughts as well
            assert family.reasoning_parser
        if family.thinks == "switch":
            assert family.chat_template_kwargs


def test_the_suggested_context_never_exceeds_what_the_model_allows() -> None:
    family = detect_family(QWEN, "Qwen2.5-Coder-7B-Instruct")
    assert suggested_context(family, 32_768) == 16_384
    assert suggested_context(family, 4096) == 4096
    assert suggested_context(None, None) == 16_384
    assert suggested_context(family, 4096, 8192) == 8192


PLAIN = Cache(32, 0, 0, 4096, latent=False)
LATENT = Cache(27, 0, 0, 1152, latent=True)


def test_tensor_parallelism_splits_all_but_latent_caches() -> None:
    whole, half = need_of(16 * GIB, PLAIN, 8192), need_of(16 * GIB, PLAIN, 8192, devices=2)
    assert (half.weights, half.cache) == (whole.weights // 2, whole.cache // 2)
    assert need_of(16 * GIB, LATENT, 8192, devices=2).cache == LATENT.bytes_for(8192)
    assert need_of(GIB, PLAIN, 8192, conversations=4).cache == 4 * PLAIN.bytes_for(8192)


CPU = Device("cpu", 32 * GIB, 20 * GIB)
GPU = Device("NVIDIA H100", 80 * GIB, 78 * GIB)


def test_what_fits_is_said_with_its_numbers() -> None:
    need = need_of(16 * GIB, PLAIN, 8192)  # 16 + 1 + 1.5 GiB
    fit = fit_of(need, (GPU, CPU))
    assert fit.fits
    assert fit.sentence == "fits: needs 18.5 GiB of 72.0 GiB (90% of NVIDIA H100)"
    assert not fit_of(need, (GPU, CPU), share=0.2).fits
    assert fit_of(need, (CPU,)).device == "cpu"
    assert fit_of(need, (CPU,)).fits
    assert not fit_of(need_of(40 * GIB, PLAIN, 8192), (CPU,)).fits


def test_what_does_not_fit_now_is_said() -> None:
    need = need_of(24 * GIB, PLAIN, 8192)
    assert "only 20.0 GiB are free now" in fit_of(need, (CPU,)).sentence
    busy = Device("NVIDIA H100", 80 * GIB, 4 * GIB)
    assert "only 4.0 GiB are free now" in fit_of(need, (busy, CPU)).sentence


def test_too_few_gpus_are_counted() -> None:
    need = need_of(16 * GIB, PLAIN, 8192, devices=2)
    fit = fit_of(need, (GPU, CPU), count=2)
    assert not fit.fits
    assert "needs 2 GPU" in fit.sentence
    assert not fit_of(need, (CPU,), device="cuda").fits


def test_the_tool_of_the_driver_is_read() -> None:
    table = "NVIDIA H100 80GB HBM3, 81559, 80995\nbroken line\nNVIDIA A10, [N/A], 1\n"
    assert gpus_in(table) == (Device("NVIDIA H100 80GB HBM3", 81559 << 20, 80995 << 20),)
