"""The life of a managed server, with a small program in vLLM's place."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.protocol import ChatModel, ChatRequest, HoldsDevice, Message, ModelError
from models.vllm.calls import Calls
from models.vllm.environment import examine
from models.vllm.launch import ServerSpec, command_line, server_environment
from models.vllm.model import VllmModel
from models.vllm.reasons import reason
from models.vllm.server import VllmServer
from models.vllm.state import read_state, write_state

ROOT = Path(__file__).resolve().parents[2]
HELLO = [Message("user", "hello")]


def fake_python(folder: Path, *, on_cpu: bool = True) -> str:
    """The path of an environment's Python that is none."""
    folder.mkdir(exist_ok=True)
    program = folder / "python"
    source = Path(__file__).with_name("fake_vllm.py").read_text()
    program.write_text(f"#!{sys.executable} -IS\n{source}")
    program.chmod(0o755)
    if on_cpu:
        (folder / "on_cpu").touch()
    return str(program)


@pytest.fixture
def spec(tmp_path: Path) -> ServerSpec:
    python = fake_python(tmp_path / "environment")
    return ServerSpec(python=python, model_path=str(tmp_path), served_name="m")


@pytest.fixture
def server(spec: ServerSpec, tmp_path: Path) -> Iterator[VllmServer]:
    server = VllmServer(spec, tmp_path / "server", grace_s=3)
    yield server
    server.stop()


def in_mood(spec: ServerSpec, **mood: Any) -> ServerSpec:
    return replace(spec, environment=(("FAKE_VLLM", json.dumps(mood)),))


def child_of(server: VllmServer) -> int:
    """The process that the server started in a session of its own."""
    eventually(lambda: "child " in server.log.read_text())
    return int(server.log.read_text().split("child ")[1].split()[0])


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.03)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def family(server: VllmServer) -> list[int]:
    state = read_state(server.folder)
    assert state is not None
    return [state.keeper, state.server, child_of(server)]


# -- starting and stopping ------------------------------------------------------------------------


def test_a_server_is_started_asked_and_stopped_whole(server: VllmServer) -> None:
    server.start()
    assert server.is_healthy()
    assert server.url.startswith("http://127.0.0.1:")
    assert server.context_tokens() == 4096
    metrics = server.metrics()
    assert (metrics.running, metrics.waiting, metrics.kv_usage) == (3, 4, 0.25)
    assert (metrics.prompt_tokens, metrics.generation_tokens) == (59, 1703)
    members = family(server)
    server.stop()
    server.stop()
    assert all(gone(pid) for pid in members)
    assert not server.is_running()
    assert not (server.folder / "state.json").exists()


def test_a_stubborn_server_and_its_stray_child_are_killed(spec: ServerSpec, tmp_path: Path) -> None:
    server = VllmServer(in_mood(spec, stubborn=True), tmp_path / "server", grace_s=0.5)
    server.start()
    members = family(server)
    server.stop()
    assert all(gone(pid) for pid in members)


def test_the_child_of_a_killed_server_does_not_outlive_it(server: VllmServer) -> None:
    server.start()
    members = family(server)
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: all(gone(pid) for pid in members))
    assert not server.is_running()
    assert "killed (SIGKILL)" in server.reason()


def test_the_shared_memory_of_a_server_that_was_killed_whole_is_removed(
    spec: ServerSpec, tmp_path: Path
) -> None:
    server = VllmServer(in_mood(spec, shared=True), tmp_path / "server")
    server.start()
    name = server.log.read_text().split("shared ")[1].split()[0]
    assert (Path("/dev/shm") / name).exists()
    time.sleep(1.5)  # for the keeper to have seen it
    for process in psutil.Process(server.pid).children(recursive=True):
        process.kill()  # the tracker that would have removed it, above all
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not (Path("/dev/shm") / name).exists())
    server.release()


def test_a_killed_keeper_takes_the_server_with_it(server: VllmServer) -> None:
    server.start()
    state = read_state(server.folder)
    assert state is not None
    members = family(server)
    os.kill(state.keeper, signal.SIGKILL)
    eventually(lambda: gone(state.server))
    server.start()  # clears away what is left
    assert server.is_healthy()
    assert all(gone(pid) for pid in members[:2])


