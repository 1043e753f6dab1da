"""Addresses of servers, and secrets from the environment."""

import pytest

from arroyo import ConfigurationError
from arroyo.connectors.server_urls import check_url, read_secret

SCHEMES = ("redis", "rediss", "unix")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://host", ("host", None, "")),
        ("rediss://me@[::1]:6380/2", ("::1", 6380, "/2")),
        ("unix:///run/socket", (None, None, "/run/socket")),
    ],
)
def test_a_url_is_taken_apart(url, parts):
    found = check_url("X", url, SCHEMES)
    assert (found.hostname, found.port, found.path) == parts


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://host", "X: url should begin with redis:// or rediss:// or unix://"),
        ("redis://host:70000", "no valid host and port"),
        ("redis://host:0", "port is 0; expected a number from 1 to 65535"),
        ("redis://[::1", "no valid host and port"),
        ("redis://me:sesame@host", "url holds a password"),
        ("unix:///run/socket?password=sesame", "url holds a password"),
        ("redis://me:sesame/open@host", "no valid host and port"),
    ],
)
def test_a_url_that_is_none_is_refused_without_telling_its_password(url, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        check_url("X", url, SCHEMES)
    assert "sesame" not in str(caught.value)


def test_a_secret_is_what_the_variable_holds(monkeypatch):
    monkeypatch.setenv("DETECTOR_TOKEN", "sesame")
    assert read_secret("token_env", "DETECTOR_TOKEN") == "sesame"


def test_a_variable_that_is_not_set_is_named_with_its_option(monkeypatch):
    monkeypatch.delenv("DETECTOR_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match=r"token_env names .* DETECTOR_TOKEN, which is"):
        read_secret("token_env", "DETECTOR_TOKEN")
