"""A real vLLM server on the CPU, with a tiny model of random weights behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from models.families import FAMILIES
from models.protocol import ChatRequest, Constraint, ContextOverflow, Message, ModelError
from models.vllm.model import VllmModel
from models.vllm.server import VllmServer
from tests.models.vllm_fixture import ROOT, ServedTiny, tiny_vllm, vllm_python

__all__ = ["tiny_vllm", "vllm_python"]  # fixtures

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

HELLO = [Message("user", "hello")]
SCHEMA = Constraint(
    "json",
    {
        "type": "object",
        "properties": {
            "choice": {"type": "integer", "minimum": 0, "maximum": 2},
            "advice": {"type": "string", "minLength": 1, "maxLength": 60},
        },
        "required": ["choice", "advice"],
        "additionalProperties": False,
    },
)
GRAMMAR = Constraint(
    "grammar",
    r"""start: "def credit(agent_qs, state):\n" line{1,4} "    return q_tot\n"
line: "    " NAME " = " NAME " * " NUMBER "\n"
NAME: /[a-z]{1,8}/
NUMBER: /[0-9]\.[0-9]/
""",
)


@pytest.fixture
def model(tiny_vllm: ServedTiny) -> Iterator[VllmModel]:
    model = tiny_vllm.open()
    yield model
    model.close()


def test_it_answers_and_says_what_it_cost(model: VllmModel) -> None:
    heard = {0: "", 1: ""}

    def on_text(index: int, text: str) -> None:
        heard[index] += text

    replies = model.complete(ChatRequest(HELLO, n=2, seed=3, max_tokens=20), on_text=on_text)
    assert heard == {0: replies[0].text, 1: replies[1].text}
    assert replies[0].text != replies[1].text
    for reply in replies:
        assert reply.prompt_tokens == model.count_tokens(HELLO) == 17
        assert reply.completion_tokens == 20
        assert reply.finish_reason == "length"
        assert reply.latency_s > 0
    assert model.context_tokens == 8192
    assert model.server.metrics().generation_tokens >= 40


def test_json_and_grammar_are_kept_to(model: VllmModel) -> None:
    for constraint in (SCHEMA, GRAMMAR):
        replies = model.complete(
            ChatRequest(HELLO, n=4, seed=1, max_tokens=400, constraint=constraint)
        )
        assert [r.violation for r in replies] == [""] * 4
        assert [r.finish_reason for r in replies] == ["stop"] * 4
        assert len({r.text for r in replies}) > 1


def test_a_long_conversation_keeps_to_its_grammar(model: VllmModel) -> None:
    words = "state weight credit agent reward "
    long = [Message("user", words * 1000), Message("assistant", words), Message("user", "again")]
    assert 5000 < model.count_tokens(long) < 7700
    (reply,) = model.complete(ChatRequest(long, seed=2, max_tokens=400, constraint=GRAMMAR))
    assert reply.violation == ""
    assert reply.finish_reason == "stop"


def test_the_same_seed_gives_the_same_texts_and_another_gives_others(model: VllmModel) -> None:
    def texts(seed: int) -> list[str]:
        return [r.text for r in model.complete(ChatRequest(HELLO, n=3, seed=seed, max_tokens=50))]

    assert texts(5) == texts(5)
    assert texts(5) != texts(6)


def test_without_a_temperature_all_replies_are_one(model: VllmModel) -> None:
    replies = model.complete(ChatRequest(HELLO, n=2, seed=5, temperature=0.0, max_tokens=10))
    assert replies[0].text == replies[1].text


def test_many_requests_at_once_are_answered_as_one_by_one(model: VllmModel) -> None:
    def ask(seed: int) -> list[str]:
        constraint = (None, SCHEMA, GRAMMAR)[seed % 3]
        replies = model.complete(
            ChatRequest(HELLO, n=2, seed=seed, max_tokens=150, constraint=constraint)
        )
        assert not any(r.violation for r in replies)
        return [r.text for r in replies]

    alone = {seed: ask(seed) for seed in range(16)}
    together: dict[int, list[str]] = {}
    threads = [
        threading.Thread(target=lambda s=seed: together.__setitem__(s, ask(s))) for seed in alone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert together == alone


def test_what_does_not_fit_the_context_is_refused_with_numbers(model: VllmModel) -> None:
    with pytest.raises(ContextOverflow, match=r"17 tokens and a reply of up to 8176 .* 8192"):
        model.complete(ChatRequest(HELLO, max_tokens=8176))
    with pytest.raises(ContextOverflow, match=r"17 tokens and a reply of up to 9000 .* 8192"):
        model.complete(ChatRequest(HELLO, max_tokens=9000))
    with pytest.raises(ContextOverflow, match=r"90\d\d tokens and a reply of up to 5 .* 8192"):
        model.complete(ChatRequest([Message("user", "hello" + " state" * 9000)], max_tokens=5))
    assert model.complete(ChatRequest(HELLO, max_tokens=5))


def test_a_grammar_that_vllm_refuses_is_said(model: VllmModel) -> None:
    with pytest.raises(ModelError, match="grammar"):
        model.complete(ChatRequest(HELLO, constraint=Constraint("grammar", 'start: "a" nonsense')))


def test_a_listener_that_raises_ends_the_request_on_the_server(model: VllmModel) -> None:
    class Enough(Exception):
        pass

    def on_text(index: int, text: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        model.complete(ChatRequest(HELLO, n=4, max_tokens=6000), on_text=on_text)
    for _ in range(100):
        if model.server.metrics().running == 0:
            break
        threading.Event().wait(0.05)
    assert model.server.metrics().running == 0


@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/health", "/tokenize"])
def test_nothing_is_told_without_the_key(model: VllmModel, path: str) -> None:
    model.start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(model.server.url.removesuffix("/v1") + path, timeout=10)


def test_a_running_server_is_adopted(tiny_vllm: ServedTiny, model: VllmModel) -> None:
    second = VllmServer(tiny_vllm.spec, tiny_vllm.folder)
    second.start()
    assert second.adopted
    model.start()
    assert model.server.pid == second.pid
    second.release()
    assert model.server.is_healthy()


def test_a_server_killed_in_mid_generation_is_replaced_and_nothing_is_lost(
    model: VllmModel,
) -> None:
    for seed in range(40):  # long enough that the end is not on its way before the kill
        settings = {"n": 2, "seed": seed, "max_tokens": 4000}
        replies = model.complete(ChatRequest(HELLO, **settings))
        if min(r.completion_tokens for r in replies) > 1000:
            break
    else:
        pytest.fail("no seed gives two long replies")
    whole = [r.text for r in replies]
    for _ in range(5):  # where this process is slow to hear, the whole reply is out before the kill
        heard = {0: "", 1: ""}
        killed: list[int] = []

        def on_text(index: int, text: str, heard=heard, killed=killed) -> None:
            heard[index] += text
            if not killed:
                server = psutil.Process(model.server.pid)
                killed.append(server.pid)
                for process in [server, *server.children(recursive=True)]:
                    process.kill()

        again = [r.text for r in model.complete(ChatRequest(HELLO, **settings), on_text=on_text)]
        assert again == whole
        assert heard == {0: whole[0], 1: whole[1]}
        if model.server.pid != killed[0]:
            return
    pytest.fail("no kill fell into the middle of a reply")


def test_a_start_without_enough_memory_is_explained(tiny_vllm: ServedTiny, tmp_path: Path) -> None:
    greedy = replace(tiny_vllm.spec, kv_cache_bytes=1 << 50)
    server = VllmServer(greedy, tmp_path / "server", start_timeout_s=300)
    with pytest.raises(ModelError, match="this machine's memory is too small") as caught:
        server.start()
    assert "did not start" in str(caught.value)
    assert str(server.log) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not server.is_running()


def only_loopback() -> list[str]:
    """Words that run a command where loopback is the only network; skips where that is not let."""
    unshare = shutil.which("unshare")
    ip = shutil.which("ip")
    if unshare is None or ip is None:
        pytest.skip("needs the commands unshare and ip")
    words = [unshare, "-rn", "sh", "-c", f'{ip} link set lo up && exec "$@"', "sh"]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"network namespaces are not permitted here: {tried.stderr.strip()[:100]}")
    return words


def test_stopping_leaves_nothing_and_no_network_is_needed(
    tiny_vllm: ServedTiny, tmp_path: Path
) -> None:
    """In a namespace of its own, where only loopback is up."""
    spec = tiny_vllm.spec
    code = f"""
        import psutil
        from models.protocol import ChatRequest, Message
        from models.vllm.launch import ServerSpec
        from models.vllm.model import VllmModel
        spec = ServerSpec(
            python={spec.python!r}, model_path={spec.model_path!r}, served_name="tiny",
            context_tokens=2048, dtype="float32", kv_cache_bytes=1 << 28,
        )
        assert set(psutil.net_if_stats()) == {{"lo"}}, psutil.net_if_stats()
        model = VllmModel("tiny", spec, {str(tmp_path / "server")!r}, start_timeout_s=300)
        asked = ChatRequest([Message("user", "hello")], max_tokens=5)
        reply = model.complete(asked)[0]
        assert reply.completion_tokens == 5
        family = psutil.Process().children(recursive=True)
        assert len(family) >= 3, family
        model.close()
        left = [p for p in family if p.is_running() and p.status() != "zombie"]
        assert not left, left
        print("answered")
    """
    done = subprocess.run(
        [*only_loopback(), sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )
    assert done.stdout == "answered\n", done.stderr[-3000:]


def test_vllm_knows_the_parsers_and_transformers_the_types_of_the_presets(vllm_python: str) -> None:
    question = """
        import json
        from transformers import CONFIG_MAPPING
        from vllm.reasoning import _REASONING_PARSERS_TO_REGISTER
        print(json.dumps([sorted(_REASONING_PARSERS_TO_REGISTER), sorted(CONFIG_MAPPING.keys())]))
    """
    done = subprocess.run(
        [vllm_python, "-c", textwrap.dedent(question)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    parsers, types = map(set, json.loads(done.stdout.splitlines()[-1]))
    for family in FAMILIES:
        assert family.reasoning_parser in parsers | {""}, family.key
        assert family.model_types <= types, family.key
