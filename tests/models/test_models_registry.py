"""The user's file of models: readable, strict, safe under several writers, and free of keys."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from model_files import write_model
from pydantic import ValidationError

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.inspection import inspect_model
from models.opening import api_key, open_model, verify
from models.protocol import ModelError
from models.registry import ModelRegistry, UnknownModelError

LOCAL = "http://127.0.0.1:8000/v1"


def entry(name: str = "coder", **settings: Any) -> ModelEntry:
    """An entry over a server on this machine."""
    return ModelEntry(name=name, backend="openai", url=LOCAL, **settings)


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    """An empty registry in a folder that does not exist yet."""
    return ModelRegistry(tmp_path / "config" / "models.yaml")


def test_what_is_added_is_read_back_in_order(registry: ModelRegistry, tmp_path: Path) -> None:
    facts = inspect_model(write_model(tmp_path / "m"))
    served = ModelEntry(
        name="seven",
        backend="vllm",
        path=facts.path,
        facts=facts,
        context_tokens=8192,
        gpu_memory_utilization=0.5,
        chat_template_kwargs={"enable_thinking": False},
        extra_args=("--swap-space", "0"),
    )
    registry.add(served)
    registry.add(entry(key_env="MY_KEY"))
    assert registry.entries() == (served, entry(key_env="MY_KEY"))
    text = registry.file.read_text()
    assert text.startswith("# Models that QLLM knows")
    assert "gpu_memory_utilization: 0.5\n" in text
    assert "tensor_parallel" not in text  # what nobody chose is not written


def test_nothing_is_registered_before_the_file_exists(registry: ModelRegistry) -> None:
    assert registry.entries() == ()
    assert not registry.file.parent.exists()
    with pytest.raises(UnknownModelError, match="qllm models add coder PATH"):
        registry.get("coder")


def test_an_unknown_name_lists_the_near_one(registry: ModelRegistry) -> None:
    registry.add(entry("qwen-coder"))
    with pytest.raises(UnknownModelError, match=r"did you mean qwen-coder\?"):
        registry.get("qwen-coda")
    with pytest.raises(UnknownModelError, match=r"did you mean qwen-coder\?"):
        registry.remove("qwencoder")


def test_a_taken_name_is_not_overwritten(registry: ModelRegistry) -> None:
    registry.add(entry())
    with pytest.raises(ModelError, match="registered already"):
        registry.add(entry(model_id="other"))
    registry.add(entry(model_id="other"), replace=True)
    assert registry.get("coder").model_id == "other"
    assert registry.remove("coder").model_id == "other"
    assert registry.entries() == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coder:\n  backend: openai\n  url: " + LOCAL + "\n  contxt_tokens: 5\n", "context_tokens"),
        ("coder:\n  backend: ollama\n", "backend ollama needs a path or a url"),
        ("coder:\n  backend: [vllm]\n", r"coder\.backend: must be"),
        ("coder:\n  backend: vllm\n", "backend vllm needs a path"),
        ("coder: hello\n", "coder must hold settings"),
        ("- coder\n", "must hold models by name"),
        ("coder: [\n", r"no YAML \(line"),
        ("coder:\n  backend: openai\n  backend: vllm\n", r"no YAML \(line 3\)"),
        ("coder:\n  name: x\n", "remove this line"),
        ("auto:\n  backend: openai\n  url: " + LOCAL + "\n", "a meaning of its own"),
        ("a/b:\n  backend: openai\n  url: " + LOCAL + "\n", "cannot be a name"),
        ("!!python/object/apply:os.system ['true']\n", "no YAML"),
    ],
)
def test_what_a_hand_got_wrong_is_said_in_one_line(
    registry: ModelRegistry, text: str, said: str
) -> None:
    registry.file.parent.mkdir()
    registry.file.write_text(text)
    with pytest.raises(ModelError, match=said) as caught:
        registry.entries()
    assert str(registry.file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert registry.file.read_text() == text


def test_a_damaged_file_is_not_overwritten_by_add(registry: ModelRegistry) -> None:
    registry.file.parent.mkdir()
    registry.file.write_text("coder: [\n")
    with pytest.raises(ModelError):
        registry.add(entry())
    assert registry.file.read_text() == "coder: [\n"


def test_writers_at_the_same_time_lose_nothing(registry: ModelRegistry) -> None:
    def add(k: int) -> None:
        ModelRegistry(registry.file).add(entry(f"m{k}"))

    threads = [threading.Thread(target=add, args=(k,)) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {e.name for e in registry.entries()} == {f"m{k}" for k in range(12)}
    assert sorted(p.name for p in registry.file.parent.iterdir()) == [
        "models.yaml",
        "models.yaml.lock",
    ]


def test_a_failed_write_leaves_the_file_as_it_was(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add(entry())
    before = registry.file.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.registry.os.replace", full)
    with pytest.raises(ModelError, match="No space left"):
        registry.add(entry("second"))
    assert registry.file.read_text() == before
    assert len(list(registry.file.parent.iterdir())) == 2  # and no draft is left lying about


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        entry(key_env="sk-proj-abcdef")
    message = str(caught.value.errors()[0]["msg"])
    assert "never the key" in message
    assert "sk-proj" not in message


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "file:///etc/passwd",
        "http://me:secret@127.0.0.1:8000/v1",
        "http://127.0.0.1:8000/v1?key=x",
        "http://127.0.0.1:notaport/v1",
    ],
)
def test_a_url_that_is_none_or_carries_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        ModelEntry(name="coder", backend="openai", url=url)


@pytest.mark.parametrize(
    "words",
    [
        ("--trust-remote-code",),
        ("--trust_remote_code",),
        ("--host", "0.0.0.0"),
        ("--host=0.0.0.0",),
        ("--api-key=abc",),
        ("--load-format", "pt"),
        ("--load-format=npcache",),
        ("--config", "x.yaml"),
    ],
)
def test_options_that_would_open_a_server_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="extra_args"):
        ModelEntry(name="m", backend="vllm", path="x", extra_args=words)


def test_a_setting_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="tensor_parallel_size is for backend vllm"):
        entry(tensor_parallel_size=2)
    with pytest.raises(ValidationError, match="key_env is for backend openai"):
        ModelEntry(name="m", backend="transformers", path="x", key_env="KEY")


def test_a_server_elsewhere_must_be_allowed(tmp_path: Path) -> None:
    remote = ModelEntry(name="far", backend="openai", url="https://api.example.org/v1")
    with pytest.raises(ModelError, match=r"models\.allow_remote=true"):
        open_model(remote, ModelsConfig(), folder=tmp_path)


def test_a_backend_that_is_not_there_is_said_when_it_is_to_answer(tmp_path: Path) -> None:
    """It may be that of a package which has gone, and its model can be looked at and removed."""
    added = ModelEntry(name="m", backend="vlm", path="x")
    with pytest.raises(ModelError, match="model 'm': there is no backend 'vlm': did you mean vllm"):
        open_model(added, ModelsConfig(), folder=tmp_path)


def test_the_key_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_TEST_KEY", raising=False)
    with pytest.raises(ModelError, match="QLLM_TEST_KEY, which is not set"):
        api_key(entry(key_env="QLLM_TEST_KEY"))
    monkeypatch.setenv("QLLM_TEST_KEY", " abc\n")
    assert api_key(entry(key_env="QLLM_TEST_KEY")) == "abc"
    assert api_key(entry()) is None


def test_a_folder_that_changed_since_is_not_opened(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    facts = inspect_model(folder, full_hash=True)
    added = ModelEntry(name="m", backend="transformers", path=str(folder), facts=facts)
    verify(added)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 5}))
    with pytest.raises(ModelError, match=r"its configuration changed.*--replace"):
        open_model(added, ModelsConfig(), folder=tmp_path)
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"x": "y"}}))
    with pytest.raises(ModelError, match="auto_map"):
        open_model(added, ModelsConfig(), folder=tmp_path)
