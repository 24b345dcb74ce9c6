"""Forbidden things, tried from inside a locked child so that the layers are seen to hold."""

from __future__ import annotations

import ctypes
import os
import socket
import time


def attempt(what: str) -> str:
    """Try one forbidden thing; the text says what happened where the child survives it."""
    if what == "file":
        try:
            os.close(os.open("/etc/hostname", os.O_RDONLY))
        except OSError as error:
            return f"refused: {error.strerror}"
        return "EFFECTIVE: a file was opened"
    if what == "network":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        return "EFFECTIVE: a socket was made"
    if what == "process":
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        return "EFFECTIVE: a process was forked"
    if what == "exec":
        os.execv("/bin/true", ["true"])
    if what == "memory":
        try:
            held = [bytearray(64 << 20) for _ in range(1024)]
        except MemoryError:
            return "refused: out of memory"
        return f"EFFECTIVE: {len(held) * 64} MiB were had"
    if what == "no_new_privs":
        return "on" if ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 1 else "EFFECTIVE: not set"
    if what == "time":
        while True:
            time.perf_counter()
    if what == "kill":
        os.kill(os.getppid(), 0)
        return "EFFECTIVE: another process could be signalled"
    if what == "nothing":
        return "alive"
    raise ValueError(what)
