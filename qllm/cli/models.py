"""``qllm models``: which language models there are. Everything heavy is imported inside."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from qllm.cli import model_suggest, model_use, options
from qllm.cli.failures import DONE
from qllm.cli.model_use import AllowRemote, Name, Python
from qllm.cli.work import print_json
from qllm.output import echo

if TYPE_CHECKING:
    from models.entries import ModelEntry

app = options.Commands()


class Dialect(StrEnum):
    """How a server takes a grammar."""

    vllm = "vllm"
    openai = "openai"


@app.callback(invoke_without_command=True)
def _models(
    context: typer.Context,
    json: options.Json = False,
) -> int:
    """Say which language models there are, add some, and try them."""
    return list_models(json=json) if context.invoked_subcommand is None else DONE


@app.command("list")
def list_models(
    json: options.Json = False,
) -> int:
    """List who can write candidates: the sampler and the registered models."""
    from qllm.jobs.models import coders

    found = coders()
    if json:
        print_json([vars(coder) for coder in found])
        return DONE
    from qllm.cli.columns import print_columns

    rows = [
        (
            c.name,
            "LLM" if c.is_llm else "not an LLM",
            c.backend,
            f"{c.context_tokens:,}" if c.context_tokens else None,
            c.about,
        )
        for c in found
    ]
    print_columns(("coder", "kind", "backend", "context", "about"), rows, right=("context",))
    if len(found) == 1:
        echo("", "`qllm models add NAME PATH-OR-URL` registers a language model")
    return DONE


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="How it will be named, such as qwen-7b.")],
    where: Annotated[
        str,
        typer.Argument(
            metavar="PATH-OR-URL",
            help="A model's folder (config.json, safetensors, tokenizer), or the URL of a server"
            " that runs, such as http://127.0.0.1:8000/v1.",
        ),
    ],
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="Who runs it: vllm, transformers, llama.cpp, openai or a plug-in's (default:"
            " openai for a URL; llama.cpp for a GGUF file; for a folder vllm where it is installed"
            " or --python names it, else transformers).",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="What the server calls the model.", show_default=False),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            "--context", help="Tokens of context to run it with.", min=64, show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="auto, cpu, cuda or cuda:1.", show_default=False),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="auto, bfloat16, float16, float32.", show_default=False),
    ] = None,
    python: Python = None,
    gpu_share: Annotated[
        float | None,
        typer.Option(
            "--gpu-share",
            help="Share of a GPU's memory that vLLM may take (its own default: 0.9).",
            show_default=False,
        ),
    ] = None,
    kv_cache_gib: Annotated[
        float | None,
        typer.Option(
            "--kv-cache-gib",
            help="GiB for keys and values, where a share does not say it (on a CPU).",
            min=0.001,
            show_default=False,
        ),
    ] = None,
    max_seqs: Annotated[
        int | None,
        typer.Option(
            "--max-seqs", help="Replies that are written at the same time.", show_default=False
        ),
    ] = None,
    tensor_parallel: Annotated[
        int | None,
        typer.Option(
            "--tensor-parallel", help="GPUs that one copy is spread over.", show_default=False
        ),
    ] = None,
    reasoning_parser: Annotated[
        str | None,
        typer.Option(
            "--reasoning-parser",
            help="vLLM's parser of a thinking model's thoughts ('' for none).",
            show_default=False,
        ),
    ] = None,
    extra: Annotated[
        str | None,
        typer.Option(
            "--extra",
            help="More options of `vllm serve`, in one quoted string.",
            show_default=False,
        ),
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            "--key-env",
            help="Environment variable that holds the server's API key; never the key itself.",
            show_default=False,
        ),
    ] = None,
    dialect: Annotated[
        Dialect | None,
        typer.Option(
            "--dialect",
            help="vllm for a vLLM server at the URL, openai for any other (default: found out).",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a model of this name.")
    ] = False,
    full_hash: Annotated[
        bool,
        typer.Option(
            "--full-hash", help="Read every byte of the weights (minutes), not only headers."
        ),
    ] = False,
    allow_remote: AllowRemote = False,
    json: options.Json = False,
) -> int:
    """Look whether a model is complete and safe to load, and register it."""
    import shlex

    from qllm.errors import UsageError
    from qllm.jobs.models import add_model

    try:
        extra_args = None if extra is None else tuple(shlex.split(extra))
    except ValueError as error:
        raise UsageError(f"--extra: {error}") from None
    added = add_model(
        name,
        where,
        {
            "backend": backend,
            "model_id": model,
            "context_tokens": context,
            "device": device,
            "dtype": dtype,
            "python": python,
            "gpu_memory_utilization": gpu_share,
            "kv_cache_bytes": None if kv_cache_gib is None else int(kv_cache_gib * (1 << 30)),
            "max_num_seqs": max_seqs,
            "tensor_parallel_size": tensor_parallel,
            "reasoning_parser": reasoning_parser,
            "extra_args": extra_args,
            "key_env": key_env,
            "dialect": None if dialect is None else dialect.value,
        },
        replace=replace,
        full_hash=full_hash,
        allow_remote=allow_remote,
    )
    if json:
        _show(added.entry, json=True, notes=added.notes)
        return DONE
    echo(f"added {added.entry.name}")
    _show(added.entry, json=False)
    for note in added.notes:
        echo(f"note: {note}")
    echo(f"`qllm models check {name}` tries it, `qllm synth TASK --coder {name}` works with it")
    return DONE


def _show(entry: ModelEntry, *, json: bool, **more: object) -> None:
    """The summary of a model: a JSON document with ``more`` in it, or lines for people."""
    from models.admin.summary import document_of, lines_of
    from qllm.jobs.models import server_document

    server = server_document(entry)
    if json:
        print_json({**document_of(entry, server), **more})
        return
    lines = lines_of(entry, server)
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        echo(f"  {label.replace('_', ' '):<{width}}  {value}")


@app.command()
def show(
    name: Name,
    json: options.Json = False,
) -> int:
    """Show one model: what it is, the memory it needs and whether this machine has it."""
    entry = model_use.registered(name)
    if not json:
        echo(entry.name)
    _show(entry, json=json)
    return DONE


app.command()(model_suggest.suggest)
app.command()(model_use.check)
app.command()(model_use.serve)
app.command()(model_use.stop)


@app.command()
def remove(
    name: Name,
    json: options.Json = False,
) -> int:
    """Forget a model; its own files are left alone."""
    from qllm.errors import UsageError
    from qllm.jobs.models import registry, server_document

    if server_document(model_use.registered(name)) is not None:
        raise UsageError(f"the server of '{name}' runs: `qllm models stop {name}` first")
    entry = registry().remove(name)
    if json:
        print_json({"removed": entry.name, "at": entry.where})
    else:
        echo(f"removed {entry.name}; '{entry.where}' is left as it is")
    return DONE
