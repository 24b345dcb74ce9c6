"""What is claimed of a credit function: by the sandbox's report, or by a certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qllm.jobs.credit import Credit
from sandbox.report import CheckReport


def claims_of(credit: Credit) -> dict[str, Any]:
    """IGM, finiteness and properties, as shown just now or as a certificate has them.

    A certificate was proved and tested again when it was loaded; only its words are taken from it.

    Returns:
        ``signature``, ``gate``, ``igm``, ``finite``, ``q_bound``, ``linear_in_q``,
        ``weight_bounds`` (per agent, where proved) and ``properties``; None where nothing is said.
    """
    said: Any
    if isinstance(credit.evidence, CheckReport):
        said = credit.evidence.to_json()
        source = credit.evidence.code
    else:
        document = _document(credit.evidence)
        said = document.get("claims")
        said = said if isinstance(said, dict) else {}
        source = document.get("source", "")
    gate = credit.graph.gate
    return {
        "signature": "weights" if "weights" in credit.graph.outputs else "mixing",
        "gate": None if gate is None else gate.model_dump(mode="json"),
        **{
            key: said.get(key)
            for key in ("igm", "finite", "q_bound", "linear_in_q", "weight_bounds", "properties")
        },
        "source": source if isinstance(source, str) else None,
    }


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
