"""Options of ``vllm serve`` that a user may add: those that tune the engine, by their full names.

vLLM has hundreds of options, and new ones with every version. Some load code (``--worker-cls``),
unpickle weights, open the server to others or take JSON in which the same can be said, and argparse
takes any beginning of a name that fits only one. So nothing is passed on but what is listed here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*|-?\d+(\.\d+)?")
"""A number or a plain name: no path, no module, no JSON."""
_LEVEL = re.compile(r"-O[0-3]")

_FLAGS = frozenset({
    "--async-scheduling", "--calculate-kv-scales", "--disable-cascade-attn",
    "--disable-custom-all-reduce", "--disable-hybrid-kv-cache-manager", "--disable-log-requests",
    "--disable-log-stats", "--disable-sliding-window", "--enable-chunked-prefill",
    "--enable-dbo", "--enable-eplb", "--enable-expert-parallel", "--enable-log-requests",
    "--enable-prefix-caching", "--enforce-eager", "--language-model-only", "--skip-mm-profiling",
    "--use-tqdm-on-load",
})  # fmt: skip
"""Each also as ``--no-...``."""

_VALUES = frozenset({
    "--attention-backend", "--block-size", "--cpu-offload-gb", "--kv-cache-dtype",
    "--long-prefill-token-threshold", "--mamba-block-size", "--mamba-cache-dtype",
    "--mamba-ssm-cache-dtype", "--max-cudagraph-capture-size", "--max-long-partial-prefills",
    "--max-num-batched-tokens", "--max-num-partial-prefills", "--max-parallel-loading-workers",
    "--max-seq-len-to-capture", "--moe-backend", "--num-gpu-blocks-override",
    "--optimization-level", "--performance-mode", "--pipeline-parallel-size",
    "--prefix-caching-hash-algo", "--quantization", "--seed", "--stream-interval", "--swap-space",
    "--uvicorn-log-level",
})  # fmt: skip

_CHOICES = {
    "--config-format": ("auto", "hf", "mistral"),
    "--generation-config": ("auto", "vllm"),
    "--load-format": ("auto", "safetensors", "fastsafetensors", "runai_streamer", "mistral"),
    "--model-impl": ("auto", "vllm", "transformers"),
    "--safetensors-load-strategy": ("lazy", "eager", "prefetch"),
    "--scheduling-policy": ("fcfs", "priority"),
    "--tokenizer-mode": ("auto", "hf", "slow", "mistral"),
}

_INSTEAD = {
    "--trust-remote-code": "code of a model is never run",
    "--host": "servers listen on this machine only",
    "--port": "a free port is chosen",
    "--uds": "servers listen on a port of this machine only",
    "--api-key": "a random key is made for every start",
    "--model": "the registered path is served",
    "--served-model-name": "the registered name is used",
    "--config": "it could set anything; name the options themselves",
    "--allowed-origins": "no web page has business with it",
    "--max-model-len": "use --context",
    "--max-num-seqs": "use --max-seqs",
    "--dtype": "use --dtype of `qllm models add` itself",
    "--gpu-memory-utilization": "use --gpu-share",
    "--kv-cache-memory-bytes": "use --kv-cache-gib",
    "--tensor-parallel-size": "use --tensor-parallel",
    "--reasoning-parser": "use --reasoning-parser of `qllm models add` itself",
    "--structured-outputs-config": "it is set so that every constraint is kept",
    "--enable-sleep-mode": "use models.handover",
}


def require_allowed(words: Sequence[str]) -> None:
    """See to it that a user's words tune the engine and do nothing else.

    Args:
        words: As they would stand on vLLM's command line.

    Raises:
        ValueError: one of them is not listed, or its value is not of the kind that it takes.
    """
    left = list(words)
    while left:
        word = left.pop(0)
        if _LEVEL.fullmatch(word):
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        if not name.startswith("-"):
            raise ValueError(f"'{word}' belongs to no option")
        if name.replace("--no-", "--", 1) in _FLAGS:
            if equals:
                raise ValueError(f"{name} takes no value")
        elif name in _VALUES or name in _CHOICES:
            if not equals and not left:
                raise ValueError(f"{name} needs a value")
            _require_value(name, value if equals else left.pop(0))
        else:
            raise ValueError(_why_not(name))


def _require_value(name: str, value: str) -> None:
    choices = _CHOICES.get(name)
    if choices is not None and value not in choices:
        raise ValueError(f"{name} {value} cannot be given: it may be {', '.join(choices)}")
    if choices is None and not _VALUE.fullmatch(value):
        raise ValueError(f"{name} takes a number or a plain name, which '{value}' is not")


def _why_not(name: str) -> str:
    meant = [option for option in _INSTEAD if name.startswith("--") and option.startswith(name)]
    option = name if name in _INSTEAD else meant[0] if len(meant) == 1 else ""
    if option:
        return f"{name} cannot be given: {_INSTEAD[option]}"
    known = sorted(_FLAGS | _VALUES | set(_CHOICES))
    near = [o for o in known if len(name) > 2 and o.startswith(name)]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"{name} is none of the options that are passed on{hint}: others may load code or open the "
        "server, so start it yourself and register its URL if you need one"
    )
