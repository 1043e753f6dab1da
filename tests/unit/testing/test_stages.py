"""Stages for users' tests."""

from arroyo import Event, Start, Stop
from arroyo.testing import RecordingPublisher, ScriptedListener

SCRIPT = [Start(), (Event({"n": 1}), "file1"), Event({"n": 2}), Stop()]


class Taken(list):
    """Stands for what is below a listener."""

    def process(self, message, token=None):
        self.append((message, token))


def test_a_script_is_handed_over_in_order_with_its_tokens():
    taken = Taken()
    listener = ScriptedListener(taken, SCRIPT)
    listener.start()
    assert [token for _, token in taken] == [None, "file1", None, None]
    assert [type(message) for message, _ in taken] == [Start, Event, Event, Stop]


def test_a_listener_remembers_what_was_acknowledged():
    listener = ScriptedListener(Taken(), SCRIPT)
    for token in ("file1", "file2"):
        listener.acknowledge(token)
    assert listener.acknowledged == ["file1", "file2"]


def test_a_publisher_records_what_it_gets_and_how_it_is_treated():
    publisher, payload = RecordingPublisher(), bytearray(b"lent")
    publisher.open()
    for message in (Start(), Event({"n": 1}, memoryview(payload))):
        publisher.publish(message)
    payload[:] = b"gone"
    publisher.close()
    (event,) = publisher.of_type(Event)
    assert bytes(event.payload) == b"lent"
    assert len(publisher.messages) == 2
    assert (publisher.opened, publisher.closed) == (1, 1)
