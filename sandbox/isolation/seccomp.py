"""A seccomp-BPF filter by ctypes alone, so that no system package is needed.

Everything that is not on the list kills the process. Reading and writing are allowed on one file
descriptor each, no memory becomes executable, and of the futex operations only waiting and waking
remain; a few calls that torch and libc make in passing are answered with EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

# System call numbers, from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h for aarch64).
_X86_64 = {
    "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16, "sched_yield": 24,
    "mremap": 25, "madvise": 28, "exit": 60, "newfstatat": 262, "futex": 202, "clock_gettime": 228,
    "exit_group": 231, "openat": 257, "getrandom": 318, "fstat": 5, "open": 2, "stat": 4,
    "lseek": 8, "getpid": 39, "gettid": 186, "rseq": 334, "sigaltstack": 131, "readlink": 89,
    "access": 21,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214,
    "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "ioctl": 29,
    "sched_yield": 124, "mremap": 216, "madvise": 233, "exit": 93, "newfstatat": 79, "futex": 98,
    "clock_gettime": 113, "exit_group": 94, "openat": 56, "getrandom": 278, "fstat": 80,
    "lseek": 62, "getpid": 172, "gettid": 178, "rseq": 293, "sigaltstack": 132, "readlinkat": 78,
    "faccessat": 48,
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

ALLOWED = (
    "brk munmap mremap madvise getrandom exit exit_group rt_sigreturn rt_sigprocmask clock_gettime "
    "sched_yield getpid gettid"
).split()
"""Allowed whatever the arguments; read, write, mmap, mprotect and futex depend on theirs."""

REFUSED = (
    "ioctl newfstatat openat open stat fstat lseek close readlink readlinkat access faccessat "
    "rt_sigaction sigaltstack rseq"
).split()
"""Answered with EPERM: a candidate that tries them gets an error, not a file."""

_LD_ABS_W, _JEQ, _RET, _JGE, _JSET, _AND = 0x20, 0x15, 0x06, 0x35, 0x45, 0x54
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_SECCOMP_SET_MODE_FILTER = 1
_PR_SET_NO_NEW_PRIVS = 38
_PROT_EXEC = 4
_FUTEX_COMMAND = 0x7F  # without the flags for private and real-time
_FUTEX_OPS = (0, 1, 9, 10)  # wait, wake, and both with a bit set: what locks need


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def supported() -> str | None:
    """None where the filter can be built, else why not."""
    if platform.system() != "Linux":
        return f"seccomp needs Linux, this is {platform.system()}"
    if platform.machine() not in _ARCHITECTURES:
        return f"no system call table for {platform.machine()}"
    return None


def _instruction(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("HBBI", code, yes, no, k)


def _call(number: int, argument: int, test: list[bytes]) -> list[bytes]:
    """Allow a call whose argument's low half passes a test; answer EPERM where it does not.

    The test falls through to be allowed and jumps over one instruction to be refused.
    """
    body = [
        _instruction(_LD_ABS_W, 16 + 8 * argument),
        *test,
        _instruction(_RET, _ALLOW),
        _instruction(_RET, _ERRNO | errno.EPERM),
    ]
    return [_instruction(_JEQ, number, no=len(body)), *body]


def build_filter(read_fd: int, write_fd: int) -> bytes:
    """The BPF program for this machine.

    Raises:
        OSError: the platform is not supported.
    """
    problem = supported()
    if problem:
        raise OSError(errno.ENOSYS, problem)
    arch, numbers = _ARCHITECTURES[platform.machine()]
    program = [
        _instruction(_LD_ABS_W, 4),  # seccomp_data.arch
        _instruction(_JEQ, arch, yes=1),
        _instruction(_RET, _KILL_PROCESS),
        _instruction(_LD_ABS_W, 0),  # seccomp_data.nr
        _instruction(_JGE, 0x40000000, no=1),  # the x32 calls share the architecture: refuse
        _instruction(_RET, _KILL_PROCESS),
    ]
    # The kernel takes a descriptor, and a futex operation, as 32 bits, so the low half decides; the
    # bits of a protection that mean anything are in its low half as well.
    program += _call(numbers["read"], 0, [_instruction(_JEQ, read_fd, no=1)])
    program += _call(numbers["write"], 0, [_instruction(_JEQ, write_fd, no=1)])
    for name in ("mmap", "mprotect"):  # no new executable memory
        program += _call(numbers[name], 2, [_instruction(_JSET, _PROT_EXEC, yes=1)])
    *others, last = _FUTEX_OPS
    waits = [_instruction(_JEQ, op, yes=len(others) - i) for i, op in enumerate(others)]
    program += _call(
        numbers["futex"],
        1,
        [_instruction(_AND, _FUTEX_COMMAND), *waits, _instruction(_JEQ, last, no=1)],
    )
    for name in ALLOWED:
        program += [_instruction(_JEQ, numbers[name], no=1), _instruction(_RET, _ALLOW)]
    for name in REFUSED:
        if name in numbers:
            program += [
                _instruction(_JEQ, numbers[name], no=1),
                _instruction(_RET, _ERRNO | errno.EPERM),
            ]
    program.append(_instruction(_RET, _KILL_PROCESS))
    return b"".join(program)


def set_no_new_privileges() -> None:
    """Give up gaining rights through exec, for good.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def install(read_fd: int, write_fd: int) -> None:
    """Put the filter on this process, for good.

    Raises:
        OSError: the kernel refuses or the platform is not supported.
    """
    code = build_filter(read_fd, write_fd)
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    call = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    if libc.syscall(call, _SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_SET_MODE_FILTER)")
