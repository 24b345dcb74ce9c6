"""What counts as a complete model, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_files import QWEN, safetensors, write_model
from tiny_model import build_tiny_model

from models.inspection import context_of, inspect_model, resolve_model
from models.protocol import ModelError


def test_a_complete_model_is_described(tmp_path: Path) -> None:
    facts = inspect_model(write_model(tmp_path / "m", shards=3))
    assert facts.architecture == "Qwen2ForCausalLM"
    assert facts.model_type == "qwen2"
    assert facts.context_tokens == 32768
    assert facts.parameters == 3 * 32
    assert facts.weight_bytes == sum(
        p.stat().st_size for p in (tmp_path / "m").glob("*.safetensors")
    )
    assert facts.dtype == "BF16"
    assert facts.quantization == ""
    assert facts.chat_template == "tokenizer_config.json"
    assert facts.weights_sha256 is None


def test_a_model_that_transformers_wrote_is_complete(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = build_tiny_model(tmp_path / "tiny", context=4096)
    facts = inspect_model(folder, full_hash=True)
    weights = load_file(folder / "model.safetensors")
    assert facts.parameters == sum(t.numel() for t in weights.values())
    assert {t.dtype for t in weights.values()} == {torch.float32}
    assert facts.dtype == "F32"
    assert facts.context_tokens == 4096
    assert facts.architecture == "Qwen3ForCausalLM"


def test_the_template_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", template=False)
    with pytest.raises(ModelError, match=r"no chat template.*instruct"):
        inspect_model(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert inspect_model(folder).chat_template == "chat_template.jinja"


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002.safetensors' is missing"):
        inspect_model(folder)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_shard_that_is_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    folder = write_model(tmp_path / "m")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="fetch it again"):
        inspect_model(folder)


def test_a_cut_shard_says_how_much_is_missing(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-16])
    with pytest.raises(ModelError, match=r"16 bytes are missing \(48 of 64\)"):
        inspect_model(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b'{"w": 3}',
        b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"w": {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b'{"w": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: bytes) -> None:
    folder = write_model(tmp_path / "m")
    data = len(header).to_bytes(8, "little") + header + bytes(4)
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        inspect_model(folder)


def test_a_tensor_that_the_index_misplaces_is_found(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", shards=2)
    (folder / "model-00002-of-00002.safetensors").write_bytes(
        safetensors({"other": ("BF16", (4, 8))})
    )
    with pytest.raises(ModelError, match="names 1 tensors that are not in their files"):
        inspect_model(folder)


def test_an_index_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", shards=2)
    index = {"weight_map": {"w0": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no safetensors file beside it"):
        inspect_model(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelError, match=r"only pickled weights.*safetensors version"):
        inspect_model(folder)


def test_pickled_weights_beside_safetensors_are_left_alone(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    assert inspect_model(folder).parameters == 32


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "m")
    document = json.loads((folder / name).read_text())
    document["auto_map"] = {"AutoModelForCausalLM": "modeling_x.Model"}
    (folder / name).write_text(json.dumps(document))
    with pytest.raises(ModelError, match=r"auto_map.*never run"):
        inspect_model(folder)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("adapter_config.json", "adapter_model.safetensors"), "adapter.*merge"),
        (("model.Q4_K_M.gguf",), "GGUF.*URL instead"),
        (("model-00001-of-00002.safetensors",), "neither"),
        ((), "no model.safetensors"),
    ],
)
def test_other_layouts_are_told_apart(tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=said):
        inspect_model(folder)


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(ModelError, match="git lfs pull"):
        inspect_model(folder)


def test_no_tokenizer_no_config_no_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="no tokenizer"):
        inspect_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        inspect_model(folder)
    with pytest.raises(ModelError, match="no such folder"):
        inspect_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a file"):
        inspect_model(folder / "model.safetensors")


def _cache(folder: Path) -> tuple[Path, Path]:
    """A model in the layout of a Hugging Face cache: snapshots of links to blobs."""
    cache = folder / "models--Qwen--Qwen2.5-Coder-7B-Instruct"
    blobs = write_model(cache / "blobs")
    snapshot = cache / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc123")
    return cache, snapshot


def test_a_cache_folder_stands_for_its_snapshot(tmp_path: Path) -> None:
    cache, snapshot = _cache(tmp_path)
    assert inspect_model(cache).path == str(snapshot.resolve())
    assert inspect_model(snapshot).path == str(snapshot.resolve())


def test_of_several_snapshots_the_one_named_main_counts(tmp_path: Path) -> None:
    cache, snapshot = _cache(tmp_path)
    (cache / "snapshots" / "000").mkdir()
    assert resolve_model(cache) == snapshot.resolve()
    (cache / "refs" / "main").unlink()
    with pytest.raises(ModelError, match="2 snapshots"):
        resolve_model(cache)


def test_a_cache_with_a_blob_missing_is_not_complete(tmp_path: Path) -> None:
    cache, _ = _cache(tmp_path)
    (cache / "blobs" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="link to a file that is not there"):
        inspect_model(cache)


def test_the_whole_cache_is_not_one_model(tmp_path: Path) -> None:
    _cache(tmp_path)
    with pytest.raises(ModelError, match="models--OWNER--NAME"):
        inspect_model(tmp_path)


def test_only_the_full_hash_sees_a_changed_number(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    before = inspect_model(folder, full_hash=True)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    after = inspect_model(folder, full_hash=True)
    assert after.headers_sha256 == before.headers_sha256
    assert after.weights_sha256 != before.weights_sha256
    assert after.config_sha256 == before.config_sha256


def test_hashes_see_the_configuration_and_the_tokenizer(tmp_path: Path) -> None:
    before = inspect_model(write_model(tmp_path / "m"))
    (tmp_path / "m" / "config.json").write_text(json.dumps({**QWEN, "rope_theta": 1}))
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ other }}")
    after = inspect_model(tmp_path / "m")
    assert after.config_sha256 != before.config_sha256
    assert after.tokenizer_sha256 != before.tokenizer_sha256
    assert after.headers_sha256 == before.headers_sha256


def test_packed_numbers_are_counted_unpacked(tmp_path: Path) -> None:
    config = {**QWEN, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    folder = write_model(tmp_path / "m", config=config)
    (folder / "model.safetensors").write_bytes(
        safetensors(
            {
                "layer.qweight": ("I32", (4, 8)),
                "layer.qzeros": ("I32", (1, 8)),
                "layer.scales": ("F16", (4, 8)),
                "norm.weight": ("BF16", (8,)),
            }
        )
    )
    facts = inspect_model(folder)
    assert facts.quantization == "gptq"
    assert facts.parameters == 4 * 8 * 8 + 8


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 32768}, 32768),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),  # Qwen2.5 with its YaRN switched on
        (
            {
                "max_position_embeddings": 163840,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 40,
                    "original_max_position_embeddings": 4096,
                },
            },
            163840,
        ),  # DeepSeek-V2-Lite
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "original_max_position_embeddings": 8192,
                },
            },
            131072,
        ),  # Llama 3.1
        (
            {
                "model_type": "gemma3",
                "text_config": {
                    "model_type": "gemma3_text",
                    "max_position_embeddings": 131072,
                    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
                },
            },
            131072,
        ),  # Gemma 3
        (
            {
                "max_position_embeddings": 16384,
                "rope_parameters": {"rope_type": "linear", "factor": 4.0},
            },
            65536,
        ),  # DeepSeek-Coder, as newer transformers write it
        ({}, None),
    ],
)
def test_the_context_follows_from_the_configuration(
    config: dict[str, object], tokens: int | None
) -> None:
    assert context_of(config) == tokens
