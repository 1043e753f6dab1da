import pytest

from arroyo.connectors.redis.stream_listener import RedisStreamListener
from arroyo.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"claim_after_s": 0}, "claim_after_s is 0; expected more than 0"),
        ({"url": "redis://:sesame@host"}, "url holds a password"),
    ],
)
def test_options_that_can_not_be_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        RedisStreamListener(None, "frames", "chain", **options)
