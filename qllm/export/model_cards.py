"""The texts of an exported model: its card, its credit function's card, its mixer's head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from marl.events import Evaluated
from marl.settings.train import TrainConfig
from marl.statistics import t_interval
from prompts.cards import TaskCard
from qllm.facts import phrases
from qllm.facts.provenance import Provenance
from qllm.store.schema import Run
from qllm.text import one_line
from sandbox.certificate import Certificate

_TEMPLATES = Path(__file__).parent / "templates"


def fenced(text: str, language: str = "") -> str:
    """A block of code whose fence is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _fill(name: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fenced": fenced, "line": one_line, "cell": _cell}
    text = environment.get_template(name).render(phrases=phrases, **values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _cell(text: object, limit: int = 200) -> str:
    """Text in a cell of a table."""
    return one_line(str(text), limit).replace("|", "\\|")


def model_card(
    document: Mapping[str, Any],
    card: TaskCard,
    config: TrainConfig,
    last: Evaluated | None,
    metrics: Mapping[str, Sequence[tuple[int, float]]],
) -> str:
    """``README.md``, with the front matter that Hugging Face's hub reads.

    Args:
        document: ``config.json``.
        last: its evaluation that counts.
    """
    named = {} if last is None else {k: dict(v).get(last.env_steps) for k, v in metrics.items()}
    measured = {k: v for k, v in named.items() if v is not None}
    return _fill(
        "README.md.j2",
        front=_front_matter(document, None if last is None else last.mean, measured),
        document=document,
        card=card,
        config=config,
        last=last,
        interval=None if last is None else t_interval(last.returns),
        measured=measured,
        scores=next(iter(document["step"]["outputs"])),
    )


def _front_matter(
    document: Mapping[str, Any], mean: float | None, measured: Mapping[str, float]
) -> str:
    task, algorithm = document["task"], document["algorithm"]
    numbers = [] if mean is None else [("mean_return", "mean team return of an episode", mean)]
    numbers += [(name, f"mean {name} of an episode", value) for name, value in measured.items()]
    front: dict[str, Any] = {
        "library_name": "pytorch",
        "pipeline_tag": "reinforcement-learning",
        "tags": [
            "multi-agent-reinforcement-learning",
            "cooperative",
            "value-decomposition" if document["step"]["outputs"].get("q") else "actor-critic",
            task,
            algorithm,
        ],
    }
    if numbers:
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"name": task, "type": task},
            "metrics": [
                {"type": kind, "name": name, "value": value, "verified": False}
                for kind, name, value in numbers
            ],
        }
        front["model-index"] = [{"name": f"{algorithm} on {task}", "results": [result]}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip()


def credit_card(
    certificate: Certificate, card: TaskCard, run: Run, origin: Provenance | None
) -> str:
    """``CREDIT.md``.

    Args:
        certificate: of the function; nothing of it is shown anew.
        origin: of a candidate of the store; None where the function was given as a file.
    """
    claims, graph = certificate.claims, certificate.graph
    weights = claims.weight_bounds
    return _fill(
        "CREDIT.md.j2",
        certificate=certificate,
        claims=claims,
        graph=graph,
        card=card,
        run=run,
        origin=origin,
        weights="" if weights is None else phrases.weights([tuple(ends) for ends in weights]),
    )


def mixer_title(certificate: Certificate, card: TaskCard) -> list[str]:
    """The first lines of ``pymarl_mixer.py``."""
    graph, scale = certificate.graph, card.reward.scale or 1.0
    gate = graph.gate
    assert gate is not None
    unit = "rewards as they are" if scale == 1 else f"rewards divided by {scale:g}"
    function = f" ({gate.function})" if gate.mode == "enforce" else ""
    scaled = ", times the number of agents" if gate.scale_by_agents else ""
    return [
        f"Training-free credit assignment function for {card.name} as a mixer of PyMARL.",
        f"Written by QLLM from the credit graph {graph.graph_hash}.",
        f"{graph.signature} form; gate {gate.mode}{function}{scaled}. IGM: "
        + phrases.IGM.get(certificate.claims.igm or "", "unknown")
        + ".",
        f"It was made for Qs of {unit}: give the learner the same.",
    ]
