"""QLLM: credit assignment functions, written by a model, proved, and trained."""

import marl  # noqa: F401 - it says how threads wait, which must be known before torch is imported

__version__ = "0.1.0"
