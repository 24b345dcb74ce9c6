"""``qllm models``: adding, listing, trying and forgetting language models."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.config import ModelsConfig
from models.protocol import ChatModel, ChatRequest, Completion, Message, ModelError
from prompts.cards import TaskCard, load_card
from qllm.cli.main import run
from qllm.jobs.models import opened, registry
from synth.coders import chosen_coder, list_coders
from synth.coders import make_coder as make_of

sys.path.append(str(Path(__file__).parents[1] / "models"))
from model_files import QWEN, write_model
from tiny_model import build_tiny_model


def make_coder(name: str, card: TaskCard, setting: str = "synth.coder") -> ChatModel:
    return make_of(
        registry(), name, card, lambda entry: opened(entry, ModelsConfig(), None), setting
    )


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("QLLM_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("QLLM_SERVERS", str(tmp_path / "servers"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model by its files."""
    return write_model(tmp_path / "Qwen2.5-Coder-7B-Instruct")


class FakeModel:
    """Answers with fixed texts, and says of each whether it keeps to its constraint."""

    is_llm = True
    context_tokens = 4096
    good = True

    def __init__(self, name: str, *args: Any, **settings: Any) -> None:
        self.name = name
        self.closed = False
        FakeModel.made = (name, args, settings)

    made: tuple[str, tuple[Any, ...], dict[str, Any]]

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 10

    def complete(self, request: ChatRequest, **_: Any) -> list[Completion]:
        constraint = request.constraint
        if constraint is None:
            return [Completion("Yes.", self.name, 0, 10, 2, 0.1)]
        text = '{"advice": "x", "scores": [1,1,1,1,1,1,1,1]}'
        if constraint.kind == "grammar":
            text = "weights = [0.25, 0.25, 0.25, 0.25]\nbias = 0.50\n"
        said = "" if self.good else "it is no JSON"
        return [Completion(text, self.name, 1, 10, 40, 2.0, violation=said)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    """The transformers backend replaced by a fake."""
    module = SimpleNamespace(TransformersModel=FakeModel)
    monkeypatch.setitem(sys.modules, "models.transformers_local", module)
    monkeypatch.setattr(FakeModel, "good", True)
    return FakeModel


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_without_models_the_sampler_is_listed_and_adding_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert "sampler  not an LLM" in out
    assert "qllm models add NAME PATH-OR-URL" in out
    assert document(capsys, "models") == document(capsys, "models", "list")


def test_a_folder_is_added_with_its_preset_and_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.admin.registering.examine", lambda python: None)
    added = document(
        capsys, "models", "add", "seven", str(folder), "--python", "/opt/vllm/bin/python"
    )
    assert added["backend"] == "vllm"
    assert added["family"] == "qwen2.5-coder"
    assert added["context_tokens"] == 16_384
    assert added["facts"]["context_tokens"] == 32_768
    assert added["memory"]["cache_bytes_per_token"] == 57_344
    assert added["memory"]["cache_bytes"] == 57_344 * 16_384
    listed = document(capsys, "models")
    assert [coder["name"] for coder in listed] == ["sampler", "seven"]
    assert listed[1]["is_llm"] is True
    assert run(["models"]) == 0
    assert "seven    LLM         vllm      16,384" in capsys.readouterr().out


def test_without_vllm_at_hand_a_folder_runs_in_process(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert document(capsys, "models", "add", "seven", str(folder))["backend"] == "transformers"


def test_a_preset_can_be_overruled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(tmp_path / "Qwen3-8B", config={**QWEN, "model_type": "qwen3"})
    words = ["models", "add", "q", str(folder), "--backend", "vllm"]
    first = document(capsys, *words)
    assert first["chat_template_kwargs"] == {"enable_thinking": False}
    assert first["reasoning_parser"] == "qwen3"
    changed = [*words, "--replace", "--reasoning-parser", "", "--context", "2048"]
    second = document(capsys, *changed, "--extra", "--enforce-eager --block-size 16")
    assert second["reasoning_parser"] == ""
    assert second["context_tokens"] == 2048
    assert second["extra_args"] == ["--enforce-eager", "--block-size", "16"]


def test_show_says_whether_it_fits_and_what_changed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "add", "seven", str(folder)]) == 0
    capsys.readouterr()
    assert run(["models", "show", "seven"]) == 0
    out = capsys.readouterr().out
    assert "57,344 bytes a token" in out
    assert "fits" in out
    assert "sizes and headers" in out
    assert "yes, as it was when it was added" in out
    (folder / "chat_template.jinja").write_text("{{ other }}")
    shown = document(capsys, "models", "show", "seven")
    assert shown["changed"] == "tokenizer changed since it was added"


