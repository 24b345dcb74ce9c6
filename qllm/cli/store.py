"""``qllm store``: the run store as a whole. Everything heavy is imported inside."""

from __future__ import annotations

from typing import Annotated

from qllm.cli import options
from qllm.cli.work import answer

app = options.Commands(no_args_is_help=True)


@app.command()
def copy(
    url: Annotated[
        str,
        options.argument(
            "An empty database, such as postgresql+psycopg://USER@HOST/NAME or sqlite:///FILE.",
            metavar="URL",
        ),
    ],
    json: options.Json = False,
) -> int:
    """Copy all rows of the run store into another database; files stay in the home folder."""
    from qllm.paths import resolve_home
    from qllm.store.copying import copy_store
    from qllm.store.database import open_database
    from qllm.store.store import open_store

    home = resolve_home(options.given.home)
    with open_store(home, readonly=True) as store:
        target = open_database(url)
        try:
            counts = copy_store(store.database, target)
        finally:
            target.close()
    words = ", ".join(f"{count:,} {table}" for table, count in counts.items() if count)
    return answer(
        {"database": target.where.strip("'"), "rows": counts},
        f"{target.where} holds it all: {words or 'no row'}",
        f"it is the store from now on with $QLLM_DB set to its URL; files stay in '{home}'",
        json=json,
    )
