"""The process of a listener, with a script in place of the stage below."""

import threading
from types import SimpleNamespace

import pytest
from stage_fakes import Below, ScriptedContext, line_of

from arroyo import Event, IteratingListener, Listener, Start, Stop
from arroyo.codec import Lost, Suspect
from arroyo.control.parameter_note import ParameterNote, write_parameters
from arroyo.errors import ConfigurationError, StageError, UnavailableError
from arroyo.protocol.recovery.unclosed_run import NoteCounts
from arroyo.protocol.values.actions import PutInQuarantine, Release
from arroyo.runner.process.live_parameters import LiveParameters
from arroyo.runner.source.source_process import SourceProcess
from arroyo.telemetry.status_words import Phase


class Scripted(Listener):
    """Hands over a few messages with tokens; then does what the test says."""

    then = staticmethod(lambda listener: None)
    error = None

    def __init__(self, operator):
        self.operator = operator
        self.calls, self.acknowledged = [], []
        self.stopped = False

    def open(self):
        self.calls.append("open")

    def start(self):
        self.calls.append("start")
        self.operator.process(Start({"sample": "ceria"}), token="start")
        for index in range(3):
            self.operator.process(Event({"index": index}), token=index)
        self.operator.process(Stop({}), token="stop")
        type(self).then(self)

    def stop(self):
        self.calls.append("stop")
        self.stopped = True

    def acknowledge(self, token):
        self.acknowledged.append(token)

    def close(self):
        self.calls.append("close")


class Endless(IteratingListener):
    """Hands over until it is told to stop."""

    def messages(self):
        while True:
            yield Event({})


class Stumbles(Endless):
    def stop(self):
        super().stop()
        raise ValueError("it was closed before")


class Fails(Scripted):
    @staticmethod
    def then(listener):
        raise ValueError("the detector said no")


class FailsAndCanNotClose(Fails):
    def close(self):
        raise RuntimeError("no connection to close")


class Replayable(Scripted):
    replayable = True


@pytest.fixture
def run(tmp_path):
    """Run the process of a listener to its end; `script` is called before each look at links."""

    def run_one(kind, below=None, script=lambda context: None, **keys):
        below = below or Below()
        source = ("listener", "src", f"{__name__}:{kind.__name__}", keys)
        chain = line_of(tmp_path, source, ("publisher", "sink", "own:Sink", {}))
        with ScriptedContext(chain, "src", below) as context:
            context.links.before_poll = lambda: script(context)
            process = SourceProcess(context)
            context.error = None
            try:
                list(process.steps())
            except (StageError, UnavailableError) as error:
                context.error = error
            context.found = context.counts
            context.messages = below.messages(context.codec)
            return context, process._listener, below

    return run_one


def test_a_listener_is_opened_heard_to_its_end_and_closed(run):
    context, listener, below = run(Scripted)
    assert listener.calls == ["open", "start", "close"]
    kinds = [type(message).__name__ for message in context.messages]
    assert kinds == ["Start", "Event", "Event", "Event", "Stop"]
    assert context.messages[-1].data["totals"]["sent"] == 3
    assert context.said == ["listening", "draining"]
    assert below.ends == [True]


def test_tokens_are_acknowledged_in_order_once_they_are_finished(run):
    _, listener, _ = run(Scripted)
    assert listener.acknowledged == ["start", 0, 1, 2, "stop"]


def test_the_status_page_tells_at_the_end_what_was_received_and_sent_and_nothing_is_left(run):
    context, _, _ = run(Scripted)
    counts = [context.found[word] for word in ("received", "sent", "unfinished", "in_flight")]
    assert counts == [3, 3, 0, 0]


def test_nothing_is_received_before_everything_below_is_there(run):
    def script(context):
        if context.clock.monotonic() > 1010:
            context.signals.stop()

    context, listener, below = run(Scripted, Below(there=False), script)
    assert listener.calls == ["open", "close"]
    assert below.batches == []
    assert context.said == ["listening", "draining"]


def test_what_the_supervisor_says_is_away_is_not_waited_for(run):
    def script(context):
        context.away = lambda: [Below().name]
        if context.counts["received"] == 3:
            context.signals.note_orphaned()  # a source with a supervisor waits for acknowledgements

    context, _, _ = run(Scripted, Below(there=False), script)
    assert context.found["received"] == 3


