"""What users get for their tests does what a chain would do."""

from __future__ import annotations

import pytest

from arroyo import Event, Message, Operator, Publisher, Start, Stop
from arroyo.errors import StageError
from arroyo.runner.relay import flusher
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.testing import InMemoryLink, RecordingPublisher, ScriptedListener


class Twice(Operator):
    """Gives every event on twice, and drops those marked so."""

    def process(self, message: Message):
        if not isinstance(message, Event):
            return None
        if message.metadata.get("drop"):
            return None
        return [Event({"half": half}, message.payload) for half in range(2)]


class Hit(Message):
    """A user's own message."""

    x: int


def run_of(*events: Message) -> list[Message]:
    return [Start({"sample": "silver"}), *events, Stop({"reason": "done"})]


def test_a_run_passes_with_its_start_first_and_its_stop_last():
    with InMemoryLink(Twice()) as link:
        messages = link.process_all(run_of(Event({}, b"a"), Event({"drop": True}, b"b")))
    assert [type(message) for message in messages] == [Start, Event, Event, Stop]
    assert messages[0].data == {"sample": "silver"}


def test_the_stop_tells_what_became_of_the_run():
    with InMemoryLink(Twice()) as link:
        messages = link.process_all(run_of(Event(), Event({"drop": True}), Event()))
    totals = messages[-1].data["totals"]
    assert (totals["sent"], totals["filtered"], totals["complete"]) == (3, 1, True)
    assert messages[-1].data["reason"] == "done"


def test_a_run_that_the_test_leaves_open_is_closed_as_incomplete():
    with InMemoryLink(Twice()) as link:
        link.process_all([Start({}), Event()])
    assert isinstance(link.published.messages[-1], Stop)
    assert link.published.messages[-1].data["totals"]["complete"] is False


def test_each_part_of_a_message_has_a_key_of_its_own():
    with InMemoryLink(Twice(), source="camera") as link:
        link.process_all(run_of(Event()))
    events = link.published.of_type(Event)
    assert [event.key for event in events] == ["camera.0/run1/0.0", "camera.0/run1/0.1"]
    assert events[0].origin.fragment == ((0, 2),)


def test_payloads_arrive_read_only():
    class Overwrite(Operator):
        def process(self, message: Message):
            if isinstance(message, Event):
                message.payload[0] = 1

    with pytest.raises(StageFailedError), InMemoryLink(Overwrite()) as link:
        link.process(Event({}, bytearray(8)))


def test_what_an_operator_raises_fails_the_test_with_its_cause():
    class Broken(Operator):
        def process(self, message: Message):
            raise ValueError("no")

    with InMemoryLink(Broken()) as link, pytest.raises(StageFailedError) as failure:
        link.process(Event())
    assert isinstance(failure.value.__cause__, ValueError)


class Picky(Operator):
    """Raises on what is marked so."""

    def process(self, message: Message):
        if (message.data if isinstance(message, Start | Stop) else message.metadata).get("bad"):
            raise ValueError("no")
        return message


@pytest.mark.parametrize("bad", [Start({"bad": True}), Event({"bad": True}), Stop({"bad": True})])
def test_a_link_goes_on_after_an_error_without_what_it_was_raised_on(bad):
    with InMemoryLink(Picky()) as link:
        for message in run_of(Event({"n": 1}), Event({"n": 2})):
            if isinstance(message, type(bad)):
                with pytest.raises(StageFailedError, match="ValueError: no"):
                    link.process(bad)
            if not isinstance(bad, Start) or not isinstance(message, Start):
                link.process(message)
        link.process_all(run_of(Event({"n": 3})))
    assert [each.metadata["n"] for each in link.published.of_type(Event)] == [1, 2, 3]


@pytest.mark.parametrize("fails_at", ["begin_flush", "is_over"])
def test_what_a_flush_in_the_background_raises_comes_out_as_it_is(monkeypatch, fails_at):
    class Broken(RecordingPublisher):
        def flush(self):
            pass

        def begin_flush(self):
            self.fail("begin_flush")
            return lambda: self.fail("is_over")

        def fail(self, method):
            if method == fails_at:
                raise OSError(method)
            return True

    monkeypatch.setattr(flusher, "FLUSH_S", 0.0)
    with pytest.raises(OSError, match=fails_at), InMemoryLink(Twice(), [Broken()]) as link:
        link.process_all(run_of(Event()))


def test_what_open_flush_and_close_raise_comes_out_as_it_is():
    class Broken(RecordingPublisher):
        fails_at = "open"

        def open(self):
            self.fail("open")

        def flush(self):
            self.fail("flush")

        def close(self):
            self.fail("close")

        def fail(self, method):
            if method == self.fails_at:
                raise OSError(method)

    publisher = Broken()
    with pytest.raises(OSError, match="open"), InMemoryLink(Twice(), [publisher]):
        pass
    publisher.fails_at = "flush"
    with pytest.raises(OSError, match="flush"), InMemoryLink(Twice(), [publisher]) as link:
        link.process_all(run_of(Event()))
    publisher.fails_at = "close"
    with pytest.raises(OSError, match="close"), InMemoryLink(Twice(), [publisher]) as link:
        link.process(Event())


