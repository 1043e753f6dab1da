"""The process of an operator or publisher, with a script in place of its neighbours."""

import pytest
from msgspec.structs import replace
from stage_fakes import line_of, run_stage

from arroyo import Event, Operator, Publisher, Start, Stop
from arroyo.codec import Ack, Bye, Credit, Hello, Kind, Reason, Suspect
from arroyo.control.parameter_note import ParameterNote, write_parameters
from arroyo.links.link_events import SenderConnected
from arroyo.runner.process.live_parameters import LiveParameters
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.runner.user_code.methods import MethodRaisedError


class Doubles(Operator):
    """Passes events on with twice their number; drops 3, and raises on 5."""

    def __init__(self):
        self.calls = []

    def open(self):
        self.calls.append("open")

    def process(self, message):
        if not isinstance(message, Event):
            return message
        number = message.metadata["n"]
        if number == 5:
            raise ValueError("no sense in 5")
        return Event({"n": 2 * number}) if number != 3 else None

    def close(self):
        self.calls.append("close")


class Keeps(Publisher):
    def __init__(self):
        self.calls = []

    def open(self):
        self.calls.append("open")

    def publish(self, message):
        self.calls.append(message.metadata["n"] if isinstance(message, Event) else "control")

    def close(self):
        self.calls.append("close")


class Flushes(Keeps):
    def flush(self):
        self.calls.append("flush")


class Confirmed(Flushes):
    def begin_flush(self):
        return lambda: True


START, STOP = Start({"sample": "ceria"}), Stop({})


def events(*numbers):
    return [Event({"n": number}) for number in numbers]


@pytest.fixture
def run(tmp_path):
    """Run the process of a stage; arguments as those of `run_stage`."""

    def run_one(made, feed, **options):
        keys = options.pop("keys", {})
        stages = [("listener", "src", "own:Src", {})]
        if works := isinstance(made, Operator):
            stages.append(("operator", "work", "own:Work", keys))
        chain = line_of(tmp_path, *stages, ("publisher", "sink", "own:Sink", {}))
        return run_stage(chain, "work" if works else "sink", made, feed, **options)

    return run_one


def one_run(above):
    """A run of six events in two batches."""
    yield above.batch(START, kind=Kind.START)
    yield above.batch(*events(0, 1, 2), base=1)
    yield above.batch(*events(3, 4, 5), base=1)
    yield above.batch(STOP, kind=Kind.STOP, base=1)
    yield above.end(final=True)


def test_an_operator_is_opened_works_on_what_comes_and_is_closed(run):
    operator = Doubles()
    context, _, _ = run(operator, one_run)
    numbers = [message.metadata["n"] for message in context.messages if isinstance(message, Event)]
    assert numbers == [0, 2, 4, 8]
    assert [type(message) for message in context.messages][:: len(context.messages) - 1] == [
        Start,
        Stop,
    ]
    assert operator.calls == ["open", "close"]
    assert context.said == ["working", "draining"]


def test_its_history_has_the_time_at_which_a_batch_was_finished(run):
    clocks = []

    class TakesItsTime(Doubles):
        def process(self, message):
            if isinstance(message, Event):
                clocks[0].advance(10.0)
            return super().process(message)

    context, _, _ = run(
        TakesItsTime(), one_run, script=lambda context: clocks.append(context.clock)
    )
    at = {words: float(time) for time, _, words in map(parted, context.history.lines())}
    took_s = at["finished batch 1 of src.0"] - at["took batch 1 of src.0: 3 messages"]
    assert took_s == pytest.approx(30.0)


def parted(line):
    return line.partition(" s  ")


def test_what_an_operator_drops_or_raises_on_goes_on_as_a_tombstone(run):
    _, _, below = run(Doubles(), one_run)
    stones = [stone for record, _ in below.batches for stone in record.tombstones]
    assert [(stone.first, stone.reason) for stone in stones] == [
        (4, Reason.FILTERED),
        (6, Reason.QUARANTINED),
    ]


