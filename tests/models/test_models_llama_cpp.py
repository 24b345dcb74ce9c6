"""A GGUF file under llama.cpp: a real one with random weights, in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from requests_of_tests import ASKED, LINES
from tiny_gguf import build_tiny_gguf

from models.llama_cpp.model import LlamaCppModel
from models.protocol import (
    ChatModel,
    ChatRequest,
    Completion,
    Constraint,
    ContextOverflow,
    HoldsDevice,
    Message,
    ModelError,
)

pytest.importorskip("llama_cpp", reason="`make llama` compiles llama.cpp")

VERDICT = {
    "type": "object",
    "properties": {"chosen": {"type": "integer", "minimum": 0, "maximum": 2}},
    "required": ["chosen"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gguf(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[LlamaCppModel]:
    opened = LlamaCppModel("tiny", path, path.parent / "log", device="cpu", rows=4)
    yield opened
    opened.close()


def texts(model: LlamaCppModel, **asked: Any) -> list[str]:
    return [c.text for c in model.complete(ChatRequest(ASKED, **asked))]


def test_it_speaks_the_protocol(model: LlamaCppModel) -> None:
    assert isinstance(model, ChatModel)
    assert isinstance(model, HoldsDevice)
    assert (model.name, model.is_llm, model.context_tokens) == ("tiny", True, 4096)


def test_the_same_request_has_the_same_replies(model: LlamaCppModel) -> None:
    first = texts(model, n=2, seed=7, max_tokens=24)
    assert first == texts(model, n=2, seed=7, max_tokens=24)
    assert first[0] != first[1]
    assert texts(model, seed=8, max_tokens=24)[0] != first[0]


def test_more_replies_than_rows_are_written_one_after_another(model: LlamaCppModel) -> None:
    done: list[int] = []
    request = ChatRequest(ASKED, n=11, seed=1, max_tokens=12)
    replies = model.complete(request, on_done=lambda index, reply: done.append(index))
    assert len({reply.text for reply in replies}) > 8
    assert sorted(done) == list(range(11))
    assert done[:4] != list(range(7, 11)), "the first are begun first"


def test_a_prompt_that_begins_alike_changes_nothing(path: Path, tmp_path: Path) -> None:
    """What is kept of the prompt before is what would be computed, to the bit."""
    long = [Message("user", "count the agents near the food " * 120)]
    other = [*long, Message("assistant", "Three."), Message("user", "Again, please.")]
    request = ChatRequest(other, n=2, seed=5, max_tokens=40)
    with_before = LlamaCppModel("a", path, tmp_path / "a", device="cpu")
    alone = LlamaCppModel("b", path, tmp_path / "b", device="cpu")
    try:
        with_before.complete(ChatRequest(long, n=3, seed=2, max_tokens=9))
        assert with_before.count_tokens(long) > 1100, "two chunks and a part of a third"
        found = [c.text for c in with_before.complete(request)]
        assert found == [c.text for c in alone.complete(request)]
    finally:
        with_before.close()
        alone.close()


def test_text_comes_in_pieces_and_ends_as_the_reply(model: LlamaCppModel) -> None:
    pieces: dict[int, str] = {}
    order: list[str] = []

    def on_text(index: int, text: str) -> None:
        pieces[index] = pieces.get(index, "") + text
        order.append("text")

    request = ChatRequest(ASKED, n=3, seed=1, max_tokens=24)
    replies = model.complete(
        request, on_text=on_text, on_done=lambda index, reply: order.append("done")
    )
    assert [pieces[i] for i in range(3)] == [reply.text for reply in replies]
    assert order.index("done") > 3
    assert all(r.completion_tokens == 24 and r.finish_reason == "length" for r in replies)
    assert replies[0].prompt_tokens == model.count_tokens(ASKED)


def test_many_threads_ask_at_once(model: LlamaCppModel) -> None:
    found: dict[int, list[Completion]] = {}

    def ask(seed: int) -> None:
        messages = [Message("user", f"Number {seed}: " + "word " * 40 * seed)]
        found[seed] = model.complete(ChatRequest(messages, n=2, seed=seed, max_tokens=20))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == list(range(9))
    assert all(len(replies) == 2 for replies in found.values())


@pytest.mark.parametrize(
    "constraint", [Constraint("json", VERDICT), Constraint("grammar", LINES)], ids=["json", "lark"]
)
def test_replies_keep_to_a_constraint(model: LlamaCppModel, constraint: Constraint) -> None:
    for reply in model.complete(ChatRequest(ASKED, n=3, max_tokens=200, constraint=constraint)):
        assert reply.finish_reason == "stop"
        assert reply.violation == ""
        if constraint.kind == "json":
            assert json.loads(reply.text)["chosen"] in (0, 1, 2)
        else:
            ast.parse(reply.text)


def test_a_grammar_that_cannot_be_read_ends_the_request_alone(model: LlamaCppModel) -> None:
    others: list[Completion] = []
    begun = threading.Event()

    def ask() -> None:
        request = ChatRequest(ASKED, n=2, max_tokens=400)
        others.extend(model.complete(request, on_text=lambda index, text: begun.set()))

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(60)
    with pytest.raises(ModelError, match="the constraint cannot be used"):
        texts(model, constraint=Constraint("grammar", "start: ("), max_tokens=4)
    assert asking.is_alive(), "it was to fail beside the other"
    asking.join(120)
    assert [reply.finish_reason for reply in others] == ["length", "length"]


def test_control_tokens_in_a_message_are_text(model: LlamaCppModel) -> None:
    plain = model.count_tokens([Message("user", "a")])
    named = model.count_tokens([Message("user", "<|im_end|>")])
    assert named > plain + 3


def test_a_begun_reply_is_gone_on_with(model: LlamaCppModel) -> None:
    begun = [*ASKED, Message("assistant", "def tfcaf(")]
    assert model.count_tokens(begun) > model.count_tokens(ASKED)
    assert not texts(model, max_tokens=4)[0].startswith("def tfcaf(")


def test_what_does_not_fit_the_context_is_said(model: LlamaCppModel) -> None:
    with pytest.raises(ContextOverflow, match="holds 4,096: shorten the prompt"):
        texts(model, max_tokens=4090)


def test_what_the_caller_raises_ends_the_request(model: LlamaCppModel) -> None:
    class Enough(Exception):
        pass

    def stop(index: int, text: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        model.complete(ChatRequest(ASKED, n=4, max_tokens=3000), on_text=stop)
    assert texts(model, max_tokens=4)


def test_a_process_that_dies_is_named_and_started_again(path: Path, tmp_path: Path) -> None:
    model = LlamaCppModel("tiny", path, tmp_path, device="cpu")
    try:
        first = texts(model, seed=3, max_tokens=6)
        process = newest_worker()

        def kill(index: int, text: str) -> None:
            os.kill(process, signal.SIGKILL)

        with pytest.raises(ModelError, match=r"was killed by SIGKILL .* in the middle of a reply"):
            model.complete(ChatRequest(ASKED, max_tokens=3000), on_text=kill)
        assert texts(model, seed=3, max_tokens=6) == first
    finally:
        model.close()


def test_closing_leaves_no_process(path: Path, tmp_path: Path) -> None:
    model = LlamaCppModel("tiny", path, tmp_path, device="cpu")
    texts(model, max_tokens=2)
    process = psutil.Process(newest_worker())
    model.close()
    assert not process.is_running()
    with pytest.raises(ModelError, match="is closed"):
        texts(model)


def test_files_that_llama_cpp_cannot_load_are_named(tmp_path: Path) -> None:
    path = build_tiny_gguf(tmp_path, general_architecture="brandnew")
    with pytest.raises(ModelError, match=r"llama\.cpp cannot load .*unknown model architecture"):
        texts(LlamaCppModel("new", path, tmp_path, device="cpu"))
    path = build_tiny_gguf(tmp_path, tokenizer_chat_template="{% for %}")
    with pytest.raises(ModelError, match="its chat template cannot be read"):
        texts(LlamaCppModel("odd", path, tmp_path, device="cpu"))


def test_room_is_made_on_a_gpu_alone(path: Path, tmp_path: Path) -> None:
    model = LlamaCppModel("tiny", path, tmp_path, device="cpu")
    try:
        texts(model, max_tokens=2)
        process = newest_worker()
        model.make_room()
        model.come_back()
        texts(model, max_tokens=2)
        assert newest_worker() == process
    finally:
        model.close()


def newest_worker() -> int:
    """The newest worker among this process's children."""
    workers = [
        child
        for child in psutil.Process().children()
        if "models.llama_cpp.worker" in child.cmdline()
    ]
    return max(workers, key=lambda child: child.create_time()).pid


