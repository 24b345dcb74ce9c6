"""The system call filter, run by a small interpreter of its own for every call and machine."""

from __future__ import annotations

import errno
import platform
import struct

import pytest

from sandbox.isolation import seccomp

KILL, EPERM, ALLOW = 0x80000000, 0x00050000 | errno.EPERM, 0x7FFF0000
READ_FD, WRITE_FD = 3, 4
X86, ARM = 0xC000003E, 0xC00000B7
MACHINES = [("x86_64", X86), ("aarch64", ARM)]


def run(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the program says about a call: classic BPF as the kernel runs it."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *[v & (2**64 - 1) for v in values])
    code = [struct.unpack("HBBI", program[i : i + 8]) for i in range(0, len(program), 8)]
    at, a = 0, 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        if op == 0x20:
            a = struct.unpack_from("=I", data, k)[0]
        elif op == 0x54:
            a &= k
        elif op == 0x06:
            return k
        else:
            held = {0x15: a == k, 0x35: a >= k, 0x45: bool(a & k)}[op]
            at += yes if held else no


@pytest.fixture(params=MACHINES, ids=[m[0] for m in MACHINES])
def machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[bytes, int, dict[str, int]]:
    """The filter, the architecture's number and the call numbers of one kind of machine."""
    name, arch = request.param
    monkeypatch.setattr(platform, "machine", lambda: name)
    return seccomp.build_filter(READ_FD, WRITE_FD), arch, seccomp._ARCHITECTURES[name][1]


Machine = tuple[bytes, int, dict[str, int]]


def test_only_the_listed_calls_survive(machine: Machine) -> None:
    program, arch, numbers = machine
    allowed = {numbers[n] for n in seccomp.ALLOWED}
    refused = {numbers[n] for n in seccomp.REFUSED if n in numbers}
    judged = {numbers[n] for n in ("read", "write", "mmap", "mprotect", "futex")}
    for number in [*range(1024), 2**16, 2**30 - 1]:
        said = run(program, arch, number)
        if number in allowed:
            assert said == ALLOW
        elif number in refused:
            assert said == EPERM
        elif number not in judged:
            assert said == KILL, number


def test_no_call_is_both_allowed_and_refused(machine: Machine) -> None:
    numbers = machine[2]
    assert len(set(numbers.values())) == len(numbers)
    assert set(seccomp.ALLOWED).isdisjoint(seccomp.REFUSED)
    assert {*seccomp.ALLOWED, "read", "write", "mmap", "mprotect", "futex"} <= set(numbers)


@pytest.mark.parametrize(
    "number",
    [56, 57, 58, 59, 435, 41, 42, 62, 101, 165, 272, 298, 310, 311, 317, 321, 322, 323, 329, 424,
     425, 426, 427, 434, 438, 444, 446],
)  # fmt: skip
def test_what_breaks_sandboxes_is_deadly_on_x86(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """clone, fork, exec, clone3, sockets, kill, ptrace, mount, unshare, bpf, io_uring, pidfd..."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert run(seccomp.build_filter(READ_FD, WRITE_FD), X86, number) == KILL


def test_vulnerability_calls_of_another_architecture(machine: Machine) -> None:
    program, arch, numbers = machine
    for other in (X86, ARM, 0x40000003, 0x40000028, 0):
        if other != arch:
            assert run(program, other, numbers["exit"]) == KILL


def test_vulnerability_x32_calls(machine: Machine) -> None:
    program, arch, _ = machine
    for number in range(0x40000000, 0x40000000 + 600):
        assert run(program, arch, number) == KILL
    assert run(program, arch, 0xFFFFFFFF) == KILL


def test_each_pipe_is_used_in_its_direction_only(machine: Machine) -> None:
    program, arch, numbers = machine
    for fd in (*range(64), 2**31, 2**32 - 1):
        assert run(program, arch, numbers["read"], fd) == (ALLOW if fd == READ_FD else EPERM)
        assert run(program, arch, numbers["write"], fd) == (ALLOW if fd == WRITE_FD else EPERM)


def test_vulnerability_the_high_half_of_a_descriptor(machine: Machine) -> None:
    """The kernel drops it, so a filter that looked at it could be led astray."""
    program, arch, numbers = machine
    assert run(program, arch, numbers["write"], WRITE_FD | 1 << 32) == ALLOW
    assert run(program, arch, numbers["write"], 5 | 1 << 32) == EPERM


def test_no_memory_becomes_executable(machine: Machine) -> None:
    program, arch, numbers = machine
    for name in ("mmap", "mprotect"):
        for protection in range(16):
            said = run(program, arch, numbers[name], 0, 4096, protection | 1 << 40)
            assert said == (EPERM if protection & 4 else ALLOW)


def test_only_waiting_and_waking_remain_of_futex(machine: Machine) -> None:
    program, arch, numbers = machine
    for operation in range(32):
        for flags in (0, 128, 256, 384):
            said = run(program, arch, numbers["futex"], 0, operation | flags)
            assert said == (ALLOW if operation in (0, 1, 9, 10) else EPERM)


def test_an_unknown_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        seccomp.build_filter(3, 4)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(OSError, match="Darwin"):
        seccomp.build_filter(3, 4)