def test_the_key_is_in_no_command_line_and_no_readable_file(server: VllmServer) -> None:
    server.start()
    state = read_state(server.folder)
    assert state is not None
    key = server.api_key
    assert len(key) >= 32
    for pid in family(server):
        assert key not in " ".join(psutil.Process(pid).cmdline())
    assert key not in "".join(psutil.Process(state.keeper).environ().values())
    assert stat.S_IMODE((server.folder / "state.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600
    assert key not in repr(state)
    assert not Calls(state.port, "another").healthy()


def test_the_server_sees_a_closed_environment(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    server = VllmServer(spec, tmp_path / "server")
    server.start()
    try:
        seen = json.loads(server.log.read_text().splitlines()[0])
    finally:
        server.stop()
    environment = seen["environment"]
    assert not {"SOME_API_KEY", "HF_TOKEN", "HTTPS_PROXY"} & set(environment)
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == "1"
    assert environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert environment["PYTHONPATH"] == str(tmp_path / "server" / "inside")
    assert seen["words"][seen["words"].index("--host") + 1] == "127.0.0.1"


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n"
            "RuntimeError: Engine core initialization failed. See root cause above.",
            "GPU's memory is too small",
        ),
        (
            "(EngineCore pid=7) ERROR 11-22 19:05:54 [core.py:1] ValueError: To serve at least one "
            "request with the models's max seq len (8192), 4.00 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (0.10 GiB).",
            "too little room for keys and values",
        ),
        (
            "ERROR 11-22 19:22:08 [core.py:9] ValueError: Available memory on node 0 (1/2 GiB) on "
            "kv cache allocation is less than requested memory for kv (1048576.0 GiB).",
            "this machine's memory is too small",
        ),
        (
            "WARNING 11-22 19:22:08 [x.py:9] dtype int4 is not supported, MemoryError: \n"
            "(Worker pid=3) ERROR 11-22 19:22:08 [a.py:1] RuntimeError: CPU Generator does not\n"
            "(APIServer pid=3) ERROR 11-22 19:22:08 [b.py:1] vllm.EngineDeadError: EngineCore ...",
            "its log says: RuntimeError: CPU Generator does not",
        ),
        ("RuntimeError: [enforce fail] can't allocate memory: you tried", "memory is too small"),
        (
            "ValueError: Model architectures ['OddForCausalLM'] are not supported for now.",
            "does not know the model's architecture",
        ),
        ("vllm serve: error: unrecognized arguments: --nonsense", "does not know one of the opt"),
        ("RuntimeError: Failed to infer device type", "no device that it can use"),
        (
            "KeyError: 'rope'\nRuntimeError: Engine core initialization failed.",
            "its log says: KeyError: 'rope'",
        ),
        ("something odd", "the last line of its log: something odd"),
    ],
)
def test_a_log_is_read_for_the_reason(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "log").write_text(f"INFO hello\n{log}\nqllm: the server ended with status 1\n")
    found = reason(tmp_path / "log")
    assert said in found
    assert "\n" not in found
    assert "pid=" not in found


def test_a_server_that_does_not_start_is_explained_from_its_log(
    spec: ServerSpec, tmp_path: Path
) -> None:
    mood = in_mood(spec, log="torch.OutOfMemoryError: CUDA out of memory.", exit=1)
    server = VllmServer(mood, tmp_path / "server")
    with pytest.raises(ModelError) as caught:
        server.start()
    message = str(caught.value)
    assert "server of 'm' did not start: the GPU's memory is too small" in message
    assert str(server.log) in message
    assert "\n" not in message
    assert not (server.folder / "state.json").exists()
    assert not list((server.folder / "users").iterdir())


def test_a_port_that_was_taken_meanwhile_is_tried_elsewhere(
    spec: ServerSpec, tmp_path: Path
) -> None:
    log = "OSError: [Errno 98] Address already in use"
    said: list[str] = []
    server = VllmServer(in_mood(spec, log=log, exit=1), tmp_path / "server", said.append)
    with pytest.raises(ModelError, match="port was taken"):
        server.start()
    first, last = (server.folder / n for n in ("server.log.1", "server.log"))
    ports = [json.loads(f.read_text().splitlines()[0])["words"] for f in (first, last)]
    assert ports[0][ports[0].index("--port") + 1] != ports[1][ports[1].index("--port") + 1]


