"""Which URLs a model may be asked at."""

from __future__ import annotations

import pytest

from models.openai_server import OpenAIModel
from models.protocol import ModelError
from models.urls import redact, require_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://127.9.8.7:8000/v1",
        "http://localhost:8000/v1",
        "http://LOCALHOST:8000",
        "http://[::1]:8000/v1",
        "https://[::ffff:127.0.0.1]/v1",
    ],
)
def test_this_machine_may_be_asked(url: str) -> None:
    assert require_loopback(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost.evil.example/v1",
        "http://127.0.0.1.:8000/v1",
        "http://0.0.0.0:8000/v1",
        "http://[::]:8000/v1",
        "http://10.0.0.1/v1",
        "http://169.254.169.254/v1",
        "http://2130706433/v1",
        "http://0x7f.1/v1",
        "http://127.1/v1",
    ],
)
def test_other_machines_may_be_asked_only_if_allowed(url: str) -> None:
    with pytest.raises(ModelError, match="allow_remote"):
        require_loopback(url)
    assert require_loopback(url, allow_remote=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1@evil.example/v1",
        "http://user:hunter2@127.0.0.1/v1",
        "http://127.0.0.1:80\\@evil.example/v1",
        "http://127.0.0.1/v1?x=1",
        "http://127.0.0.1/v1#x",
        "http://127.0.0.1 /v1",
        "http://127.0.0.1\t/v1",
        "http://127.0.0.1:99999/v1",
        "http://127。0。0。1/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc/passwd",
        "127.0.0.1:8000",
        "http://",
        "",
    ],
)
@pytest.mark.parametrize("allow_remote", [False, True])
def test_what_is_no_plain_url_is_refused_always(url: str, allow_remote: bool) -> None:
    with pytest.raises(ModelError) as caught:
        require_loopback(url, allow_remote)
    assert "hunter2" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    assert (
        redact("at http://a:b@c@host/x and https://ok/y") == "at http://***@host/x and https://ok/y"
    )


def test_a_model_of_another_machine_is_refused_when_it_is_made() -> None:
    with pytest.raises(ModelError, match="allow_remote"):
        OpenAIModel("far", url="http://example.org", model_id="m", api_key="k")
    OpenAIModel("far", url="http://example.org", model_id="m", allow_remote=True).close()
