"""A PostgreSQL server that goes away while the store is in use, and one that comes back."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres import PASSWORD, PostgresServer, running_server

from qllm.cli.main import run
from qllm.store import outage
from qllm.store.errors import StoreAwayError
from qllm.store.outage import Outage
from qllm.store.runs import derived_status
from qllm.store.store import Store, open_store
from qllm.store.training import MetricPoint

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that these tests may stop."""
    with running_server() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    """An empty database."""
    return server.new_database()


@contextmanager
def _away(server: PostgresServer, for_s: float) -> Iterator[None]:
    """The server is away at the beginning, and back after a while."""
    server.stop()
    back = threading.Timer(for_s, server.start)
    back.start()
    try:
        yield
    finally:
        back.join()


def _train(store: Store) -> int:
    return store.runs.create("train", "t", config={}, command="c", versions={})


def test_without_patience_a_server_that_is_away_is_one_line_at_once(
    server: PostgresServer, url: str
) -> None:
    with open_store(url=url) as store:
        _train(store)
        with _away(server, 0.1), pytest.raises(StoreAwayError, match="no server answers"):
            store.runs.listed()
        assert len(store.runs.listed()) == 1


def test_a_job_waits_for_its_server_and_says_so_once(server: PostgresServer, url: str) -> None:
    said: list[str] = []
    with open_store(url=url) as store:
        store.database.outage = Outage(said.append)
        run_id = _train(store)
        with _away(server, 1.5):
            threads = [
                threading.Thread(
                    target=store.runs.progress, args=(run_id,), kwargs={"env_steps": n}
                )
                for n in (7, 7)
            ]
            for thread in threads:
                thread.start()
            store.training.record_metrics(run_id, 1, [MetricPoint(1, 0.1, "m", 1.0)])
            for thread in threads:
                thread.join()
        assert store.runs.get(run_id).env_steps == 7
        assert len(store.training.metrics(run_id, "m")) == 1
    assert len(said) == 2, said
    assert "waiting up to 120 s" in said[0]
    assert "is back after" in said[1]
    assert not any(PASSWORD in words for words in said)


def test_patience_counts_from_the_beginning_of_an_outage(server: PostgresServer, url: str) -> None:
    with open_store(url=url) as store:
        store.database.outage = Outage(lambda words: None, patience_s=1.0)
        with _away(server, 2.5):
            began = time.monotonic()
            for _ in range(3):
                with pytest.raises(StoreAwayError):
                    store.runs.listed()
            assert 1.0 <= time.monotonic() - began < 2.4
            with pytest.raises(StoreAwayError):
                store.runs.beat([1])
        assert store.runs.listed() == []


