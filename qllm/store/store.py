"""The run store: a database, and the folder of the runs' files."""

from __future__ import annotations

from pathlib import Path

from qllm.paths import database_url, resolve_home
from qllm.store.commands import CommandTable
from qllm.store.database import Database, open_database
from qllm.store.folders import find_folder, make_folder
from qllm.store.runs import RunTable
from qllm.store.synthesis import SynthesisTable
from qllm.store.training import TrainingTable


class Store:
    """The tables of one run store, and the folder of its runs' files."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database, self.home = database, home
        self.runs = RunTable(database)
        self.training = TrainingTable(database)
        self.synthesis = SynthesisTable(database)
        self.commands = CommandTable(database)

    def run_dir(self, run_id: int) -> Path:
        """The folder of a run's files (checkpoints, certificates, the report), to read from.

        It need not exist yet.

        Raises:
            UnknownRunError: there is no such run.
        """
        return find_folder(self.home, run_id, self.runs.uid(run_id))

    def make_run_dir(self, run_id: int) -> Path:
        """The same, for writing: created, for this run alone, if it is missing.

        Raises:
            UnknownRunError: there is no such run.
            OSError: it cannot be made.
        """
        return make_folder(self.home, run_id, self.runs.uid(run_id))

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(
    home: str | Path | None = None,
    *,
    url: str | None = None,
    readonly: bool = False,
    one_host: bool = False,
) -> Store:
    """Open the run store of a home folder.

    Args:
        home: the folder of the runs; ``$QLLM_HOME`` or ``runs`` by default.
        url: a SQLAlchemy URL; ``$QLLM_DB`` or ``<home>/qllm.db`` by default.
        readonly: for readers: nothing is created.
        one_host: as `open_database` has it.

    Raises:
        StoreMissingError: ``readonly``, and there is no store yet.
        StoreError: the store cannot be used.
    """
    folder = resolve_home(home)
    database = open_database(url or database_url(folder), readonly=readonly, one_host=one_host)
    return Store(database, folder)
