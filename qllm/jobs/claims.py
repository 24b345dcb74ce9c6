"""What the sandbox claims of a credit function, as a document."""

from __future__ import annotations

from typing import Any

from qllm.jobs.credit import Credit


def claims_of(credit: Credit) -> dict[str, Any]:
    """IGM, finiteness, bounds and properties.

    Returns:
        ``signature``, ``gate``, ``igm``, ``finite``, ``q_bound``, ``row_bytes``, ``linear_in_q``,
        ``weight_bounds`` (per agent, where proved), ``properties`` and ``source``.
    """
    said, gate = credit.report.to_json(), credit.graph.gate
    kept = "signature igm finite q_bound row_bytes linear_in_q weight_bounds properties".split()
    return {
        **{key: said[key] for key in kept},
        "gate": None if gate is None else gate.model_dump(mode="json"),
        "source": credit.report.code,
    }
