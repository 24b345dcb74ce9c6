"""The run store on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from postgres import PASSWORD, PostgresServer
from test_qllm_database import _columns, _one_line

from qllm.store.database import open_database
from qllm.store.errors import StoreError, StoreMissingError
from qllm.store.schema import SCHEMA_VERSION
from qllm.store.store import Store, open_store
from qllm.store.training import MetricPoint

pytestmark = pytest.mark.long


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.new_database()


def _train(store: Store, **about: object) -> int:
    return store.runs.create("train", "t", config={}, command="c", versions={}, **about)  # type: ignore[arg-type]


def test_the_migrations_give_the_same_tables_as_the_schema(postgres: PostgresServer) -> None:
    from qllm.store.migrate import upgrade

    migrated, fresh = (sa.create_engine(postgres.new_database()) for _ in range(2))
    with migrated.begin() as connection:
        upgrade(connection)
    fresh_url = fresh.url.render_as_string(hide_password=False)
    with pytest.raises(StoreMissingError, match="nothing has been run"):
        open_database(fresh_url, readonly=True)
    open_database(fresh_url).close()
    assert _columns(migrated) == _columns(fresh)
    for engine in (migrated, fresh):
        with engine.connect() as connection:
            found = connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all()
        assert found == [SCHEMA_VERSION]
        engine.dispose()


def test_an_older_store_is_upgraded_and_keeps_its_rows(url: str) -> None:
    from qllm.store.migrate import upgrade

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.execute(
            sa.text(
                "INSERT INTO runs (id, attempt, kind, task, status, config, command, versions,"
                " inputs, created, env_steps, total_steps) VALUES (1, 1, 'train', 't', 'stopped',"
                " '{}', 'c', '{}', '{}', 0, 0, 0)"
            )
        )
    engine.dispose()
    with open_store(url=url, readonly=True) as store:
        assert [(run.id, run.uid) for run in store.runs.listed()] == [(1, None)]


def test_what_no_database_takes_is_stored_all_the_same(url: str) -> None:
    with open_store(url=url) as store:
        run = store.runs.create(
            "train", "t", config={"s": "\ud800 \0 ∑"}, command="\ud800\0", versions={}, seed=2**62
        )
        points = [MetricPoint(1, 0.1, "m", value) for value in (float("nan"), 1e308, -0.0)]
        store.training.record_metrics(run, 1, points)
        store.training.record_evaluation(run, 1, 1, 0.1, [float("inf"), 1.5])
        assert [point.value for point in store.training.metrics(run, "m")] == [None, 1e308, 0.0]
        assert store.training.evaluations(run)[0].returns[1] == 1.5
        assert store.runs.get(run).seed == 2**62
        assert store.runs.get(run).config["s"].endswith("∑")
        assert not store.runs.get(run).damage


def test_a_reader_sees_one_snapshot(url: str) -> None:
    count = sa.text("SELECT count(*) FROM runs")
    with open_store(url=url) as store:
        with store.database.read() as session:
            before = session.scalar(count)
            _train(store)
            assert session.scalar(count) == before
        with store.database.read() as session:
            assert session.scalar(count) == 1


WRITERS = 20


def test_twenty_writers_neither_lose_nor_double_a_row(url: str) -> None:
    """Each opens the empty database, creates runs, records in one, and begins the same one."""

    def write(writer: int) -> tuple[int, int, list[int]]:
        with open_store(url=url) as store:
            runs = [_train(store, seed=writer) for _ in range(3)]
            for step in range(5):
                points = [MetricPoint(step, 0.1, name, step) for name in "ab"]
                store.training.record_metrics(runs[1], 1, points)
                store.training.record_evaluation(runs[1], 1, step, 0.1, [float(writer)])
            return writer, store.runs.begin(1), runs

    with ThreadPoolExecutor(WRITERS) as pool:
        wrote = list(pool.map(write, range(WRITERS)))
    assert sorted(run for *_, runs in wrote for run in runs) == list(range(1, 3 * WRITERS + 1))
    assert sorted(attempt for _, attempt, _ in wrote) == list(range(1, WRITERS + 1))
    with open_store(url=url) as store:
        for writer, _, runs in wrote:
            assert {store.runs.get(run).seed for run in runs} == {writer}
            for name in "ab":
                points = store.training.metrics(runs[1], name)
                assert [point.env_steps for point in points] == list(range(5))
            returns = [evaluation.returns for evaluation in store.training.evaluations(runs[1])]
            assert returns == [(float(writer),)] * 5


def test_children_that_report_at_once_add_up_to_the_whole(url: str) -> None:
    with open_store(url=url) as store:
        parent = _train(store)
        children = [_train(store, parent_id=parent) for _ in range(WRITERS)]

    def report(child: int) -> None:
        with open_store(url=url) as store:
            for steps in range(1, 6):
                store.runs.progress(child, env_steps=steps)
                store.runs.add_up(parent)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(report, children))
    with open_store(url=url) as store:
        assert store.runs.get(parent).env_steps == 5 * WRITERS


def _leaks(error: BaseException) -> Iterator[str]:
    import traceback

    yield "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"password": "wrong-s3cret"}, "refuses this user and password"),
        ({"password": None}, "refuses this user and password"),
        ({"username": "nobody-here"}, "refuses this user and password"),
        ({"database": "none_such"}, "createdb"),
        ({"host": "no-such-host.invalid"}, "its host is unknown"),
        ({"port": 1}, "no server answers"),
        ({"host": "localhost", "port": 1}, "no server answers"),
    ],
)
def test_what_keeps_it_from_being_opened_is_one_line_without_the_password(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, parts: dict[str, object], said: str
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    with pytest.raises(StoreError) as error:
        open_database(postgres.url(**parts))  # type: ignore[arg-type]
    assert said in _one_line(error)
    shown = "".join(_leaks(error.value))
    assert "OperationalError" in shown
    assert "s3cret" not in shown
    assert PASSWORD not in shown


def test_a_user_who_may_not_make_tables_is_told_so(postgres: PostgresServer) -> None:
    name = postgres.new_database().rpartition("/")[2]
    postgres.execute("CREATE ROLE guest LOGIN PASSWORD 'g'")
    with pytest.raises(StoreError) as error:
        open_database(postgres.url(name, username="guest", password="g"))
    assert "createdb --owner" in _one_line(error)


def test_another_programs_database_is_refused_and_left_alone(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (words text)"))
    with pytest.raises(StoreError, match="holds other tables"):
        open_database(url)
    assert sa.inspect(engine).get_table_names() == ["notes"]
    engine.dispose()


def test_the_limits_of_a_connection_that_the_url_sets_stay(url: str) -> None:
    with closing(open_database(f"{url}?connect_timeout=3")) as database:
        assert database.engine.url.query["connect_timeout"] == "3"
        assert database.engine.url.query["tcp_user_timeout"] == "30000"
