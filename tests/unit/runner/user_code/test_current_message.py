from user_calls import current_message, work

from arroyo.codec import Batch, Kind
from arroyo.config.graph import Stage
from arroyo.messages import Event
from arroyo.runner.user_code.publisher_call import PublisherCall


class Looking:
    """Notes what is said to be in hand while it publishes."""

    def __init__(self, current, leave_at=None):
        self.current, self.leave_at = current, leave_at
        self.seen = []

    def publish(self, message):
        self.seen.append((self.current.sequence[0], self.current.part[0], message.origin.sequence))
        if message.origin.sequence == self.leave_at:
            self.current.due.append(True)


def publish(current, publisher, work):
    stage = Stage(name="p", role="publisher", target="own:Looking")
    return PublisherCall(stage, publisher, current).events(work)


def test_each_message_is_noted_before_the_code_gets_it():
    current = current_message()
    publisher = Looking(current)
    publish(current, publisher, [(4, (), Event()), (7, (), Event())])
    assert publisher.seen == [(4, 0, 4), (7, 0, 7)]


def test_parts_of_a_message_are_told_from_each_other():
    current = current_message()
    publisher = Looking(current)
    publish(current, publisher, [(4, ((part, 2),), Event()) for part in range(2)])
    (_, first, _), (_, second, _) = publisher.seen
    assert 0 < first != second > 0
    assert max(first, second) < 1 << 64


def test_once_results_are_due_no_further_message_is_begun():
    current = current_message()
    publisher = Looking(current, leave_at=1)
    outcomes = publish(current, publisher, [(number, (), Event()) for number in range(4)])
    assert len(outcomes) == len(publisher.seen) == 2


def test_results_that_are_due_do_not_keep_a_failed_message_from_its_next_try():
    current = current_message()
    tries = []

    class Failing(Looking):
        def publish(self, message):
            super().publish(message)
            tries.append(message)
            if len(tries) == 1:
                raise ValueError("not yet")

    stage = Stage(name="p", role="publisher", target="own:F", on_error="retry", retries=1)
    call = PublisherCall(stage, Failing(current, leave_at=0), current)
    assert call.events([(0, (), Event()), (1, (), Event())]) == [None]
    assert len(tries) == 2


def test_whether_a_list_may_kill_is_asked_once_for_each_batch():
    current, asked = current_message(), []
    messages = work([Event()] * 3, first=5)

    def may_kill(*delivery):
        asked.append(delivery)
        return len(asked) == 2

    def take_up(number, left):
        batch = Batch("s.0", 1, number, Kind.EVENTS, "r", "s.0", 1, 0, 0, 0)
        current.take_up(batch, left, may_kill)
        return current.singly

    assert [take_up(1, messages), take_up(1, messages[1:]), take_up(2, messages)] == [0, 0, 1]
    current.singly = False
    assert not take_up(2, messages[2:])
    assert [(batch.number, *ends) for batch, *ends in asked] == [(1, 5, 8), (2, 5, 8)]
    assert not take_up(3, [])
    assert current.make_origin(7, ()).sequence == 7