def test_what_an_operator_raises_at_the_end_keeps_no_stage_open():
    class Sulking(Operator):
        def process(self, message):
            if isinstance(message, Stop):
                raise ValueError("no end")
            return message

    publisher = RecordingPublisher()
    with (
        pytest.raises(StageFailedError, match="no end"),
        InMemoryLink(Sulking(), [publisher]) as link,
    ):
        link.process(Start())
    assert publisher.closed == 1


def test_users_own_messages_pass():
    class Shift(Operator):
        def process(self, message: Message):
            return Hit(message.x + 1) if isinstance(message, Hit) else None

    with InMemoryLink(Shift(), types=[Hit]) as link:
        link.process(Hit(4))
    assert link.published.messages == [Hit(5)]


def test_several_publishers_get_the_same():
    publishers: list[Publisher] = [RecordingPublisher(), RecordingPublisher()]
    with InMemoryLink(Twice(), publishers) as link:
        link.process_all(run_of(Event()))
    assert publishers[0].messages == publishers[1].messages
    assert publishers[0].messages[1].origin.path == 0
    assert publishers[1].messages[1].origin.path == 1
    assert (publishers[0].opened, publishers[0].closed) == (1, 1)


class Pairs(Operator):
    """Folds two events into one; at a Stop, whatever is left, and notes the Stops."""

    folds = True
    max_inputs = 1

    def __init__(self):
        self.inputs: list[Event] = []
        self.stops: list[Stop] = []

    def process(self, message: Message):
        if isinstance(message, Event):
            self.inputs.append(message)
            return self.give_out() if len(self.inputs) == 2 else None
        if isinstance(message, Stop):
            self.stops.append(message)
            return [*self.give_out(), message] if self.inputs else message
        return message

    def give_out(self) -> list[Event]:
        payload = b"".join(bytes(each.payload) for each in self.inputs)
        self.inputs.clear()
        return [Event({"count": len(payload)}, payload)]


LETTERS = [Event({}, letter) for letter in (b"a", b"b", b"c")]


def test_a_fold_gives_out_what_is_left_before_the_stop():
    with InMemoryLink(Pairs(), source="camera") as link:
        messages = link.process_all(run_of(*LETTERS))
    assert [type(message) for message in messages] == [Start, Event, Event, Stop]
    events = link.published.of_type(Event)
    assert [bytes(event.payload) for event in events] == [b"ab", b"c"]
    assert [event.key for event in events] == ["operator.0/run1/0", "operator.0/run1/1"]
    totals = messages[-1].data["totals"]
    assert (totals["sent"], totals["inputs"]["sent"], totals["complete"]) == (2, 3, True)
    assert messages[-1].data["reason"] == "done"


def test_outputs_of_a_fold_are_counted_anew_in_each_run():
    with InMemoryLink(Pairs()) as link:
        link.process_all([*run_of(*LETTERS), *run_of(*LETTERS)])
    events = link.published.of_type(Event)
    assert [event.origin.sequence for event in events] == [0, 1, 0, 1]
    stops = link.published.of_type(Stop)
    assert [stop.data["totals"]["sent"] for stop in stops] == [2, 2]


def test_a_fold_hears_of_the_end_without_a_start_once_and_its_publishers_do_not():
    fold = Pairs()
    with InMemoryLink(fold) as link:
        link.process_all([*LETTERS, *run_of(Event({}, b"d"))])
    assert [bytes(event.payload) for event in link.published.of_type(Event)] == [b"ab", b"c", b"d"]
    assert [type(message) for message in link.published.messages] == [
        Event,
        Event,
        Start,
        Event,
        Stop,
    ]
    assert ["reason" in stop.data for stop in fold.stops] == [False, True]


def test_what_a_run_without_a_start_filtered_is_not_counted_in_the_next_one():
    with InMemoryLink(Twice()) as link:
        link.process_all([Event({"drop": True}), *run_of(Event())])
    totals = link.published.messages[-1].data["totals"]
    assert (totals["sent"], totals["filtered"]) == (1, 0)


def test_a_fold_that_holds_what_never_came_in_is_told_so():
    class Dreamer(Pairs):
        def held(self):
            return [Event()]

    with InMemoryLink(Dreamer()) as link, pytest.raises(StageError, match="did not come in"):
        link.process(Event())


def test_a_scripted_listener_plays_into_a_link():
    with InMemoryLink(Twice()) as link:
        listener = ScriptedListener(link, [Start(), (Event(), "file1"), Stop()])
        listener.start()
    assert len(link.published.messages) == 4
