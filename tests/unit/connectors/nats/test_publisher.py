import pytest

from arroyo.connectors.nats.publisher import NATSPublisher
from arroyo.errors import ConfigurationError, EncodeError
from arroyo.messages import Event


@pytest.mark.parametrize("subject", ["", "curves.>", "two words"])
def test_a_subject_that_can_not_be_is_refused_at_once(subject):
    with pytest.raises(ConfigurationError, match="expected one without wildcards and spaces"):
        NATSPublisher(subject)


def test_a_header_that_no_stream_takes_is_refused_alone():
    with pytest.raises(EncodeError, match="put large values into the payload"):
        NATSPublisher("curves").publish(Event({"text": "x" * 70_000}))