def test_the_status_page_tells_what_became_of_all(run):
    context, _, _ = run(Doubles(), one_run)
    words = ("received", "sent", "filtered", "quarantined", "errors", "input_0")
    assert [context.found[word] for word in words] == [6, 4, 1, 1, 1, 6]


def test_each_batch_is_credited_and_none_acknowledged_by_who_passes_on(run):
    _, above, _ = run(Doubles(), one_run)
    assert above.told(Credit)[-1].number == 4
    assert above.told(Ack) == []


def test_a_publisher_acknowledges_what_it_has_published(run):
    publisher = Keeps()
    _, above, _ = run(publisher, one_run)
    assert publisher.calls == ["open", "control", *range(6), "control", "close"]
    spans = [span for ack in above.told(Ack) for span in ack.ranges]
    assert {place for first, end in spans for place in range(first, end)} == set(range(8))


def test_a_publisher_that_flushes_acknowledges_only_after_that(run):
    publisher = Flushes()
    early = []

    def script(context):
        if "flush" not in publisher.calls:
            records = [getattr(action, "record", None) for action in context.links.actions]
            early.extend(record for record in records if isinstance(record, Ack))

    _, above, _ = run(publisher, one_run, script=script)
    assert early == []
    assert publisher.calls.index("flush") > publisher.calls.index(5)
    assert above.told(Ack)


def test_what_a_flush_in_the_background_is_for_is_acknowledged_when_it_is_over(run):
    publisher = Confirmed()
    _, above, _ = run(publisher, one_run)
    spans = [span for ack in above.told(Ack) for span in ack.ranges]
    assert {place for first, end in spans for place in range(first, end)} == set(range(8))
    assert publisher.calls[-2:] == ["flush", "close"]


def test_a_stop_signal_has_it_say_bye_and_leave_when_those_above_have_ended(run):
    def endless(above):
        yield above.batch(START, kind=Kind.START)
        yield above.batch(*events(0, 1), base=1)

    def script(context):
        if context.counts["received"] == 2:
            context.signals.stop()

    publisher = Keeps()
    context, above, _ = run(publisher, endless, script=script)
    assert above.told(Bye)
    assert publisher.calls[-1] == "close"
    assert context.said == ["working", "draining"]


def test_who_it_is_hears_above_when_they_meet(run):
    _, above, _ = run(Keeps(), one_run)
    (hello, *_) = above.told(Hello)
    assert (hello.stage, hello.replica) == ("sink", 0)


def test_a_batch_that_can_not_be_read_is_put_aside_and_the_stage_goes_on(run):
    def feed(above):
        yield above.batch(START, kind=Kind.START)
        broken = above.batch(*events(0), base=1)
        yield replace(broken, frames=(b"\xc1 no message",))
        yield above.batch(*events(1), base=1)
        yield above.end(final=True)

    publisher = Keeps()
    context, above, _ = run(publisher, feed)
    assert [call for call in publisher.calls if isinstance(call, int)] == [1]
    assert context.found["errors"] == 1
    assert sum(end - first for ack in above.told(Ack) for first, end in ack.ranges) >= 2


def test_a_source_that_came_hears_first_what_the_last_life_has_died_of(run):
    def feed(above):
        yield SenderConnected(above.name)
        yield from one_run(above)

    suspect = Suspect("sink", 0, 1, "src.0", 7, 1, "was killed by SIGSEGV")
    _, above, _ = run(Keeps(), feed, suspect=suspect)
    greeting = [type(reply) for reply in above.replies if isinstance(reply, Suspect | Hello)]
    assert greeting[-2:] == [Suspect, Hello]


def test_an_operator_that_can_not_be_opened_is_not_closed(run):
    class Broken(Doubles):
        def open(self):
            raise RuntimeError("no camera")

    operator = Broken()
    with pytest.raises(MethodRaisedError, match=r"Broken.open\(\) raised RuntimeError: no camera"):
        run(operator, one_run)
    assert operator.calls == []