def test_a_stop_signal_stops_the_listener_and_what_it_took_arrives(run):
    def script(context):
        if context.counts["received"] > 10:
            context.signals.stop()

    context, _, below = run(Endless, None, script)
    assert len(context.messages) == context.found["received"] > 10
    assert below.ends == [False]  # it comes back with its next life


def test_what_a_listener_took_arrives_though_its_stop_raises(run):
    def script(context):
        if context.counts["received"] > 10:
            context.signals.stop()

    context, _, below = run(Stumbles, None, script)
    assert str(context.error) == "Stumbles.stop() raised ValueError: it was closed before"
    assert len(context.messages) == context.found["received"] > 10
    assert below.ends == [False]


def test_a_listener_that_raises_is_closed_delivers_what_it_gave_and_is_an_error(run):
    context, listener, below = run(Fails)
    assert isinstance(context.error, StageError)
    assert str(context.error) == "Fails.start() raised ValueError: the detector said no"
    assert listener.calls[-1] == "close"
    assert listener.acknowledged == ["start", 0, 1, 2, "stop"]
    assert below.ends == [False]


def test_a_listener_that_raises_and_can_not_be_closed_then_has_failed_by_what_it_raised(run):
    context, *_ = run(FailsAndCanNotClose)
    assert "start() raised ValueError: the detector said no" in str(context.error)


class Deaf(Below):
    """Says Hello, takes what comes and finishes nothing."""

    def answer(self, record, items):
        return [each for each in super().answer(record, items) if not hasattr(each, "ranges")]


def test_an_orphan_whose_sink_finishes_nothing_leaves_with_the_number_of_what_is_lost(run):
    def script(context):
        if context.counts["received"] == 3:
            context.signals.note_orphaned()

    context, listener, _ = run(Scripted, Deaf(), script)
    assert isinstance(context.error, UnavailableError)
    assert "3 messages were not finished within 5 s" in str(context.error)
    assert str(context.error).endswith("these messages are lost")
    assert context.found["unfinished"] == 3
    assert listener.calls[-1] == "close"


def test_of_an_input_that_can_be_read_again_nothing_is_lost_with_an_orphan(run):
    def script(context):
        if context.counts["received"] == 3:
            context.signals.note_orphaned()

    context, _, _ = run(Replayable, Deaf(), script)
    assert str(context.error).endswith("these messages come again at the next start")


def test_a_source_is_blocked_while_its_listener_waits_for_room_in_the_window(run):
    def script(context):
        if context.counts["phase"] == Phase.BLOCKED or context.clock.monotonic() > 1010:
            context.signals.note_orphaned()

    context, _, _ = run(Endless, Deaf(), script, window=2)
    assert context.found["received"] == 2
    assert context.found["spent_blocked_ns"] > 0


class Patient(Listener):
    """Leaves it to the test to hand over."""

    def __init__(self, operator):
        super().__init__(operator)
        type(self).made = self
        self.started, self.stopped = threading.Event(), threading.Event()

    def start(self):
        self.started.set()
        self.stopped.wait()

    def stop(self):
        self.stopped.set()


def test_while_much_is_under_way_messages_travel_together(run):
    below, left = Deaf(), []

    def script(context):
        """Hand over one message before each sleep, and note how many have left before it."""
        if context.said and Patient.made.started.wait(0.1) and not context.signals.orphaned:
            left.append(sum(len(items) for record, items in below.batches if record.ranges))
            if len(left) == 7:
                context.signals.note_orphaned()
            else:
                Patient.made.operator.process(Event({}))

    run(Patient, below, script, window=16)
    assert left == [0, 1, 2, 3, 4, 4, 6]  # one by one until a quarter of the window is taken


def test_an_input_that_can_be_read_again_is_taken_up_where_it_was_left(run):
    def script(context):
        if context.counts["received"] == 3:
            context.signals.note_orphaned()

    _, _, deaf = run(Replayable, Deaf(), script)
    context, listener, below = run(Replayable)
    assert listener.acknowledged == ["start", 0, 1, 2, "stop"]
    assert {record.epoch for record, _ in below.batches} == {
        record.epoch for record, _ in deaf.batches
    }
    assert context.found["replayable"] == 1