def test_a_full_hash_is_kept_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "add", "seven", str(folder), "--full-hash"]) == 0
    assert "(every byte)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "sevn"], "did you mean seven?"),
        (["check", "sevn"], "did you mean seven?"),
        (["remove", "other"], "no model 'other' is registered"),
        (["add", "seven", "FOLDER"], "registered already"),
        (["add", "sampler", "FOLDER"], "a meaning of its own"),
        (["add", "a b", "FOLDER"], "cannot be a name"),
        (["add", "x", "/nowhere"], "no such folder"),
        (["add", "x", "FOLDER", "--context", "99999"], "allows 32,768"),
        (["add", "x", "FOLDER", "--context", "3"], "--context"),
        (["add", "x", "FOLDER", "--backend", "olama"], "there is no backend 'olama'"),
        (["add", "x", "FOLDER", "--key-env", "KEY"], "key_env is for backend openai"),
        (["add", "x", "FOLDER", "--backend", "vllm", "--extra", "--host 0.0.0.0"], "--host"),
        (["add", "x", "FOLDER", "--extra", "'"], "--extra"),
        (["add", "x", "FOLDER", "--device", "gpu"], "'gpu' is no device"),
        (["add", "x", "http://127.0.0.1:9/v1"], "give --model ID"),
        (["add", "x", "http://me:pw@127.0.0.1:9/v1"], "user name or a password"),
        (["add", "x", "https://api.example.org/v1"], "allow_remote"),
        (["add", "x", "http://127.0.0.1:9/v1", "--key-env", "sk-abc"], "never the key"),
        (["add", "x", "FOLDER", "--python", "/nowhere/python"], "there is no /nowhere/python"),
        (["add", "x", "FOLDER", "--python", sys.executable], "vLLM is not installed for"),
        (["ad", "x"], "did you mean 'add'?"),
    ],
)
def test_wrong_use_is_one_clear_line(
    folder: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "add", "seven", str(folder)]) == 0
    before = document(capsys, "models")
    assert run(["models", *(str(folder) if w == "FOLDER" else w for w in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert "sk-abc" not in err
    assert "me:pw" not in err
    assert document(capsys, "models") == before


def test_a_registry_that_a_hand_broke_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models.yaml").write_text("m:\n  backend: vllm\n  pth: x\n")
    assert run(["models"]) == 2
    err = capsys.readouterr().err
    assert "did you mean path?" in err
    assert err.count("\n") == 1


def test_a_server_that_does_not_run_can_be_added_by_its_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["models", "add", "far", "http://127.0.0.1:9/v1", "--model", "m", "--key-env", "PATH"]
    added = document(capsys, *words)
    assert (added["backend"], added["model_id"], added["key_env"]) == ("openai", "m", "PATH")
    assert "nothing listens" in added["notes"][0]


def test_check_tries_each_constraint_and_says_the_speed(
    folder: Path, fake: type[FakeModel], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "add", "seven", str(folder)]) == 0
    capsys.readouterr()
    assert run(["models", "check", "seven"]) == 0
    out = capsys.readouterr().out
    assert "✓ json     the constraint held; 40 tokens in 2.0 s, 20 tokens/s" in out
    assert "✓ grammar" in out
    assert "context: 4,096 tokens; ready after" in out
    found = document(capsys, "models", "check", "seven")
    assert found["ok"] is True
    assert [c["honoured"] for c in found["checks"]] == [True, True]
    assert fake.made[0] == "seven"


def test_a_real_model_in_process_is_added_checked_and_writes_within_its_grammar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build_tiny_model(tmp_path / "tiny", context=2048)
    assert run(["models", "add", "own", str(folder), "--device", "cpu"]) == 0
    assert run(["models", "show", "own"]) == 0
    found = document(capsys, "models", "check", "own")
    assert found["ok"] is True
    assert found["context_tokens"] == 2048
    grammar = next(c for c in found["checks"] if c["constraint"] == "grammar")
    assert re.fullmatch(
        r"weights = \[(\d\.\d\d, ){3}\d\.\d\d\]\nbias = \d\.\d\d\n", grammar["text"]
    )
    assert grammar["tokens_per_s"] > 0
    model = make_coder("own", load_card("matrix/climbing"))
    assert model.count_tokens([Message("user", "hello")]) > 1
    model.close()


def test_check_fails_where_a_constraint_is_ignored(
    folder: Path, fake: type[FakeModel], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "add", "seven", str(folder)]) == 0
    fake.good = False
    capsys.readouterr()
    assert run(["models", "check", "seven"]) == 1
    assert "✗ json     IGNORED: it is no JSON" in capsys.readouterr().out


def test_check_says_why_a_reply_came_to_nothing(
    folder: Path,
    fake: type[FakeModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def complete(self: Any, request: ChatRequest, **_: Any) -> list[Completion]:
        return [Completion("", self.name, 0, 1, 0, 0.0, "error", "the server sent a web page")]

    monkeypatch.setattr(fake, "complete", complete)
    run(["models", "add", "seven", str(folder), "--backend", "transformers"])
    assert run(["models", "check", "seven"]) == 1
    assert "'seven' cannot answer: the server sent a web page" in capsys.readouterr().err


def test_check_says_why_a_model_cannot_answer(
    folder: Path,
    fake: type[FakeModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModelError("it ran out of memory: take a smaller context")

    monkeypatch.setattr(fake, "complete", broken)
    assert run(["models", "add", "seven", str(folder)]) == 0
    capsys.readouterr()
    assert run(["models", "check", "seven"]) == 1
    assert "cannot answer: it ran out of memory" in capsys.readouterr().err


def test_removing_leaves_the_files_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "add", "seven", str(folder)]) == 0
    assert document(capsys, "models", "remove", "seven")["removed"] == "seven"
    assert (folder / "model.safetensors").is_file()
    assert [coder.name for coder in list_coders(registry())] == ["sampler"]


def test_auto_is_the_first_registered_model_else_the_sampler(
    folder: Path, fake: type[FakeModel], capsys: pytest.CaptureFixture[str]
) -> None:
    card = load_card("matrix/climbing")
    assert not make_coder("auto", card).is_llm
    for name in ("first-model", "second"):
        assert run(["models", "add", name, str(folder)]) == 0
    assert chosen_coder(registry(), "auto") == "first-model"
    made = make_coder("auto", card)
    assert made.is_llm
    assert made.name == "first-model"
    assert not make_coder("sampler", card).is_llm


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http://127.0.0.1:8000/v1", r"qllm models add NAME http://127.0.0.1:8000/v1"),
        ("/models/qwen", r"qllm models add NAME /models/qwen"),
        ("samplr", r"synth\.coder=samplr.*did you mean sampler\?"),
        ("gpt", r"choose auto or sampler"),
    ],
)
def test_a_coder_that_is_none_is_refused_with_what_to_type(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        make_coder(name, load_card("matrix/climbing"))


def test_a_name_is_traced_to_its_setting() -> None:
    with pytest.raises(ModelError, match=r"synth\.evaluator_model=nobody"):
        make_coder("nobody", load_card("matrix/climbing"), setting="synth.evaluator_model")


class FakeServer:
    """A server that is at once there, and leaves the state of a real one."""

    def __init__(self, spec: Any, folder: Path, say: Any = None, **settings: Any) -> None:
        self.spec, self.folder, self.settings = spec, Path(folder), settings
        self.adopted, self.released = False, False
        self.log, self.url = self.folder / "server.log", "http://127.0.0.1:4711/v1"
        FakeServer.last = self

    last: FakeServer

    def start(self) -> None:
        from models.vllm.processes import started_at
        from models.vllm.state import ServerState, write_state

        self.folder.mkdir(parents=True)
        started = started_at(os.getpid()) or 0.0
        state = ServerState(
            "d", self.spec.served_name, 4711, "secret-key", *(os.getpid(), started) * 2, True
        )
        write_state(self.folder, state)

    def stop(self) -> None:
        (self.folder / "state.json").unlink(missing_ok=True)

    def is_running(self) -> bool:
        raise KeyboardInterrupt

    def release(self) -> None:
        self.released = True


@pytest.fixture
def served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> type[FakeServer]:
    """A registered model whose server is a fake."""
    monkeypatch.setattr("models.admin.servers.VllmServer", FakeServer)
    assert run(["models", "add", "seven", str(folder), "--backend", "vllm"]) == 0
    capsys.readouterr()
    return FakeServer


def test_a_server_is_started_shown_and_stopped(
    served: type[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "serve", "seven"]) == 0
    out = capsys.readouterr().out
    assert "served at http://127.0.0.1:4711/v1" in out
    assert "server.log" in out
    assert "secret-key" not in out
    assert served.last.settings["persistent"] is True
    assert not served.last.released  # it outlives this command
    server = document(capsys, "models", "show", "seven")["server"]
    assert (server["url"], server["stays"]) == ("http://127.0.0.1:4711/v1", True)
    assert run(["models", "remove", "seven"]) == 2
    assert "qllm models stop seven" in capsys.readouterr().err
    assert document(capsys, "models", "stop", "seven") == {"name": "seven", "stopped": True}
    assert document(capsys, "models", "stop", "seven") == {"name": "seven", "stopped": False}
    assert document(capsys, "models", "show", "seven")["server"] is None


def test_a_server_in_the_foreground_ends_with_its_command(
    served: type[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "serve", "seven", "--foreground"]) == 130
    assert served.last.released
    assert served.last.settings["persistent"] is False


def test_only_models_that_vllm_runs_have_servers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "add", "own", str(folder), "--backend", "transformers"]) == 0
    assert run(["models", "add", "far", "http://127.0.0.1:9/v1", "--model", "m"]) == 0
    for name, said in (("own", "needs no server"), ("far", "served by somebody else")):
        capsys.readouterr()
        assert run(["models", "serve", name]) == 2
        assert said in capsys.readouterr().err
        assert run(["models", "stop", name]) == 2
        assert "no server of ours" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../servers", "..", "/", "a/b"])
