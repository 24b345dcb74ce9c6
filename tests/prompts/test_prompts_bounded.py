"""Files and JSON of others are read within bounds: nothing blocks, nothing unfolds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from prompts.bounded import BoundsError, parse_json, read_bytes, read_json


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(BoundsError, match="more than the 4 bytes"):
        read_bytes(path, 4)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("link", "a symbolic link"),
        ("pipe", "a named pipe"),
        ("socket", "a socket"),
        ("folder", "a folder"),
        ("device", "a device"),
        ("nothing", "no such file"),
        ("secret", "permission denied"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    match kind:
        case "link":
            (tmp_path / "file").write_text("{}")
            path.symlink_to(tmp_path / "file")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case "secret":
            if os.geteuid() == 0:
                pytest.skip("root may read everything")
            path.touch(mode=0)
    with pytest.raises(BoundsError, match=said):
        read_json(path, 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("{'a': 1}", "no JSON"),
        ("[" * 65 + "]" * 65, "more than 64 deep"),
        ("[" * 1_000_000, "more than 64 deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "more than 64 deep"),
        ("[1, NaN]", "not finite"),
        ('{"a": [-Infinity]}', "not finite"),
        ("1e999", "not finite"),
        ("9" * 30, "beyond 64 bits"),
        ("[-9223372036854775809]", "beyond 64 bits"),
        ("9" * 100_000, "no JSON"),
    ],
)
def test_json_that_could_do_harm_is_refused(text: str, said: str) -> None:
    with pytest.raises(BoundsError, match=said):
        parse_json(text)


def test_ordinary_json_is_read_as_it_is(tmp_path: Path) -> None:
    value = {"a": [1, -2.5, None, True, "NaN", {"b": []}], "c": 2**64 - 1, "d": -(2**63)}
    (tmp_path / "x").write_text(
        '{"a": [1, -2.5, null, true, "NaN", {"b": []}], "c": 18446744073709551615,'
        ' "d": -9223372036854775808}'
    )
    assert read_json(tmp_path / "x", 1_000) == value
    assert parse_json("[" * 64 + "]" * 64) is not None
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(BoundsError, match="no UTF-8"):
        read_json(tmp_path / "x", 1_000)