def test_of_an_input_that_can_be_read_again_nothing_need_be_lost(run):
    with pytest.raises(ConfigurationError, match=r"stages\.src\.delivery: .* leave delivery out"):
        run(Replayable, delivery="best-effort")


def test_frames_that_are_no_records_are_counted_as_errors_and_rejected(run):
    def script(context):
        context.rejected = 2

    context, _, _ = run(Scripted, None, script)
    assert (context.found["errors"], context.found["rejected"]) == (2, 2)


def test_what_was_lost_below_is_sent_again(run):
    class Forgets(Below):
        """Loses what comes first, and says so."""

        def answer(self, record, items):
            answers = list(super().answer(record, items))
            if [record] == [batch for batch, _ in self.batches]:
                return [answers[0], Lost(*self.name)]
            return answers

    context, listener, below = run(Scripted, Forgets())
    assert listener.acknowledged == ["start", 0, 1, 2, "stop"]
    assert context.found["redelivered"] > 0
    assert any(record.attempt for record, _ in below.batches)


# What each action comes to

SUSPECT = Suspect("sink", 0, 1, "src.0", 1, 7, "was killed", "")
ASKED = PutInQuarantine(None, b"item", SUSPECT, 3)
COUNTS = NoteCounts(1, 0, 0)


@pytest.fixture
def done():
    """What happened, in order."""
    return []


@pytest.fixture
def perform(tmp_path, done):
    """Carry out actions; all that these have to do with notes it in `done`."""

    def noting(name, result=None):
        def note(*values, **named):
            done.append((name, *values, *named.values()))
            return result

        return note

    source = ("listener", "src", f"{__name__}:Scripted", {})
    chain = line_of(tmp_path, source, ("publisher", "sink", "own:Sink", {}))
    with ScriptedContext(chain, "src", Below()) as context:
        process = SourceProcess(context)
        process._links = SimpleNamespace(perform=done.extend)
        process._replica = SimpleNamespace(
            payloads=SimpleNamespace(give_back=noting("give back")),
            decode="decode",
            enter=noting("enter"),
            tap=SimpleNamespace(is_open=False),
        )
        process._window = SimpleNamespace(release=noting("release"))
        process._recovery.keep = noting("keep")
        process._quarantine = SimpleNamespace(put_item=noting("put", True))
        process._requeue = SimpleNamespace(finish=noting("finish"))
        process._source = SimpleNamespace(quarantined=noting("quarantined", ["a tombstone"]))
        process._listening = SimpleNamespace(acknowledge=noting("acknowledge"))
        yield process._perform


def test_what_has_to_outlive_the_source_is_kept_before_anything_leaves(perform, done):
    perform([COUNTS, "transmit"])
    assert done == [("keep", COUNTS), "transmit"]


def test_what_is_finished_makes_room_and_is_acknowledged(perform, done):
    perform([Release(("token",), 1, 10, ("item",))])
    assert done == [
        ("enter", Phase.IDLE),
        ("release", 1, 10),
        ("give back", ("item",)),
        ("finish", ("item",)),
        ("acknowledge", ("token",)),
    ]


def test_what_goes_out_in_place_of_a_quarantined_message_is_behind_all_else(perform, done):
    perform([ASKED, "transmit"])
    assert done == [
        "transmit",
        ("put", ASKED, "decode"),
        ("quarantined", SUSPECT, True),
        "a tombstone",
    ]


class Tuned(Endless):
    level = 0

    def __init__(self, operator):
        super().__init__(operator)
        self.set_in = []

    def set_parameters(self, parameters):
        self.level = parameters["level"]
        self.set_in.append((self.level, threading.current_thread() is threading.main_thread()))


def test_parameters_of_a_listener_are_set_in_the_main_thread(run, tmp_path):
    reported, path = [], tmp_path / "note"
    notifier = SimpleNamespace(parameters=lambda *report: reported.append(report))

    def script(context):
        if not path.exists():
            write_parameters(path, ParameterNote(1, {"level": 7}, {}))
            context.parameters = LiveParameters(context.stage, path, notifier)
        if reported:
            context.signals.stop()

    _, listener, _ = run(Tuned, None, script, parameters={"level": 5})
    assert listener.set_in == [(5, True), (7, True)]
    assert reported == [(1, "")]
