"""QLLM: credit assignment functions, written by a model, proved, and trained."""

__version__ = "0.1.0"