def test_a_heartbeat_waits_for_no_server(server: PostgresServer, url: str) -> None:
    with open_store(url=url) as store:
        store.database.outage = Outage(pytest.fail)
        with _away(server, 0.1), pytest.raises(StoreAwayError):
            store.runs.beat([1])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_writers_neither_lose_nor_double_a_row_while_it_restarts(
    server: PostgresServer, url: str, how: signal.Signals
) -> None:
    """Connections are cut in the midst of transactions, also of commits."""
    done, all_begun = threading.Event(), threading.Barrier(9)

    def write(writer: int) -> list[int]:
        with open_store(url=url) as store:
            store.database.outage = Outage(lambda words: None)
            run_id, step = _train(store), 0
            all_begun.wait(60)
            while not done.is_set():
                store.training.record_metrics(run_id, 1, [MetricPoint(step, 0.1, "m", writer)])
                step += 1
            found = [point.env_steps for point in store.training.metrics(run_id, "m")]
            assert found == list(range(step))
            return found

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, writer) for writer in range(8)]
        try:
            all_begun.wait(60)
            for _ in range(3):
                time.sleep(0.5)
                server.stop(how)
                server.start()
        finally:
            done.set()
        assert sum(len(writer.result()) for writer in writers) > 8


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_looked_up(
    url: str, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The connection is cut just before, or just after, the server has committed."""
    cuts = [1]

    def commit(dialect: Any, connection: Any) -> None:
        if cuts:
            cuts.pop()
            if committed:
                connection.driver_connection.commit()
            connection.driver_connection.close()
        plain(dialect, connection)

    with open_store(url=url) as store:
        store.database.outage = Outage(lambda words: None)
        dialect = type(store.database.engine.dialect)
        plain: Callable[..., None] = dialect.do_commit
        monkeypatch.setattr(dialect, "do_commit", commit)
        run_id = _train(store)
        assert cuts == []
        assert run_id == 1
        assert [made.id for made in store.runs.listed()] == [1]


SETTINGS = [
    "--steps=1200", "--json", "checkpoint_every=400", "log_every=200", "evaluation.every=600",
    "evaluation.episodes=4", "learner.batch_size=8", "agent.hidden=8",
]  # fmt: skip


@pytest.fixture
def trains(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command line on this database."""
    monkeypatch.setenv("QLLM_DB", url)
    return lambda *words: run(["--home", str(tmp_path), *words])


def _stop_at(server: PostgresServer, monkeypatch: pytest.MonkeyPatch, for_s: float | None) -> None:
    """Stop the server when the first evaluation after the start is recorded."""
    from qllm.store.training import TrainingTable

    plain = TrainingTable.record_evaluation

    def record(self: TrainingTable, run_id: int, attempt: int, env_steps: int, *more: Any) -> Any:
        if env_steps >= 600 and attempt == 1 and not stopped:
            stopped.append(1)
            server.stop()
            if for_s is not None:
                threading.Timer(for_s, server.start).start()
        return plain(self, run_id, attempt, env_steps, *more)

    stopped: list[int] = []
    monkeypatch.setattr(TrainingTable, "record_evaluation", record)


def _numbers(url: str) -> dict[str, Any]:
    with open_store(url=url) as store:
        (child,) = store.runs.children(1) or [store.runs.get(1)]
        evaluations = [(e.env_steps, e.returns) for e in store.training.evaluations(child.id)]
        metrics = [(m.env_steps, m.name) for m in store.training.every_metric(child.id)]
        return {"evaluations": evaluations, "metrics": metrics, "steps": child.env_steps}


def test_a_training_catches_up_when_the_server_is_back_and_resumes_when_it_stayed_away(
    server: PostgresServer,
    url: str,
    trains: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = server.new_database()
    with monkeypatch.context() as patch:
        patch.setenv("QLLM_DB", whole)
        assert trains("train", "matrix/climbing", *SETTINGS) == 0
    capsys.readouterr()

    with monkeypatch.context() as patch:
        caught = server.new_database()
        patch.setenv("QLLM_DB", caught)
        _stop_at(server, patch, 1.0)
        assert trains("train", "matrix/climbing", *SETTINGS) == 0
        out, err = capsys.readouterr()
        assert err.count("waiting up to") == 1, err
        assert err.count("is back after") == 1, err
        assert json.loads(out)["status"] == "finished"
    assert _numbers(caught) == _numbers(whole)

    with monkeypatch.context() as patch:
        patch.setattr(outage.Outage.__init__, "__defaults__", (1.0,))
        _stop_at(server, patch, None)
        assert trains("train", "matrix/climbing", *SETTINGS) == 1
    server.start()
    out, err = capsys.readouterr()
    assert err.count("no server answers") == 2, err  # that it waits, and that it has ended
    assert "`qllm resume 1`" in err.strip().splitlines()[-1]
    assert PASSWORD not in out + err
    with open_store(url=url) as store:
        # This process lives on, as a job's would not.
        with store.database.write() as session:
            session.execute(sa.text("UPDATE runs SET pid = 1, process_started = 1"))
        assert {derived_status(made) for made in store.runs.listed()} == {"died"}
    assert trains("resume", "1", "--json") == 0
    assert _numbers(url) == _numbers(whole)
