import pytest

from arroyo.connectors.redis import stream_publisher
from arroyo.connectors.redis.stream_publisher import RedisStreamPublisher
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.messages import Event


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"maxlen": 0}, "maxlen is 0; expected 1 or more"),
        ({"url": "redis://:sesame@host"}, "url holds a password"),
    ],
)
def test_options_that_can_not_be_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        RedisStreamPublisher("curves", **options)


def test_a_message_that_redis_does_not_take_is_refused_alone(monkeypatch):
    monkeypatch.setattr(stream_publisher, "VALUE_BYTES", 100)
    with pytest.raises(EncodeError, match="101 bytes is more than Redis takes"):
        RedisStreamPublisher("curves").publish(Event({}, b"x" * 101))
