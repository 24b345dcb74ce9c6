"""``qllm models suggest``: models that fit this machine's memory."""

from __future__ import annotations

from qllm.cli import options
from qllm.cli.failures import DONE
from qllm.cli.work import print_json
from qllm.output import echo


def suggest(json: options.Json = False) -> int:
    """Name models that fit this machine's GPU, or its main memory if it has none."""
    from models.admin import suggesting
    from models.memory import GIB
    from qllm.jobs.models import devices

    here = devices()
    if json:
        return print_json(suggesting.document_of(here))
    from qllm.cli.columns import print_columns

    device, most = suggesting.room(here)
    name = "main memory; there is no GPU" if device.name == "cpu" else f"90% of {device.name}"
    echo(f"models that fit {most / GIB:.1f} GiB ({name}), the largest of each family:", "")
    found = suggesting.suggestions(here)
    rows = suggesting.rows_of(suggesting.shortlist(found))
    print_columns(suggesting.HEADERS, rows, right=("bits", "GiB"))
    if not found:
        echo("none: `qllm models add NAME URL` takes a server on another machine")
        return DONE
    echo(
        "",
        "GiB: weights, 1.5 for the server, keys and values of one conversation.",
        "bits: 16 is bfloat16; 4 is a quantised version (AWQ, GPTQ, MXFP4), estimated.",
        "thinks: `off` can think before it answers, and is kept from it by its preset.",
        "grammar: the coder's synth.constraint; `guided` holds shapes for small models.",
    )
    if any(not s.family.verified for s in found):
        echo("* not verified: look at its licence and options before you rely on it.")
    echo("--json has every size that fits. `qllm models add NAME PATH` registers a folder.")
    return DONE