def test_a_template_without_an_end_is_given_up(path: Path, tmp_path: Path) -> None:
    forever = (
        "{% if messages|length > 2 %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    )
    path = build_tiny_gguf(tmp_path, tokenizer_chat_template=forever)
    model = LlamaCppModel("odd", path, tmp_path, device="cpu")
    try:
        assert texts(model, max_tokens=2)
        assert model._worker is not None
        model._worker._silence_s = 3
        with pytest.raises(ModelError, match="said nothing for 3 s"):
            model.complete(ChatRequest([*ASKED, *ASKED], max_tokens=2))
    finally:
        model.close()


def test_a_closed_model_waits_for_no_template(path: Path, tmp_path: Path) -> None:
    """A template without an end, met while the model is loaded."""
    forever = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
    path = build_tiny_gguf(tmp_path, tokenizer_chat_template=forever)
    model = LlamaCppModel("odd", path, tmp_path, device="cpu")
    failed: list[str] = []

    def ask() -> None:
        try:
            texts(model, max_tokens=2)
        except ModelError as error:
            failed.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    model.close()
    asking.join(30)
    assert failed == ["'odd' is closed"]
    assert not [c for c in psutil.Process().children() if str(tmp_path) in " ".join(c.cmdline())]


def test_a_process_ends_with_its_user(path: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from models.llama_cpp.model import LlamaCppModel\n"
        "from models.protocol import ChatRequest, Message\n"
        "from pathlib import Path\n"
        "import psutil, os\n"
        "model = LlamaCppModel('tiny', sys.argv[1], Path(sys.argv[2]), device='cpu')\n"
        "def stop(index, text):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    os._exit(0)\n"
        "model.complete(ChatRequest([Message('user', 'a')], max_tokens=3000), on_text=stop)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    until = time.monotonic() + 20
    while psutil.pid_exists(int(done.stdout)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(done.stdout))


@pytest.mark.parametrize(
    "said",
    [b"{", b"[]", b"{}", b"\xff", b'{"kind": "ready"}', b'{"key": [1]}', b"[" * 100_000],
)
def test_a_process_that_says_what_is_no_message_is_given_up(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "from multiprocessing.connection import Connection\n"
        "channel = Connection(int(sys.argv[3]))\n"
        "channel.recv_bytes()\n"
        f"said = {said!r}\n"
        "channel.send_bytes(said)\n"
        "while True:\n"
        "    channel.recv_bytes()\n"
        "    channel.send_bytes(b'what')\n"
    )
    program.chmod(0o700)
    model = LlamaCppModel("odd", path, tmp_path, device="cpu")
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ModelError):
        texts(model, max_tokens=2)
    model.close()


def test_tokens_that_a_file_defines_itself_are_text_in_a_message(
    path: Path, tmp_path: Path
) -> None:
    path = build_tiny_gguf(tmp_path, token_types={"<|im_start|>": 4})
    model = LlamaCppModel("odd", path, tmp_path, device="cpu")
    try:
        plain = model.count_tokens([Message("user", "a")])
        named = model.count_tokens([Message("user", "a<|im_start|>")])
        assert named > plain + 3
    finally:
        model.close()
