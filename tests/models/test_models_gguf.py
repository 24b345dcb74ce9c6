"""GGUF files are read without llama.cpp: what they say, and what is wrong with them."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import pytest
from tiny_gguf import build_tiny_gguf

from models.admin.registering import add_model
from models.admin.summary import memory_of
from models.inspection import inspect_model, read_config
from models.llama_cpp import gguf
from models.opening import verify
from models.protocol import ModelError
from models.registry import ModelRegistry


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gguf(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models.yaml")


def test_a_header_says_what_a_configuration_would(path: Path) -> None:
    facts = inspect_model(path)
    folder = inspect_model(path.parent / "safetensors")
    assert facts.parameters == folder.parameters
    assert facts.context_tokens == folder.context_tokens == 4096
    assert (facts.model_type, facts.dtype, facts.quantization) == ("qwen3", "F32", "gguf")
    assert facts.weight_bytes == path.stat().st_size
    ours, theirs = read_config(path), read_config(folder.path)
    assert {k: theirs[k] for k in ours} == ours


def test_a_file_is_registered_for_llama_cpp(path: Path, registry: ModelRegistry) -> None:
    added = add_model(registry, "tiny", str(path), {})
    entry = added.entry
    assert entry.backend == "llama.cpp"
    assert "Qwen3" in str(added.notes) or entry.chat_template_kwargs == {"enable_thinking": False}
    memory = memory_of(entry)
    assert memory is not None
    assert memory.token_bytes == 2 * 2 * 2 * 32 * 2, "keys and values, layers, heads, width, bytes"
    verify(entry)


def test_a_file_that_changes_is_not_loaded(tmp_path: Path, registry: ModelRegistry) -> None:
    path = build_tiny_gguf(tmp_path)
    entry = add_model(registry, "tiny", str(path), {}).entry
    build_tiny_gguf(tmp_path, context=2048)
    with pytest.raises(ModelError, match="changed since it was added"):
        verify(entry)


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_other_backends_refuse_a_file(path: Path, registry: ModelRegistry, backend: str) -> None:
    with pytest.raises(ModelError, match=f"GGUF file, which backend {backend} does not run"):
        add_model(registry, "tiny", str(path), {"backend": backend})


def test_llama_cpp_refuses_a_folder(path: Path, registry: ModelRegistry) -> None:
    folder = str(path.parent / "safetensors")
    with pytest.raises(ModelError, match=r"is no GGUF file, and backend llama\.cpp runs"):
        add_model(registry, "tiny", folder, {"backend": "llama.cpp"})


def test_a_file_that_is_cut_short_is_named_with_what_is_missing(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[:-1000])
    with pytest.raises(ModelError, match=r"cut short: 1,000 of [\d,]+ bytes are missing"):
        inspect_model(cut)
    for n in (4, 20, 100, 3000, 20_000):
        cut.write_bytes(data[:n])
        with pytest.raises(ModelError, match=f"cut short within its header, at {n:,} bytes"):
            inspect_model(cut)


def test_what_is_no_model_is_named(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "model.gguf"
    other.write_bytes(b"")
    with pytest.raises(ModelError, match="does not begin with GGUF"):
        inspect_model(other)
    text = tmp_path / "model.txt"
    text.write_text("weights")
    with pytest.raises(ModelError, match="is a file, and no GGUF file"):
        inspect_model(text)
    bare = build_tiny_gguf(tmp_path / "bare", tokenizer_chat_template=None)
    with pytest.raises(ModelError, match="no chat template, as base models have none"):
        inspect_model(bare)
    with pytest.raises(ModelError, match=r"give the file itself, such as '.*tiny\.gguf'"):
        inspect_model(path.parent)


@pytest.mark.parametrize("value", [2**40, 0])
def test_numbers_of_no_use_are_left_out(
    tmp_path: Path, registry: ModelRegistry, value: int
) -> None:
    """What the memory depends on is a positive number or not there, and both can be shown."""
    path = build_tiny_gguf(tmp_path, qwen3_attention_head_count_kv=value % 2**32)
    entry = add_model(registry, "odd", str(path), {}).entry
    assert "num_key_value_heads" not in read_config(path)
    assert memory_of(entry) is not None


def test_an_architecture_is_a_name(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path, general_architecture="x" * 1000)
    with pytest.raises(ModelError, match="does not name its architecture"):
        inspect_model(path)


def test_arrays_without_an_end_are_refused(path: Path, tmp_path: Path) -> None:
    """A sparse file of 100 MB, all of it an array of empty texts."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 1) + b"a"
    head += struct.pack("<IIQ", 9, 8, 12_000_000)
    sparse = tmp_path / "sparse.gguf"
    sparse.write_bytes(head)
    os.truncate(sparse, 100_000_000)
    with pytest.raises(ModelError, match="lists 12,000,000 texts"):
        inspect_model(sparse)


def test_a_header_that_says_a_thing_twice_is_refused(tmp_path: Path) -> None:
    """Readers differ in which of the two they take."""
    entry = struct.pack("<Q", 1) + b"a" + struct.pack("<II", 4, 7)
    twice = tmp_path / "twice.gguf"
    twice.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * entry)
    with pytest.raises(ModelError, match="says 'a' twice"):
        inspect_model(twice)


def test_a_file_that_is_cut_while_it_is_read_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes())
    take = gguf._Header._text

    def text(self: gguf._Header) -> str:
        os.truncate(cut, 50)
        return take(self)

    monkeypatch.setattr(gguf._Header, "_text", text)
    with pytest.raises(ModelError, match="cut short"):
        inspect_model(cut)


def test_parts_of_a_model_are_all_there(path: Path, tmp_path: Path) -> None:
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match=r"and of these m-00002-of-00002\.gguf are"):
        inspect_model(first)
    second = tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(path.read_bytes())
    assert inspect_model(first).weight_bytes == 2 * path.stat().st_size
    with pytest.raises(ModelError, match="is part 2 of 2: give the first part"):
        inspect_model(second)
    many = tmp_path / "m-00001-of-00900.gguf"
    many.write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match=r"m-00004-of-00900\.gguf and 896 others are missing"):
        inspect_model(many)
    with pytest.raises(ModelError, match="said to have 99,999 parts"):
        inspect_model(many.rename(tmp_path / "m-00001-of-99999.gguf"))


def test_damaged_headers_are_refused_or_read(path: Path, tmp_path: Path) -> None:
    """Whatever a header says, reading it ends, and raises nothing but `ModelError`."""
    data, rng = bytearray(path.read_bytes()[:60_000]), random.Random(0)
    bad = tmp_path / "bad.gguf"
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 40))):
            broken[rng.randrange(4, 2_000)] = rng.choice((0, 1, 8, 9, 127, 255))
        bad.write_bytes(broken)
        with contextlib.suppress(ModelError):
            inspect_model(bad)
