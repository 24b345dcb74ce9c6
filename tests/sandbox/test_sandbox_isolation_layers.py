"""Each layer of the cage by itself, and all of them together."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from attacks import attack_runner
from sandbox_cages import LIMITS, bare, caged, zygote

from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig
from sandbox.isolation import outside
from sandbox.isolation.host import ChildFailure, SandboxUnavailable, Zygote
from sandbox.isolation.lockdown import LAYERS, MANDATORY, Limits

pytestmark = pytest.mark.long

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the cage is made of Linux")

PUT_ON = "from sandbox.isolation import lockdown\nput = dict(lockdown.LAYERS)\nc = CAGE[0]\n"


def layers() -> dict[str, str]:
    """The layers of an ordinary child here."""
    with zygote().child(LIMITS) as child:
        return child.layers


def need(layer: str) -> None:
    """Skip where this machine does not offer a layer."""
    state = layers()[layer]
    if state != "on":
        pytest.skip(f"{layer} is {state}")


def outcome(*lines: str) -> tuple[str, str]:
    """What code in a bare child noted and said, after it put layers on itself."""
    answer = bare(PUT_ON + "\n".join(lines))
    return answer["loot"], answer["said"]


def death(*lines: str) -> str:
    """How code in a bare child ended it."""
    with pytest.raises(ChildFailure) as caught:
        bare(PUT_ON + "\n".join(lines))
    return caught.value.rule


def test_every_layer_says_on_or_why_not() -> None:
    state = layers()
    assert list(state) == [name for name, _ in LAYERS]
    assert all(v == "on" or v.startswith("off: ") for v in state.values())
    assert all(state[name] == "on" for name in MANDATORY)


def test_without_layers_everything_is_possible() -> None:
    """The control: otherwise the tests below would prove nothing."""
    loot, said = outcome(
        "LOOT.append(open('/etc/passwd').read()[:4])",
        "import socket, os",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()",
        "pid = os.fork()",
        "pid or os._exit(0)",
        "os.waitpid(pid, 0)",
        "os.kill(os.getppid(), 0)",
        "LOOT.append('done')",
    )
    assert said == ""
    assert "root" in loot
    assert "done" in loot


def test_landlock_alone_denies_files_and_tcp() -> None:
    need("landlock")
    for attempt in ("open('/etc/passwd')", "open('/tmp/x', 'w')", "__import__('os').listdir('/')"):
        assert (
            "PermissionError"
            in outcome("put['no_new_privs'](c)", "put['landlock'](c)", f"LOOT.append({attempt})")[1]
        )


def test_seccomp_alone_denies_files_and_kills_for_the_rest() -> None:
    on = ("put['no_new_privs'](c)", "put['seccomp'](c)")
    assert "PermissionError" in outcome(*on, "open('/etc/passwd')")[1]
    for attempt in (
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "__import__('os').execv('/bin/true', ['true'])",
        "__import__('os').kill(__import__('os').getppid(), 0)",
        "__import__('os').unlink('/tmp/x')",
        "__import__('time').sleep(1)",
    ):
        assert death(*on, attempt) == "isolation.syscall"


def test_seccomp_alone_denies_executable_memory() -> None:
    need("seccomp")
    on = ("put['no_new_privs'](c)", "put['seccomp'](c)", "import mmap, ctypes")
    assert "PermissionError" in outcome(*on, "mmap.mmap(-1, 4096, prot=7)")[1]
    loot, _ = outcome(
        *on,
        "b = ctypes.create_string_buffer(8192)",
        "page = (ctypes.addressof(b) + 4095) & ~4095",
        "LOOT.append(ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), 4096, 7))",
    )
    assert "-1" in loot


def test_namespaces_alone_leave_no_network_and_no_mounts_of_others() -> None:
    need("namespaces")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        _, said = outcome(
            f"__import__('socket').create_connection(('127.0.0.1', {port}), 1)",
        )
    assert "Error" in said
    loot, _ = outcome("LOOT.append(__import__('socket').if_nameindex())")
    assert "[(1, 'lo')]" in loot
    for kind in ("net", "ipc", "uts", "mnt"):
        theirs = os.readlink(f"/proc/{zygote().pid}/ns/{kind}")
        assert theirs != os.readlink(f"/proc/self/ns/{kind}")


def test_the_empty_root_alone_leaves_no_file() -> None:
    need("empty_root")
    loot, said = outcome(
        "put['empty_root'](c)",
        "import os",
        "LOOT.append(os.listdir('/'))",
        "LOOT.append(os.listdir('/../..'))",
        "open('/x', 'w')",
    )
    assert loot.count("[]") == 2
    assert "Read-only file system" in said


def test_an_unprivileged_child_is_nobody() -> None:
    if os.geteuid() != 0:
        pytest.skip("not started as root")
    loot, said = outcome(
        "put['unprivileged'](c)",
        "import os",
        "LOOT.append((os.getresuid(), os.getresgid(), os.getgroups()))",
        "os.setuid(0)",
    )
    nobody = (65534,) * 3
    assert str((nobody, nobody, [])) in loot
    assert "PermissionError" in said


def test_capabilities_alone_leave_root_powerless() -> None:
    for attempt in ("os.chroot('/')", "os.setuid(1)", "os.mknod('/tmp/x', 0o60600, 1)"):
        assert "PermissionError" in outcome("import os", "put['capabilities'](c)", attempt)[1]


def test_limits_alone_bound_memory_files_and_processes() -> None:
    on = ("import os", "put['unprivileged'](c)", "put['rlimits'](c)")
    assert "MemoryError" in outcome(*on, "x = bytearray(2 << 30)")[1]
    assert "Too many open files" in outcome(*on, "open('/etc/passwd')")[1]
    if os.geteuid() == 0:
        assert "BlockingIOError" in outcome(*on, "os.fork()")[1]


def test_memory_counts_beyond_what_is_mapped_already() -> None:
    """torch maps hundreds of MiB, which say nothing about a candidate."""
    code = "put['rlimits'](c)\nx = bytearray({} << 20)\nLOOT.append(len(x))"
    assert bare(PUT_ON + code.format(LIMITS.memory_mb - 64))["said"] == ""
    assert "MemoryError" in bare(PUT_ON + code.format(LIMITS.memory_mb + 1))["said"]


def test_the_processor_time_limit_ends_a_child_even_with_signals_blocked() -> None:
    spin = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass"
    started = time.perf_counter()
    with pytest.raises(ChildFailure) as caught:
        caged(spin, limits=Limits(512, 1))
    assert caught.value.rule == "isolation.time"
    assert time.perf_counter() - started < 60


def test_descriptors_and_environment_are_gone() -> None:
    loot, _ = outcome(
        "import os",
        "os.environ['X'] = '1'",
        "put['descriptors'](c)",
        "put['environment'](c)",
        "LOOT.append(sorted(int(x) for x in os.listdir('/proc/self/fd'))[:2])",
        "LOOT.append(dict(os.environ))",
    )
    assert "[0, 3]" in loot  # 0 is the folder that is being listed
    assert "{}" in loot


def test_a_caged_child_has_two_pipes_and_nothing_else() -> None:
    with zygote().child(LIMITS) as child:
        folder = Path(f"/proc/{child.pid}/fd")
        try:
            open_files = {p.name: os.readlink(p) for p in folder.iterdir()}
        except PermissionError:
            pytest.skip("only root may look")
        status = Path(f"/proc/{child.pid}/status").read_text()
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert set(open_files) == {"3", "4"}
    assert all(target.startswith("pipe:") for target in open_files.values())
    assert "Threads:\t1\n" in status
    assert b"SECRET" not in environment


def test_nothing_of_the_parent_reaches_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    loot = caged("import os\nLOOT.append(dict(os.environ))\nLOOT.append(os.getcwd)")["loot"]
    assert "{}" in loot


def test_a_caged_child_sees_no_gpu() -> None:
    assert "False" in caged("LOOT.append(torch.cuda.is_available())")["loot"]


def test_vulnerability_a_child_claims_layers_that_it_has_not() -> None:
    """The parent believes the kernel."""
    with zygote(attack_runner.BareZygote).child(LIMITS) as child:
        said = child.layers
    for layer in ("no_new_privs", "seccomp", "rlimits"):
        assert said[layer].startswith("off: "), layer
    if os.geteuid() == 0:
        assert said["unprivileged"].startswith("off: ")
        assert said["capabilities"].startswith("off: ")


def test_a_process_that_cannot_be_looked_at_has_no_layer() -> None:
    said = outside.verify(2**22 + 1, {"seccomp": "on", "landlock": "on", "rlimits": "off: x"})
    assert said["seccomp"].startswith("off: not to be seen")
    assert said == {**said, "landlock": "on", "rlimits": "off: x"}


def test_a_child_whose_layers_differ_from_the_first_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cage = zygote()
    monkeypatch.setattr(cage, "_first_layers", {**layers(), "landlock": "off: x"})
    with pytest.raises(ChildFailure, match="landlock") as caught, cage.child(LIMITS):
        pass
    assert caught.value.rule == "isolation.layers"


WEAKENED = (
    "import sys; sys.path.insert(0, {root!r}); "
    "from sandbox.isolation import child, landlock, namespaces, probe, seccomp, zygote; "
    "zygote.warm_up = lambda **_: None; "
    "refuse = lambda *a: (_ for _ in ()).throw(OSError(1, 'forbidden here')); "
    "{what} = refuse; zygote.main()"
)


def weakened(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make new zygotes fail at one thing that the system might forbid."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setattr(Zygote, "_program", WEAKENED.format(root=root, what=what))


@pytest.mark.parametrize(
    ("what", "missing"),
    [
        ("namespaces.enter", {"namespaces", "empty_root"}),
        ("namespaces.mount_empty_root", {"empty_root"}),
        ("landlock.deny_everything", {"landlock"}),
    ],
)
def test_a_further_layer_that_cannot_be_had_is_told_and_missed_by_nobody(
    what: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = {name for name, state in layers().items() if state == "on"}
    weakened(what, monkeypatch)
    with Sandbox(SandboxConfig(cpu_s=20)) as sandbox:
        state = sandbox.layers()
    assert all(state[name].startswith("off: ") for name in missing)
    assert {name for name, said in state.items() if said == "on"} == offered - missing


@pytest.mark.parametrize(
    ("what", "layer"), [("seccomp.install", "seccomp"), ("zygote.lockdown.mapped_bytes", "rlimits")]
)
def test_without_a_mandatory_layer_the_sandbox_refuses(
    what: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weakened(what, monkeypatch)
    with pytest.raises(SandboxUnavailable, match=layer):
        Sandbox(SandboxConfig(cpu_s=20))
    with Sandbox(SandboxConfig(cpu_s=20, allow_weaker=True)) as sandbox:
        assert "forbidden here" in sandbox.layers()[layer]