def test_a_name_never_leads_out_of_the_folder_of_servers(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "servers" / "a" / "b").mkdir(parents=True)
    assert run(["models", "stop", name]) == 2
    assert "no model" in capsys.readouterr().err


def test_what_is_served_is_what_was_registered(
    served: type[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["models", "add", "big", "FOLDER", "--replace", "--gpu-share", "0.5", "--max-seqs", "8"]
    path = document(capsys, "models", "show", "seven")["path"]
    words = [path if word == "FOLDER" else word for word in words]
    assert run([*words, "--backend", "vllm", "--tensor-parallel", "2", "--kv-cache-gib", "2"]) == 0
    assert run(["models", "serve", "big"]) == 0
    spec = served.last.spec
    assert spec.model_path == path
    assert spec.served_name == "big"
    assert spec.gpu_memory_utilization == 0.5
    assert spec.max_num_seqs == 8
    assert spec.tensor_parallel_size == 2
    assert spec.kv_cache_bytes == 2 << 30
    assert spec.context_tokens == 16_384


def test_the_python_of_an_environment_is_kept_by_its_whole_path(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("models.admin.registering.examine", lambda python: None)
    monkeypatch.chdir(tmp_path)
    assert run(["models", "add", "seven", str(folder), "--python", "env/bin/python", "--json"]) == 0
    added = json.loads(capsys.readouterr().out)
    assert added["python"] == str(tmp_path / "env/bin/python")