def test_a_server_that_is_never_ready_is_given_up(spec: ServerSpec, tmp_path: Path) -> None:
    server = VllmServer(in_mood(spec, delay_s=60), tmp_path / "server", start_timeout_s=0.8)
    with pytest.raises(ModelError, match=r"not ready after 0\.8 s"):
        server.start()
    assert not server.is_running()


def test_a_python_that_is_none_or_has_no_vllm_is_said(spec: ServerSpec, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no /nowhere/python"):
        VllmServer(replace(spec, python="/nowhere/python"), tmp_path / "a").start()
    empty = tmp_path / "empty"
    empty.write_text("#!/bin/sh\necho '{}'\n")
    empty.chmod(0o755)
    with pytest.raises(ModelError, match="vLLM is not installed"):
        VllmServer(replace(spec, python=str(empty)), tmp_path / "b").start()


@pytest.mark.parametrize(("device", "on_cpu"), [("cuda:0", True), ("cpu", False)])
def test_a_device_that_vllm_was_not_built_for_is_said(
    spec: ServerSpec, tmp_path: Path, device: str, on_cpu: bool
) -> None:
    python = fake_python(tmp_path / "another", on_cpu=on_cpu)
    with pytest.raises(ModelError, match="is built for"):
        VllmServer(replace(spec, python=python, device=device), tmp_path / "a").start()


# -- the command line -----------------------------------------------------------------------------


def test_settings_become_options(spec: ServerSpec) -> None:
    full = replace(
        spec,
        context_tokens=4096,
        gpu_memory_utilization=0.5,
        max_num_seqs=8,
        tensor_parallel_size=2,
        reasoning_parser="qwen3",
        chat_template_kwargs={"enable_thinking": False},
        sleep=True,
        extra_args=("--seed", "1"),
    )
    line = " ".join(command_line(full, 1234, on_cpu=False))
    for words in (
        "serve", "--port 1234", "--max-model-len 4096", "--gpu-memory-utilization 0.5",
        "--max-num-seqs 8", "--tensor-parallel-size 2", "--reasoning-parser qwen3",
        '--default-chat-template-kwargs {"enable_thinking": false}', "--enable-sleep-mode",
        '"backend": "guidance"', "--seed 1",
    ):  # fmt: skip
        assert words in line
    assert "--enforce-eager" not in line
    assert " --trust-remote-code" not in line
    on_cpu = " ".join(command_line(full, 1234, on_cpu=True))
    assert "--enforce-eager" in on_cpu
    assert "--kv-cache-memory-bytes 1073741824" in on_cpu
    assert "--enable-sleep-mode" not in on_cpu
    assert "--gpu-memory-utilization" not in on_cpu


def test_what_keeps_a_server_closed_cannot_be_changed_by_more_options(spec: ServerSpec) -> None:
    """vLLM takes the last of an option's values."""
    open_ = replace(spec, extra_args=("--host", "0.0.0.0", "--port", "1", "--trust-remote-code"))
    words = command_line(open_, 1234, on_cpu=True)
    for option, value in (("--host", "127.0.0.1"), ("--port", "1234")):
        last = len(words) - 1 - words[::-1].index(option)
        assert words[last + 1] == value
    assert words[-1] == "--no-trust-remote-code"


def test_a_folder_that_others_may_write_into_is_refused(spec: ServerSpec, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ModelError, match="others may write"):
        VllmServer(spec, tmp_path / "open").start()


def test_development_endpoints_are_open_only_where_sleep_needs_them(spec: ServerSpec) -> None:
    def mode(spec: ServerSpec, *, on_cpu: bool) -> str:
        chosen = server_environment(spec, "k", guard_folder="g", on_cpu=on_cpu, base={})
        return chosen["VLLM_SERVER_DEV_MODE"]

    assert mode(spec, on_cpu=False) == "0"
    assert mode(replace(spec, sleep=True), on_cpu=False) == "1"
    assert mode(replace(spec, sleep=True), on_cpu=True) == "0"


def test_a_gpu_is_chosen_among_those_that_the_user_shows(spec: ServerSpec) -> None:
    def shown(device: str, visible: str | None) -> str | None:
        base = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        chosen = replace(spec, device=device)
        made = server_environment(chosen, "k", guard_folder="g", on_cpu=False, base=base)
        return made.get("CUDA_VISIBLE_DEVICES")

    assert shown("auto", "2,3") == "2,3"
    assert shown("cuda:1", None) == "1"
    assert shown("cuda:1", "2,3") == "3"
    with pytest.raises(ModelError, match="shows 2 GPUs"):
        shown("cuda:2", "2,3")


def test_every_setting_makes_another_server(spec: ServerSpec) -> None:
    others = [replace(spec, context_tokens=5), replace(spec, sleep=True), replace(spec, dtype="x")]
    assert len({s.digest() for s in [spec, *others]}) == 4
    assert replace(spec).digest() == spec.digest()


# -- sharing --------------------------------------------------------------------------------------


def test_the_same_settings_share_a_server_and_the_last_user_ends_it(server: VllmServer) -> None:
    server.start()
    second = VllmServer(server.spec, server.folder)
    second.start()
    assert second.adopted
    assert not server.adopted
    assert second.pid == server.pid
    assert server.others() == 1
    members = family(server)
    server.release()
    time.sleep(0.6)
    assert second.is_healthy()
    second.release()
    assert all(gone(pid) for pid in members)


def test_other_settings_are_refused_while_a_server_runs(server: VllmServer) -> None:
    server.start()
    other = VllmServer(replace(server.spec, context_tokens=99), server.folder)
    with pytest.raises(ModelError, match="with other settings: stop it first"):
        other.start()
    assert server.is_healthy()
    other.stop()  # anybody of this user may
    other.start()
    assert not other.adopted
    other.stop()


def test_only_a_server_of_ours_is_adopted(server: VllmServer) -> None:
    server.start()
    state = read_state(server.folder)
    assert state is not None
    write_state(server.folder, replace(state, key="wrong"))  # somebody else's listens at the port
    second = VllmServer(server.spec, server.folder, grace_s=3)
    second.start()
    assert not second.adopted
    assert second.is_healthy()
    (second.folder / "state.json").chmod(0o644)
    assert read_state(second.folder) is None  # others could have read the key
    (second.folder / "state.json").chmod(0o600)
    second.stop()


def test_a_recycled_process_number_is_no_server(server: VllmServer) -> None:
    server.start()
    state = read_state(server.folder)
    assert state is not None
    assert not replace(state, keeper=os.getpid()).is_running()
    assert state.is_running()


def test_threads_that_start_at_once_get_one_server(spec: ServerSpec, tmp_path: Path) -> None:
    servers = [VllmServer(in_mood(spec, delay_s=0.3), tmp_path / "server") for _ in range(4)]
    threads = [threading.Thread(target=s.start) for s in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({s.pid for s in servers}) == 1
    assert sum(not s.adopted for s in servers) == 1
    for each in servers:
        each.release()
    assert gone(servers[0].pid) if servers[0].is_running() else True
    assert not (tmp_path / "server" / "state.json").exists()


def in_another_process(spec: ServerSpec, folder: Path, persistent: bool) -> subprocess.Popen[str]:
    """A process that starts a server, says so and waits."""
    code = f"""
        import time
        from models.vllm.launch import ServerSpec
        from models.vllm.server import VllmServer
        spec = ServerSpec(python={spec.python!r}, model_path={spec.model_path!r}, served_name="m")
        server = VllmServer(spec, {str(folder)!r}, persistent={persistent})
        server.start()
        print("ready", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_a_server_ends_when_the_process_that_started_it_is_killed(
    server: VllmServer,
) -> None:
    owner = in_another_process(server.spec, server.folder, persistent=False)
    members = family(server)
    owner.kill()
    owner.wait()
    eventually(lambda: all(gone(pid) for pid in members))


def test_a_server_goes_on_while_another_process_uses_it(server: VllmServer) -> None:
    owner = in_another_process(server.spec, server.folder, persistent=False)
    server.start()
    assert server.adopted
    members = family(server)
    owner.kill()
    owner.wait()
    time.sleep(0.8)
    assert server.is_healthy()
    server.release()
    assert all(gone(pid) for pid in members)


def test_a_persistent_server_outlives_who_started_it_and_who_uses_it(server: VllmServer) -> None:
    owner = in_another_process(server.spec, server.folder, persistent=True)
    owner.kill()
    owner.wait()
    time.sleep(0.8)
    server.start()
    assert server.adopted
    server.release()
    time.sleep(0.6)
    again = VllmServer(server.spec, server.folder)
    again.start()
    assert again.adopted
    again.stop()


def test_a_server_of_a_job_can_be_made_persistent(server: VllmServer) -> None:
    server.start()
    keeping = VllmServer(server.spec, server.folder, persistent=True)
    keeping.start()
    keeping.release()
    server.release()
    time.sleep(0.8)
    state = read_state(server.folder)
    assert state is not None
    assert state.is_running()


# -- the model ------------------------------------------------------------------------------------


@pytest.fixture
def model(spec: ServerSpec, tmp_path: Path) -> Iterator[VllmModel]:
    model = VllmModel("mine", spec, tmp_path / "server")
    yield model
    model.close()
    model.server.stop()


def test_a_model_starts_its_server_when_it_is_asked(model: VllmModel) -> None:
    assert isinstance(model, ChatModel)
    assert isinstance(model, HoldsDevice)
    assert not model.server.is_running()
    assert model.context_tokens is None
    assert model.count_tokens(HELLO) == 5
    assert model.context_tokens == 4096
    replies = model.complete(ChatRequest(HELLO, n=2, seed=3, max_tokens=99))
    assert replies[0].text.startswith("3-1 3-2 ")
    assert replies[1].text.startswith("4-1 4-2 ")
    model.close()
    model.close()
    assert not model.server.is_running()
    with pytest.raises(ModelError, match="closed"):
        model.complete(ChatRequest(HELLO, max_tokens=99))


def test_a_model_that_is_closed_while_its_server_loads_gives_it_up(
    spec: ServerSpec, tmp_path: Path
) -> None:
    model = VllmModel("mine", in_mood(spec, delay_s=60), tmp_path / "server")
    said: list[str] = []

    def ask() -> None:
        try:
            model.complete(ChatRequest(HELLO, max_tokens=99))
        except ModelError as error:
            said.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: read_state(model.server.folder) is not None)
    state = read_state(model.server.folder)
    assert state is not None
    start = time.monotonic()
    model.close()
    asking.join(30)
    assert time.monotonic() - start < 20
    assert "nobody waits" in said[0]
    assert gone(state.server)
    assert gone(state.keeper)


def test_a_server_killed_in_mid_reply_is_replaced_and_nothing_is_lost(
    spec: ServerSpec, tmp_path: Path
) -> None:
    said: list[str] = []
    model = VllmModel("mine", spec, tmp_path / "server", say=said.append)
    whole = model.complete(ChatRequest(HELLO, n=2, seed=3, max_tokens=99))
    heard = {0: "", 1: ""}
    done: list[int] = []
    killed: list[int] = []

    def on_text(index: int, text: str) -> None:
        heard[index] += text
        if "3-10 " in heard[0] and not killed:
            killed.append(model.server.pid)
            os.kill(model.server.pid, signal.SIGKILL)

    again = model.complete(
        ChatRequest(HELLO, n=2, seed=3, max_tokens=99),
        on_text=on_text,
        on_done=lambda i, c: done.append(i),
    )
    try:
        assert killed
        assert model.server.pid != killed[0]
        assert [r.text for r in again] == [r.text for r in whole]
        assert heard == {0: again[0].text, 1: again[1].text}
        assert done == [0, 1]
        assert any("died" in line and "starting it again" in line for line in said)
    finally:
        model.close()


def test_threads_whose_server_dies_share_one_new_server(spec: ServerSpec, tmp_path: Path) -> None:
    said: list[str] = []
    model = VllmModel("mine", spec, tmp_path / "server", say=said.append)
    model.start()
    got: dict[int, str] = {}

    def ask(seed: int) -> None:
        got[seed] = model.complete(ChatRequest(HELLO, seed=seed, max_tokens=99))[0].text

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    os.kill(model.server.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    try:
        assert {seed: text.split()[-1] for seed, text in got.items()} == {
            seed: f"{seed}-30" for seed in range(5)
        }
        assert sum("is ready" in line for line in said) == 2
    finally:
        model.close()


def test_a_server_that_dies_again_and_again_is_given_up(spec: ServerSpec, tmp_path: Path) -> None:
    model = VllmModel("mine", spec, tmp_path / "server", restarts=1)

    def on_text(index: int, text: str) -> None:
        os.kill(model.server.pid, signal.SIGKILL)

    # What was heard is not heard again, so each life gets a little further; two are all it gets.
    with pytest.raises(ModelError, match="died 2 times"):
        model.complete(ChatRequest(HELLO, seed=3, max_tokens=99), on_text=on_text)
    model.close()
    assert not model.server.is_running()


# -- handing the device over ----------------------------------------------------------------------


def on_gpu(spec: ServerSpec, tmp_path: Path, **mood: Any) -> ServerSpec:
    python = fake_python(tmp_path / "gpu", on_cpu=False)
    return in_mood(replace(spec, python=python, sleep=True), **mood)


def test_a_model_sleeps_and_wakes_with_the_next_request(spec: ServerSpec, tmp_path: Path) -> None:
    model = VllmModel("mine", on_gpu(spec, tmp_path), tmp_path / "server", handover="sleep")
    try:
        model.start()
        pid = model.server.pid
        model.make_room()
        model.make_room()
        assert model.server.is_asleep()
        assert model.complete(ChatRequest(HELLO, seed=1, max_tokens=99))[0].text.startswith("1-1 ")
        assert not model.server.is_asleep()
        model.make_room()
        model.come_back()
        model.come_back()
        assert not model.server.is_asleep()
        assert model.server.pid == pid
    finally:
        model.close()


def test_an_adopted_server_that_sleeps_is_woken(spec: ServerSpec, tmp_path: Path) -> None:
    chosen = on_gpu(spec, tmp_path)
    first = VllmServer(chosen, tmp_path / "server")
    first.start()
    assert first.sleep()
    model = VllmModel("mine", chosen, tmp_path / "server")
    assert model.complete(ChatRequest(HELLO, max_tokens=99))
    model.close()
    first.release()


def test_a_server_that_cannot_sleep_is_stopped_instead(spec: ServerSpec, tmp_path: Path) -> None:
    said: list[str] = []
    chosen = on_gpu(spec, tmp_path, no_sleep=True)
    model = VllmModel("mine", chosen, tmp_path / "server", handover="sleep", say=said.append)
    model.start()
    model.make_room()
    assert not model.server.is_running()
    assert "cannot be put to sleep: stopping it" in said[-1]
    model.come_back()
    assert model.server.is_healthy()
    model.close()


@pytest.mark.parametrize(
    ("handover", "on_cpu", "runs"),
    [("keep", False, True), ("stop", False, False), ("stop", True, False), ("sleep", True, True)],
)
def test_the_device_is_left_as_was_set(
    spec: ServerSpec, tmp_path: Path, handover: Any, on_cpu: bool, runs: bool
) -> None:
    chosen = spec if on_cpu else on_gpu(spec, tmp_path)
    model = VllmModel("mine", chosen, tmp_path / "server", handover=handover)
    model.make_room()  # nothing has been started: nothing to do
    model.start()
    model.make_room()
    assert model.server.is_running() is runs
    assert model.complete(ChatRequest(HELLO, max_tokens=99))
    model.close()


def test_the_device_is_left_only_when_requests_are_answered(
    spec: ServerSpec, tmp_path: Path
) -> None:
    model = VllmModel("mine", spec, tmp_path / "server", handover="stop")
    model.start()
    replies: list[str] = []
    thread = threading.Thread(
        target=lambda: replies.append(
            model.complete(ChatRequest(HELLO, seed=1, max_tokens=99))[0].text
        )
    )
    thread.start()
    time.sleep(0.2)
    model.make_room()
    assert len(replies) == 1
    assert not model.server.is_running()
    thread.join()
    model.close()


def test_a_server_that_others_use_keeps_its_memory(spec: ServerSpec, tmp_path: Path) -> None:
    said: list[str] = []
    other = VllmServer(spec, tmp_path / "server")
    other.start()
    model = VllmModel("mine", spec, tmp_path / "server", handover="stop", say=said.append)
    model.start()
    model.make_room()
    assert other.is_healthy()
    assert "its server is shared with 1 more" in said[-1]
    model.close()
    other.release()


def test_the_environment_is_looked_into(spec: ServerSpec) -> None:
    found = examine(spec.python)
    assert (found.version, found.on_cpu) == ("0.32.0+cpu", True)
