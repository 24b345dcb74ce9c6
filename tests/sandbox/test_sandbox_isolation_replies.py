"""Whatever a child sends, or does not send, rejects that candidate cleanly and nothing else."""

from __future__ import annotations

import json
import os
import select
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from attacks import attack_runner
from sandbox_cages import LIMITS, as_candidate, zygote

from sandbox import checker
from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig
from sandbox.evidence import EVIDENCE_BATCHES
from sandbox.isolation import wire
from sandbox.isolation.host import ChildFailure
from sandbox.isolation.lockdown import Limits
from sandbox.report import CheckReport

CARD = attack_runner.CARD


@pytest.fixture
def deceived(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox whose children run candidates as ordinary Python, and so can forge answers."""
    cage = zygote(attack_runner.SystemZygote)
    monkeypatch.setattr(checker, "Zygote", lambda **_: cage)
    monkeypatch.setattr(cage, "close", lambda: None)
    with Sandbox(SandboxConfig(cpu_s=5, memory_mb=512, examples=2)) as sandbox:
        yield sandbox


def framed(message: Any) -> bytes:
    """A message as the child would send it; text is taken as the body itself."""
    body = message.encode() if isinstance(message, str) else json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def forging(*pieces: bytes, then: str = "os._exit(0)") -> str:
    """A candidate that writes these bytes to the pipe; between them it reads a message."""
    lines = ["import os, struct, zlib"]
    for i, piece in enumerate(pieces):
        if i:
            lines += [
                "size = struct.unpack('>I', os.read(3, 4))[0]",
                "while size: size -= len(os.read(3, min(size, 65536)))",
            ]
        packed = zlib.compress(piece).hex()  # the source may be no longer than others
        lines += [f"data = zlib.decompress(bytes.fromhex('{packed}'))"]
        lines += ["while data: data = data[os.write(4, data):]"]
    return as_candidate("\n".join([*lines, then]))


def assert_clean(report: CheckReport, *rules: str) -> None:
    """It is a rejection, for one of these reasons."""
    assert report.verdict == "rejected"
    assert report.rule is not None
    assert report.rule.startswith(rules or ("isolation.", "graph.", "export.")), report.rule
    assert report.graph is None
    assert report.feedback


def good_graph() -> dict[str, Any]:
    """A graph that an honest child would send for a plain function."""
    code = "def tfcaf(state):\n    return state * 0 + 1, state[:, :1]\n"
    with zygote().child(LIMITS) as child:
        child.ask({**attack_runner.TASK, "code": code})
        answer = child.answer()
    assert answer["findings"] == []
    return dict(answer["graph"])


def evidence(value: Any = "1.0") -> dict[str, Any]:
    """Eager results that fit the good graph in form."""
    return {"results": [[[[value] * 2] * b, [[value]] * b] for b in EVIDENCE_BATCHES]}


def test_a_child_that_dies_at_any_byte_of_its_answer(deceived: Sandbox) -> None:
    whole = framed({"findings": [], "graph": None})
    for count in range(len(whole)):
        report = deceived.check(forging(whole[:count]), CARD)
        assert_clean(report, "isolation.died")


FORGED = {
    "too long": b"\xff\xff\xff\xff" + b" " * 100,
    "just too long": struct.pack(">I", wire.MAX_MESSAGE + 1),
    "empty": b"\0\0\0\0",
    "not JSON": framed("hello"),
    "not UTF-8": struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc",
    "nothing after the length": struct.pack(">I", 100),
    "deeply nested": framed("[" * 500_000),
    "deeply nested objects": framed('{"a":' * 200_000),
    "NaN": framed('{"findings": [], "graph": NaN}'),
    "infinity": framed('{"findings": [], "graph": -Infinity}'),
    "a number that reads as infinity": framed('{"findings": [], "graph": 1e999}'),
    "a huge integer": framed('{"findings": [], "graph": 1' + "0" * 4000 + "}"),
    "an integer beyond any limit": framed('{"findings": 1' + "0" * 100_000 + "}"),
    "a list": framed([]),
    "a text": framed('"accepted"'),
    "null": framed("null"),
    "a verdict": framed({"verdict": "accepted", "accepted": True}),
    "findings of a wrong type": framed({"findings": 3}),
    "empty findings of a wrong type": framed({"findings": {}}),
    "findings of nothing": framed({"findings": [None, 3, "x"]}),
    "findings that are wild": framed(
        {"findings": [{"stage": ["x"], "rule": {"a": 1}, "message": [1] * 9999, "line": -1}]}
    ),
    "no graph": framed({"findings": []}),
    "a graph of a wrong type": framed({"findings": [], "graph": "accepted"}),
    "an empty graph": framed({"findings": [], "graph": {}}),
    "the same key twice": framed('{"findings": [1], "findings": [], "graph": null}'),
    "a gated graph": framed({"findings": [], "graph": {"gate": {"mode": "relax"}}}),
    "two answers": framed({"findings": []}) * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_answer_is_a_clean_rejection(name: str, deceived: Sandbox) -> None:
    report = deceived.check(forging(FORGED[name]), CARD)
    assert_clean(report, *(("",) if name == "findings that are wild" else ()))
    assert len(report.feedback) < 8_000


def test_a_wild_finding_cannot_choose_its_stage(deceived: Sandbox) -> None:
    finding = {"stage": "done", "rule": "x" * 999, "message": "\x1b[2J" + "y" * 9999, "line": 10**9}
    report = deceived.check(forging(framed({"findings": [finding] * 99})), CARD)
    assert (report.verdict, report.stage) == ("rejected", "export")


FORGED_EVIDENCE = {
    "other numbers": evidence("2.0"),
    "NaN": evidence("nan"),
    "infinity": evidence("inf"),
    "words": evidence("one"),
    "nothing": {},
    "null": {"results": None},
    "too few": {"results": evidence()["results"][:1]},
    "too many": {"results": evidence()["results"] * 2},
    "of another shape": {"results": [[[["1.0"]], [["1.0"]]]] * 3},
    "ragged": {"results": [[[["1.0"], ["1.0", "1.0"]], [["1.0"]]]] * 3},
    "nested": evidence([[["1.0"]]]),
    "integers of 18 digits": evidence(10**18),
    "objects": evidence({"a": 1}),
    "a list": [1, 2, 3],
    "an error": {"error": "x" * 99_999},
    "an error of a wrong type": {"error": [{"a": 1}]},
}


@pytest.mark.parametrize("name", FORGED_EVIDENCE)
def test_forged_evidence_is_a_clean_rejection(name: str, deceived: Sandbox) -> None:
    answer = framed({"findings": [], "graph": good_graph()})
    assert_clean(deceived.check(forging(answer, framed(FORGED_EVIDENCE[name])), CARD))


def test_a_child_that_dies_before_its_evidence(deceived: Sandbox) -> None:
    report = deceived.check(forging(framed({"findings": [], "graph": good_graph()})), CARD)
    assert_clean(report, "isolation.died")


def test_vulnerability_a_forged_graph_is_judged_like_any_other(deceived: Sandbox) -> None:
    """A hostile child may choose which function it proposes, and nothing else."""
    graph = good_graph()
    graph["operations"][-1]["op"] = "aten.rand.default"
    report = deceived.check(forging(framed({"findings": [], "graph": graph})), CARD)
    assert_clean(report, "graph.")


def test_an_answer_that_drips_ends_with_its_processor_time(deceived: Sandbox) -> None:
    drip = "while True:\n    os.write(4, b' ')\n    for i in range(1000000): pass"
    source = forging(struct.pack(">I", 1 << 20), then=drip)
    started = time.perf_counter()
    assert_clean(deceived.check(source, CARD), "isolation.time")
    assert 4.5 < time.perf_counter() - started < 60


def test_an_answer_without_end_is_cut(deceived: Sandbox) -> None:
    flood = "while True: os.write(4, b' ' * 65536)"
    assert_clean(deceived.check(forging(b"\xff", then=flood), CARD), "isolation.reply")


def test_vulnerability_parent_blocked_by_a_child_that_does_not_read() -> None:
    """A message of more than a pipe holds must not wait for the child's good will."""

    def ask_the_deaf() -> None:
        with zygote(attack_runner.SystemZygote).child(Limits(LIMITS.memory_mb, 1.5)) as child:
            child.ask({**attack_runner.TASK, "code": as_candidate("while True: pass")})
            child.ask({"inputs": "x" * 1_000_000})
            child.answer()

    started = time.perf_counter()
    with pytest.raises(ChildFailure) as caught:
        ask_the_deaf()
    assert caught.value.rule == "isolation.time"
    assert time.perf_counter() - started < 60


def until(end: float) -> wire.Wait:
    """Wait until an instant."""

    def wait(fd: int, event: int) -> None:
        poller = select.poll()
        poller.register(fd, event)
        if not poller.poll(max(0.0, end - time.monotonic()) * 1000):
            raise wire.WireError("timeout", "too late")

    return wait


class TestWire:
    """The framing by itself, over a pipe."""

    def exchange(self, data: bytes, wait_s: float = 2.0) -> Any:
        """What the receiver makes of these bytes, after which the sender is gone."""
        read, write = os.pipe()
        writer = threading.Thread(target=self._write, args=(write, data))
        writer.start()
        try:
            return wire.receive(read, until(time.monotonic() + wait_s))
        finally:
            os.close(read)
            writer.join()

    @staticmethod
    def _write(fd: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(fd, view) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(fd)

    @pytest.mark.parametrize(
        "message",
        [
            None,
            0,
            -1,
            2**63 - 1,
            1.5,
            1e300,
            "\x00é😀",
            [],
            {},
            {"a": [1, {"b": None}]},
            "x" * 10**6,
        ],
    )
    def test_what_is_sent_is_received(self, message: Any) -> None:
        assert self.exchange(framed(json.dumps(message))) == message

    @pytest.mark.parametrize(
        "text", ["1e999", "-1e400", "9223372036854775808", "[1.0, 1E+309]", "1" * 30, "NaN"]
    )
    def test_vulnerability_numbers_beyond_any_use(self, text: str) -> None:
        with pytest.raises(wire.WireError) as caught:
            self.exchange(framed(text))
        assert caught.value.kind == "malformed"

    @pytest.mark.parametrize(
        "text", ["0.12345678901234567890123", '"11111111111111111111"', "1e12"]
    )
    def test_long_digits_that_are_harmless_are_let_through(self, text: str) -> None:
        assert self.exchange(framed(text)) == json.loads(text)

    def test_every_cut_is_told_as_a_closed_pipe(self) -> None:
        whole = framed([1, 2, 3])
        for count in range(len(whole)):
            with pytest.raises(wire.WireError) as caught:
                self.exchange(whole[:count])
            assert caught.value.kind == "closed"

    def test_a_silent_sender_is_told_as_a_timeout(self) -> None:
        read, write = os.pipe()
        try:
            with pytest.raises(wire.WireError) as caught:
                wire.receive(read, until(time.monotonic() + 0.05))
            assert caught.value.kind == "timeout"
            os.set_blocking(write, False)
            with pytest.raises(wire.WireError) as caught:
                wire.send(write, "x" * 1_000_000, until(time.monotonic() + 0.05))
            assert caught.value.kind == "timeout"
        finally:
            os.close(read)
            os.close(write)

    def test_a_receiver_that_is_gone_is_told(self) -> None:
        read, write = os.pipe()
        os.close(read)
        try:
            with pytest.raises(wire.WireError) as caught:
                wire.send(write, "x")
            assert caught.value.kind == "closed"
        finally:
            os.close(write)
