"""Jobs that the app starts are processes of their own, and a wrong start is seen."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qllm.errors import WorkError
from qllm.tui.jobs import Ended, StartedJob, start_job


def _end_of(job: StartedJob) -> Ended:
    until = time.monotonic() + 60
    while (ended := job.ended()) is None:
        assert time.monotonic() < until, "the job does not end"
        time.sleep(0.02)
    return ended


def test_a_job_prints_into_a_log_of_its_own_in_another_session(tmp_path: Path) -> None:
    job = start_job(["tasks", "--json"], tmp_path)
    assert os.getsid(job.pid) == job.pid != os.getsid(0)
    ended = _end_of(job)
    assert ended.well
    assert job.log.parent == tmp_path / "logs"
    assert "matrix/climbing" in job.log.read_text()
    assert job.command == f"qllm tasks --json --home {tmp_path}"


def test_a_job_that_ends_at_once_says_why(tmp_path: Path) -> None:
    job = start_job(["train", "matrix/climbin"], tmp_path)
    ended = _end_of(job)
    assert ended.code == 2
    assert not ended.well
    assert ended.how == "ended with exit code 2"
    assert "climbin" in ended.last[-1]


def test_a_folder_of_the_user_that_has_our_name_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("qllm", "json", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit(77)\n")
    monkeypatch.chdir(tmp_path)
    assert _end_of(start_job(["--version"])).well


def test_two_jobs_of_one_second_have_two_logs(tmp_path: Path) -> None:
    jobs = [start_job(["--version"], tmp_path) for _ in range(3)]
    assert len({job.log for job in jobs}) == 3
    assert all(_end_of(job).well for job in jobs)


def test_a_log_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("")
    with pytest.raises(WorkError, match="cannot be started"):
        start_job(["--version"], home)
