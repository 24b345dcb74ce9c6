"""Options that a user adds to a managed vLLM server: only what tunes the engine is passed on."""

from __future__ import annotations

import argparse
import shlex

import pytest
from pydantic import ValidationError

from models.entries import ModelEntry
from models.vllm import options
from models.vllm.options import require_allowed


def entry(words: str, **settings: str) -> ModelEntry:
    extra = tuple(shlex.split(words))
    return ModelEntry(name="m", backend="vllm", path="x", extra_args=extra, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        "--block-size 16",
        "--block-size=16 --enforce-eager --seed -1",
        "--max_num_batched_tokens 8192 --swap_space=0.5",
        "--no-enable-prefix-caching --no-async-scheduling",
        "--load-format fastsafetensors --tokenizer-mode=mistral --config-format mistral",
        "--quantization awq_marlin --kv-cache-dtype fp8_e4m3 --max-num-batched-tokens 16k",
        "-O3 --attention-backend FLASH_ATTN",
    ],
)
def test_what_tunes_the_engine_is_passed_on_as_it_was_typed(words: str) -> None:
    assert " ".join(entry(words).extra_args) == words


_CLOSED = [
    ("--host", "0.0.0.0"), ("--port", "1"), ("--uds", "/tmp/s"), ("--api-key", "abc"),
    ("--trust-remote-code", None), ("--config", "x.yaml"), ("--middleware", "evil.Door"),
    ("--worker-cls", "evil.Worker"), ("--worker-extension-cls", "evil.Extension"),
    ("--tool-parser-plugin", "evil.py"), ("--reasoning-parser-plugin", "evil.py"),
    ("--logits-processors", "evil:Processor"), ("--load-format", "pt"),
    ("--distributed-executor-backend", "evil.Executor"), ("--tool-server", "demo"),
    ("--enable-prompt-embeds", None), ("--enable-lora", None), ("--lora-modules", "a=/tmp/b"),
    ("--allowed-origins", "[\"*\"]"), ("--root-path", "/x"), ("--ssl-keyfile", "/x"),
    ("--allowed-local-media-path", "/"), ("--tokenizer", "/tmp/other"), ("--model", "/tmp/other"),
    ("--hf-config-path", "/tmp/other"), ("--otlp-traces-endpoint", "http://example.org"),
    ("--download-dir", "/tmp"), ("--chat-template", "/tmp/x"), ("--log-config-file", "/tmp/x"),
    ("--structured-outputs-config", '{"backend": "x"}'), ("--hf-overrides", '{"auto_map": {}}'),
    ("--model-loader-extra-config", '{"a": 1}'), ("--compilation-config", '{"backend": "evil.f"}'),
    ("--speculative-config", '{"model": "/tmp/other"}'), ("--kv-transfer-config", "{}"),
    ("--kv-events-config", "{}"), ("--additional-config", "{}"), ("--profiler-config", "{}"),
    ("--data-parallel-address", "10.0.0.1"), ("--headless", None), ("--grpc", None),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), _CLOSED)
def test_what_loads_code_or_opens_the_server_is_refused_however_it_is_written(
    option: str, value: str | None
) -> None:
    """By its name, by every beginning of it, with underscores, with a key of its JSON."""
    beginnings = [option[:end] for end in range(3, len(option) + 1)]
    written = [*beginnings, option.replace("-", "_").replace("__", "--", 1)]
    written += [f"{option}.key", f"{option}+", "--no-" + option[2:]]
    for name in written:
        for words in ([name, value], [f"{name}={value}"]) if value is not None else ([name],):
            with pytest.raises(ValueError, match=r"cannot be given|none of the options"):
                require_allowed(words)
            with pytest.raises(ValueError):
                require_allowed(["--block-size", "16", *words, "--seed", "1"])


def test_no_beginning_of_a_name_is_taken_for_the_name() -> None:
    """As argparse would: it takes any beginning that fits one option only."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--load-format")
    assert parser.parse_args(["--load-f=pt"]).load_format == "pt"
    with pytest.raises(ValueError, match=r"did you mean --load-format\?"):
        require_allowed(["--load-f=pt"])
    for name in options._VALUES | set(options._CHOICES):
        with pytest.raises(ValueError):
            require_allowed([name[:-1], "auto"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--load-format pt", "it may be auto, safetensors"),
        ("--load-format=npcache", "it may be auto, safetensors"),
        ("--tokenizer-mode custom", "it may be auto"),
        ("--generation-config /tmp/other", "it may be auto, vllm"),
        ("--block-size", "needs a value"),
        ("--block-size --host", "takes a number or a plain name, which '--host' is not"),
        ("--quantization evil.module:f", "takes a number or a plain name"),
        ("--quantization {}", "takes a number or a plain name"),
        ("--quantization ../x", "takes a number or a plain name"),
        ("--enforce-eager=1", "takes no value"),
        ("--enforce-eager 1", "'1' belongs to no option"),
        ("/tmp/other-model", "belongs to no option"),
        ("-- --host", "none of the options"),
        ('-O \'{"backend": "evil.f"}\'', "none of the options"),
        ("-O.backend=evil.f", "none of the options"),
        ("-O=3", "none of the options"),
        ("-cc '{}'", "none of the options"),
        ("-tp 2", "none of the options"),
        ("--max-model-len 9", "use --context"),
        ("--max-model 9", "use --context"),
        ("--trust_remote", "code of a model is never run"),
        ("--block-sise 16", r"did you mean --block-size\?"),
    ],
)
def test_a_refusal_says_why_and_what_instead(words: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        entry(words)


@pytest.mark.parametrize("setting", ["dtype", "reasoning_parser"])
@pytest.mark.parametrize("value", ["--host=0.0.0.0", "-O3", "a b", "evil.py;x", "/tmp/x"])
def test_a_setting_cannot_smuggle_an_option(setting: str, value: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        entry("", **{setting: value})