def test_an_error_that_ends_the_stage_finds_it_closed_and_its_message_still_in_hand(run):
    operator, pages = Doubles(), []
    with pytest.raises(StageFailedError, match="raised ValueError: no sense in 5"):
        run(operator, one_run, pages=pages, keys={"on_error": "crash"})
    assert operator.calls == ["open", "close"]
    assert pages[0]["hand_sequence"] == 6
    assert pages[0]["received"] == 3


def test_an_error_that_ends_the_stage_is_not_hidden_by_one_of_its_close(run):
    class Broken(Doubles):
        def close(self):
            raise RuntimeError("no camera")

    with pytest.raises(StageFailedError, match="raised ValueError: no sense in 5"):
        run(Broken(), one_run, keys={"on_error": "crash"})


class Levels(Operator):
    """Tells its parameter in each event; refuses what is negative."""

    level = 0

    def set_parameters(self, parameters):
        if parameters["level"] < 0:
            raise ValueError("a level is not negative")
        self.level = parameters["level"]

    def process(self, message):
        return Event({"level": self.level}) if isinstance(message, Event) else message


def levels_of(context):
    return [each.metadata["level"] for each in context.messages if isinstance(each, Event)]


def test_parameters_of_the_chain_file_are_there_from_the_first_message_on(run):
    context, _, _ = run(Levels(), one_run, keys={"parameters": {"level": 5}})
    assert levels_of(context) == [5] * 6


class Orders:
    """Plays the supervisor, in whose turns which level is set; keeps what is reported."""

    def __init__(self, path, levels):
        self.path, self.levels = path, levels
        self.turn = 0
        self.reported = []

    def parameters(self, *report):
        self.reported.append(report)

    def __call__(self, context):
        if not self.turn:
            context.parameters = LiveParameters(context.stage, self.path, self)
        self.turn += 1
        if (level := self.levels.get(self.turn)) is not None:
            write_parameters(self.path, ParameterNote(self.turn, {"level": level}, {}))


def test_parameters_are_set_between_two_messages_and_what_is_refused_changes_nothing(run, tmp_path):
    def feed(above):
        yield above.batch(START, kind=Kind.START)
        for numbers in ((0, 1), (2, 3), (4, 5)):
            yield above.batch(*events(*numbers), base=1)
            yield from [None] * 4  # time passes
        yield above.end(final=True)

    orders = Orders(tmp_path / "note", {4: 7, 9: -1})
    context, _, _ = run(Levels(), feed, script=orders, keys={"parameters": {"level": 5}})
    assert levels_of(context) == [5, 5, 7, 7, 7, 7]
    assert orders.reported[0] == (4, "")
    assert "a level is not negative" in orders.reported[1][1]


class TakesASecond(Levels):
    """Over each message; with the first one in hand, others come and somebody sets a level."""

    def process(self, message):
        if isinstance(message, Event):
            self.context.clock.advance(1.0)
            if message.metadata["n"] == 0:
                write_parameters(self.path, ParameterNote(1, {"level": 7}, {}))
                self.context.links.came.extend(self.others)
        return super().process(message)


def test_a_slow_stage_takes_parameters_before_the_batches_that_wait(run, tmp_path):
    operator, orders = TakesASecond(), Orders(tmp_path / "note", {})
    operator.path = orders.path

    def feed(above):
        yield above.batch(START, kind=Kind.START)
        first, *operator.others = [above.batch(*events(number), base=1) for number in range(5)]
        yield first
        yield from [None] * 5  # time passes
        yield above.end(final=True)

    def script(context):
        operator.context = context
        orders(context)

    context, _, _ = run(operator, feed, script=script, keys={"parameters": {"level": 5}})
    assert levels_of(context) == [5, 7, 7, 7, 7]
