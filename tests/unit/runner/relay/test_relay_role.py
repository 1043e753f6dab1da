"""What the replicas of operators and publishers do in the loop that all have."""

import pytest
from batches import make_batch
from stage_fakes import ScriptedContext
from user_calls import work

from arroyo import Event, Operator, Publisher, Start, Stop
from arroyo.codec import Kind, Reason
from arroyo.runner.relay.relay_role import make_operator_role, make_publisher_role
from arroyo.runner.relay.role import equip
from arroyo.runner.user_code.results import SKIPPED


class Doubles(Operator):
    def __init__(self):
        self.heard = []

    def process(self, message):
        self.heard.append(message)
        if isinstance(message, Event):
            return Event({"n": 2 * message.metadata["n"]}) if message.metadata["n"] else None
        return type(message)({"seen": True})


@pytest.fixture
def operator():
    return Doubles()


@pytest.fixture
def role(equipment, operator):
    return make_operator_role(equipment, operator)


def worked_on(role, *numbers):
    batch = make_batch(ranges=((0, len(numbers)),))
    events = [Event({"n": number}) for number in numbers]
    return batch, role.work_on(batch, work(events), role.call.make_results())


def test_what_goes_on_and_what_does_not_is_counted(role, equipment):
    role.count(*worked_on(role, 0, 1, 2))
    counters = equipment.counters
    assert (counters.received, counters.sent, counters.filtered) == (3, 2, 1)


def test_events_have_an_origin_while_they_are_worked_on(role, operator):
    worked_on(role, 1, 2)
    assert [message.origin.sequence for message in operator.heard] == [0, 1]


def test_a_start_or_stop_is_heard_and_one_to_come_only_passes(role, operator, context):
    for kind, message in ((Kind.START, Start()), (Kind.STOP, Stop())):
        (found,) = role.hear(make_batch(kind=kind, base=1), [(1, (), message)])
        assert found == context.codec.encode(type(message)({"seen": True}))
    announced = Stop({"why": "soon"})
    assert role.hear(make_batch(kind=Kind.CLOSING), [(1, (), announced)]) == [
        context.codec.encode(announced)
    ]
    assert [type(message) for message in operator.heard] == [Start, Stop]


def test_the_chain_goes_on_without_an_event_but_not_without_a_stop(role, context):
    assert role.do_without(make_batch(), Event()) is SKIPPED
    assert role.do_without(make_batch(kind=Kind.STOP), Stop()) == context.codec.encode(Stop())


def test_what_is_meant_for_a_stage_below_passes_and_the_rest_ends_here(role, context):
    event = Event({"n": 1})
    assert role.let_pass(make_batch(enters="sink"), work([event])) == [context.codec.encode(event)]
    (ended,) = role.let_pass(make_batch(enters="elsewhere"), work([event]))
    assert ended.reason is Reason.FINISHED


def test_a_message_from_quarantine_stays_in_its_run(role):
    batch = make_batch()
    placed, run = role.place_returned(batch)
    assert placed is batch
    assert run is not None


def test_it_leaves_all_actions_to_the_links_and_has_nothing_due(role):
    actions = [object(), object()]
    assert list(role.carry_out(actions)) == actions
    assert list(role.due(0.0)) == []
    assert role.flushing is None


# Publishers


class Keeps(Publisher):
    def __init__(self):
        self.kept = []

    def publish(self, message):
        self.kept.append(message)


class Flushes(Keeps):
    def flush(self):
        self.kept = []


@pytest.fixture
def sink(line):
    with ScriptedContext(line, "sink", lambda action: ()) as context:
        yield equip(context)


def published(role, *events):
    batch = make_batch(ranges=((0, len(events)),))
    role.count(batch, role.work_on(batch, work(list(events)), role.call.make_results()))


def test_what_is_published_counts_as_sent(sink):
    published(make_publisher_role(sink, Keeps()), Event({"n": 1}), Event({"n": 2}))
    assert (sink.counters.received, sink.counters.sent) == (2, 2)


def test_it_publishes_a_start_and_stop_and_nothing_where_one_is_to_come(sink):
    publisher = Keeps()
    role = make_publisher_role(sink, publisher)
    for kind, message in ((Kind.START, Start()), (Kind.CLOSING, Stop()), (Kind.STOP, Stop())):
        assert role.hear(make_batch(kind=kind, base=1), [(1, (), message)]) == [None]
    assert [type(message) for message in publisher.kept] == [Start, Stop]


def test_nothing_goes_on_in_place_of_what_the_chain_goes_on_without(sink):
    role = make_publisher_role(sink, Keeps())
    assert role.do_without(make_batch(), Event()) is SKIPPED
    assert role.do_without(make_batch(kind=Kind.STOP), Stop()) is None


def test_only_one_with_a_flush_is_flushed(sink):
    assert make_publisher_role(sink, Keeps()).flushing is None
    role = make_publisher_role(sink, Flushes())
    assert role.flushing is role.call


def test_a_message_from_quarantine_for_another_publisher_ends_here(sink):
    role = make_publisher_role(sink, Keeps())
    (ended,) = role.let_pass(make_batch(enters="other"), work([Event()]))
    assert ended.reason is Reason.FINISHED
