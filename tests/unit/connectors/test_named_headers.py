from __future__ import annotations

import msgspec
import pytest
from batches import make_batch
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Returned
from arroyo.connectors.named_headers import write_named
from arroyo.connectors.wire_format import write_header
from arroyo.errors import EncodeError
from arroyo.messages import Event, Message, Start
from arroyo.protocol.values.deliveries import origins_of

BATCH = make_batch(run='run "1"', source="take.0", epoch=7, base=5)


class Peak(Message):
    height: float


def came(messages, batch=BATCH, numbers=None):
    """Give messages what a batch gives them."""
    make_origin = origins_of(batch)
    for number, message in zip(numbers or range(5, 5 + len(messages)), messages, strict=True):
        message._make_origin, message._origin = make_origin, number
    return messages


def write_each(messages):
    return [(each.key, write_header(each)) for each in messages]


metadata = st.dictionaries(st.text(), st.none() | st.integers(0, 9) | st.text() | st.floats())
events = st.builds(Event, metadata, st.just(b"payload"))
arrays = st.builds(Event, metadata, st.just(b"ab"), st.just("<u2"), st.just((1,)))
others = st.builds(Peak, st.floats()) | st.builds(Start, metadata)
batches = st.sampled_from([BATCH, msgspec.structs.replace(BATCH, path=2)])


@given(st.lists(events | arrays | others), batches, st.data())
def test_a_list_is_written_as_its_messages_are(messages, batch, data):
    count = len(messages)
    numbers = sorted(data.draw(st.sets(st.integers(5, 10**6), min_size=count, max_size=count)))
    messages = came(messages, batch, numbers)
    assert write_named(messages) == write_each(messages)


@pytest.mark.parametrize("fragment", [(), ((1, 2),)])
def test_what_comes_from_quarantine_has_the_name_that_it_had(fragment):
    again = msgspec.structs.replace(BATCH, returned=Returned("run-1", 3, 41, fragment=fragment))
    (message,) = came([Event()], again, [900])
    assert write_named([message]) == write_each([message])
    assert message.key.startswith("take.0/run-1/41")


def test_parts_of_a_message_have_names_of_their_own():
    one, two = came([Event(), Event()])
    one._origin, two._origin = (5, ((0, 2),)), (5, ((1, 2),))
    assert [name for name, _ in write_named([one, two])] == [one.key, two.key]
    assert one.key != two.key


def test_messages_of_two_batches_have_each_their_own_run():
    other = msgspec.structs.replace(BATCH, run="run-2")
    messages = [*came([Event()]), *came([Event()], other)]
    assert write_named(messages) == write_each(messages)


def test_messages_outside_of_a_chain_have_no_name():
    assert write_named([Event({"n": 1})]) == [("", write_header(Event({"n": 1})))]
    assert write_named([]) == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_value_that_json_does_not_have_is_told(place):
    messages = came([Event(), Event()])
    messages[place].metadata["value"] = object()
    with pytest.raises(EncodeError, match="this Event can't be written as JSON: object"):
        write_named(messages)
