"""A PostgreSQL server of its own on loopback, with passwords, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

USER, PASSWORD = "qllm", "hush: it's #1"


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).parent if found else installed[-1].parent if installed else None


class PostgresServer:
    """A server that can go away and come back.

    Args:
        owner: the user whose processes it is; None: the present one.
    """

    def __init__(self, binaries: Path, folder: Path, owner: str | None) -> None:
        self._binaries, self._folder = binaries, folder
        self._as = {} if owner is None else {"user": owner, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if owner is not None:
            for path in (folder, secret):
                shutil.chown(path, owner)
        words = ["-D", folder / "data", "-U", USER, "--pwfile", secret, "-A", "scram-sha-256"]
        self._run("initdb", *words, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def _run(self, program: str, *words: str | Path) -> None:
        made = subprocess.run(
            [self._binaries / program, *words], cwd="/", capture_output=True, **self._as
        )
        assert made.returncode == 0, made.stderr.decode()

    def url(self, database: str = "postgres", **other: object) -> str:
        """The URL of a database, with the password unless ``other`` parts say otherwise."""
        parts = {"username": USER, "password": PASSWORD, "host": "127.0.0.1", "port": self.port}
        made = URL.create("postgresql+psycopg", database=database, **{**parts, **other})
        return made.render_as_string(hide_password=False)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement as the superuser, outside of any transaction."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres",
            autocommit=True,
        ) as connection:  # fmt: skip
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"store_{time.monotonic_ns()}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        import psycopg

        self._process = subprocess.Popen(
            [self._binaries / "postgres", "-D", self._folder / "data", "-F", "-h", "127.0.0.1",
             "-p", str(self.port), "-c", "unix_socket_directories="],
            cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._as,
        )  # fmt: skip
        until = time.monotonic() + 30
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                assert time.monotonic() < until
                assert self._process.poll() is None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts every connection, SIGQUIT also forgoes a clean end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server that is stopped and removed afterwards; skips the test where there can be none."""
    pytest.importorskip("psycopg", reason="needs the driver: pip install 'psycopg[binary]'")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    owner = None
    if os.getuid() == 0:  # as whom it refuses to run
        owner = "postgres" if "postgres" in {user.pw_name for user in pwd.getpwall()} else "nobody"
    folder = Path(tempfile.mkdtemp(prefix="qllm-postgres-"))
    try:
        server = PostgresServer(binaries, folder, owner)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
