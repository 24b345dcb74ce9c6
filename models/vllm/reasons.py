"""Why a server did not start or died, read from its log."""

from __future__ import annotations

import re
from pathlib import Path

_TAIL_BYTES = 400_000

# The first that is found decides; the deeper causes stand first.
_REASONS: tuple[tuple[str, str], ...] = (
    (
        r"CUDA out of memory|OutOfMemoryError|HIP out of memory",
        "the GPU's memory is too small or in use by others: lower the context, the memory share or "
        "the replies at once, or free the GPU",
    ),
    (
        r"Free memory on device .* less than desired GPU memory utilization",
        "others use the GPU's memory: free it, or lower the memory share",
    ),
    (
        r"can't allocate memory|Cannot allocate memory|bad_alloc|MemoryError|Unable to allocate"
        r"|Available memory .* less than requested|not enough memory|No space left on device",
        "this machine's memory is too small for these settings: lower the bytes for keys and "
        "values (kv_cache_bytes) or the context",
    ),
    (
        r"No available memory for the cache blocks|larger than the available KV cache memory",
        "there is too little room for keys and values: lower the context, or give them more "
        "(kv_cache_bytes on a CPU, the memory share on a GPU)",
    ),
    (
        r"[Aa]ddress already in use",
        "its port was taken by another program",
    ),
    (
        r"Model architectures? .* (?:is|are) not supported|does not recognize this architecture"
        r"|architectures .* failed to be inspected|Cannot find model module",
        "this vLLM does not know the model's architecture: use a newer vLLM or another model",
    ),
    (
        r"max_model_len .* is greater than the derived|longer than the maximum.* derived",
        "the context is longer than the model's own: lower it",
    ),
    (
        r"is not a multiple of|must be divisible by tensor parallel|world size .* is larger than",
        "the model cannot be divided by this number of GPUs",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device"
        r"|NVIDIA driver on your system is too old|no NVIDIA driver",
        "it finds no device that it can use: check the driver, or use a vLLM built for CPUs",
    ),
    (
        r"Bfloat16 is only supported on GPUs|not supported .*dtype|dtype .* not supported",
        "the device cannot compute in this dtype: choose float16 or float32",
    ),
    (
        r"error: (?:unrecognized arguments|argument)|unrecognized arguments",
        "this version of vLLM does not know one of the options",
    ),
    (
        r"Error retrieving safetensors|Cannot find any model weights|HeaderTooLarge"
        r"|SafetensorError|no file named .*safetensors",
        "the model's weights are missing or damaged",
    ),
    (
        r"(?:ModuleNotFoundError|ImportError): ",
        "the environment of vLLM is broken or incomplete",
    ),
)

_KILLED = re.compile(r"^qllm: the server was ended by signal \d+ \(SIGKILL\)", re.MULTILINE)
_CHATTER = re.compile(r"\b(?:DEBUG|INFO|WARNING) \d\d-\d\d |^INFO: |: UserWarning: ")
_EXCEPTION = re.compile(r"(?:^|[ \]])((?:\w+\.)*\w*(?:Error|Exception|Exit)): (\S.*)$")
# What follows from another error further up says nothing about the cause.
_FOLLOWS = ("Engine core initialization failed", "See root cause above", "EngineDeadError")


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log; empty if there is none."""
    return "\n".join(_read(log).splitlines()[-lines:])


def reason(log: Path) -> str:
    """One line: what to make of the log's end, and the line that says so."""
    text = "\n".join(line for line in _read(log).splitlines() if not _CHATTER.search(line))
    for pattern, advice in _REASONS:
        found = re.search(pattern, text)
        if found:
            return f"{advice} (its log: {_line(text, found.start())})"
    if _KILLED.search(text):
        return "it was killed (SIGKILL): by somebody, or by the kernel for lack of memory"
    errors = [m for m in map(_EXCEPTION.search, text.splitlines()) if m is not None]
    causes = [m for m in errors if not any(words in m[0] for words in _FOLLOWS)]
    if causes:
        return f"its log says: {_short(f'{causes[-1][1]}: {causes[-1][2]}')}"
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("qllm:")]
    return f"the last line of its log: {_short(said[-1])}" if said else "it wrote nothing"


def _read(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _line(text: str, place: int) -> str:
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    return _short(text[start : end if end >= 0 else len(text)])


def _short(line: str) -> str:
    line = re.sub(r"^\(.*?pid=\d+\)\s*", "", line.strip())
    line = re.sub(r"^(?:ERROR|WARNING|INFO) [\d-]+ [\d:]+ \[[^\]]*\]\s*", "", line)
    return line if len(line) <= 240 else line[:240] + "..."
