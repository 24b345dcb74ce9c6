"""Where a user's models and servers are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from qllm.paths import models_file, server_dir


def test_models_belong_to_the_user_and_not_to_a_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QLLM_MODELS", "QLLM_SERVERS", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/somewhere/me")
    monkeypatch.setenv("QLLM_HOME", "/somewhere/project/runs")
    assert models_file() == Path("/somewhere/me/.config/qllm/models.yaml")
    assert server_dir("m") == Path("/somewhere/me/.local/state/qllm/servers/m")


def test_the_users_own_folders_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_MODELS", raising=False)
    monkeypatch.delenv("QLLM_SERVERS", raising=False)
    monkeypatch.setenv("HOME", "/somewhere/me")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert models_file() == Path("/conf/qllm/models.yaml")
    assert server_dir("m") == Path("/somewhere/me/.local/state/qllm/servers/m")
    monkeypatch.setenv("QLLM_MODELS", "~/mine.yaml")
    monkeypatch.setenv("QLLM_SERVERS", "/servers")
    assert models_file() == Path("/somewhere/me/mine.yaml")
    assert server_dir("m") == Path("/servers/m")
