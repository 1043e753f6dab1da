"""What is refused before there is a server; the rest is in tests/integration."""

import pytest
from outside import Recorder

from arroyo.connectors.redis.pubsub import RedisListener, RedisPublisher
from arroyo.errors import ConfigurationError


def test_a_variable_that_is_not_set_is_a_configuration_error(monkeypatch):
    monkeypatch.delenv("DETECTOR_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match="DETECTOR_PASSWORD, which is not set"):
        RedisPublisher("det", password_env="DETECTOR_PASSWORD").open()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "redis://host", "port": 6379}, "either url or host, port and db"),
        ({"url": "http://host"}, "should begin with redis://"),
        ({"url": "redis://:sesame@host"}, "url holds a password"),
        ({"url": "unix:///tmp/socket?password=sesame"}, "url holds a password"),
    ],
)
def test_options_that_make_no_address_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        RedisPublisher("det", **options)
    assert "sesame" not in str(caught.value)


def test_an_address_is_made_of_its_parts():
    assert RedisPublisher("det").address == "redis://127.0.0.1:6379/0"
    assert RedisPublisher("det", host="::1", port=1, db=2).address == "redis://[::1]:1/2"


def test_channels_given_as_one_text_are_refused():
    with pytest.raises(ConfigurationError, match="channels = 'det' should be a list"):
        RedisListener(Recorder(), "det")
