"""A chain in the process of the test; `tests/conformance` and `tests/integration` have the rest."""

import threading
import time

import msgspec
import pytest

import arroyo
from arroyo import Event, IteratingListener, Operator, Publisher, Start, Stop, UnavailableError
from arroyo.config.graph import Chain, Input, Stage
from arroyo.errors import ConfigurationError, StageError
from arroyo.protocol.values import flow_limits
from arroyo.runner.in_process import run_and_count
from arroyo.runner.user_code.error_policy import StageFailedError

EVENTS = 5
told = []
"""What the stages have done, in order."""


class Counts(IteratingListener):
    """A run of some events."""

    events = EVENTS
    fails = False

    def messages(self):
        yield Start({})
        for number in range(self.events):
            yield Event({"n": number}), number
        yield Stop({})
        if self.fails:
            raise ValueError("no more photons")

    def acknowledge(self, token):
        told.append(("acknowledged", token))


class Fails(Counts):
    fails = True


class Many(Counts):
    events = 3000


class Replayable(Counts):
    replayable = True


class Passes(Operator):
    def process(self, message):
        if isinstance(message, Event):
            told.append(("processed", message.metadata["n"]))
            threads.add(threading.current_thread())
        return message


class Breaks(Passes):
    """Raises on one of them."""

    def __init__(self, at=3):
        self.at = at

    def process(self, message):
        if isinstance(message, Event) and message.metadata["n"] == self.at:
            told.append(("raised on", self.at))
            raise ValueError(f"no sense in {self.at}")
        return super().process(message)


class Keeps(Publisher):
    def publish(self, message):
        if isinstance(message, Event):
            told.append(("published", message.metadata["n"]))
            threads.add(threading.current_thread())

    def close(self):
        told.append("closed")


class Flushes(Keeps):
    def flush(self):
        told.append("flushed")


class ExitsAtOpen(Keeps):
    def open(self):
        raise SystemExit(3)


class Touchy(Passes):
    """Needs something at 3 that comes at the third try."""

    tries = 0

    def process(self, message):
        if isinstance(message, Event) and message.metadata["n"] == 3:
            message.metadata["tried"] = Touchy.tries = Touchy.tries + 1
            if Touchy.tries < 3:
                raise UnavailableError("the server is away")
            told.append(("tries seen", message.metadata.get("tried")))
        return super().process(message)


threads = set()


@pytest.fixture(autouse=True)
def nothing_told():
    told.clear()
    threads.clear()


@pytest.fixture
def chain(tmp_path):
    """Makes a chain of stages one below the other: ``role, class`` and keys of each."""

    def make(*stages):
        made = {}
        for role, kind, keys in stages:
            name = f"{role}{len(made)}"
            inputs = (Input(list(made)[-1]),) if made else ()
            target = f"{__name__}:{kind.__name__}"
            made[name] = Stage(name, role, target, inputs=inputs, **keys)
        return Chain("line", tmp_path, tmp_path / "chain.toml", made)

    return make


def of(word):
    return [each[1] for each in told if each[0] == word]


LISTENER, SINK = ("listener", Counts, {}), ("publisher", Keeps, {})


def test_a_message_goes_all_the_way_down_before_the_next_one_in_the_thread_of_the_caller(chain):
    arroyo.run(chain(LISTENER, ("operator", Passes, {}), SINK))
    steps = [each for each in told if each[0] in ("processed", "published")]
    assert steps == [(word, n) for n in range(EVENTS) for word in ("processed", "published")]
    assert threads == {threading.current_thread()}


def test_below_a_pub_sub_link_everything_arrives_as_well(chain):
    made = chain(LISTENER, SINK)
    inputs = (Input("listener0", "pub-sub"),)
    made.stages["publisher1"] = msgspec.structs.replace(made.stages["publisher1"], inputs=inputs)
    arroyo.run(made)
    assert of("published") == list(range(EVENTS))


def test_a_stage_that_gets_a_source_both_ways_keeps_no_run_from_ending(chain):
    begun = time.monotonic()
    made = chain(LISTENER, ("operator", Passes, {}), SINK)
    both = (Input("listener0", "pub-sub"), Input("operator1"))
    made.stages["publisher2"] = msgspec.structs.replace(made.stages["publisher2"], inputs=both)
    arroyo.run(made)
    assert sorted(of("published")) == sorted([*range(EVENTS)] * 2)
    assert time.monotonic() - begun < 10, "it was sent again, as nobody had finished it"


def test_it_counts_what_became_of_the_messages_of_each_stage(chain):
    counts = run_and_count(chain(LISTENER, ("operator", Breaks, {"on_error": "skip"}), SINK))
    assert counts["operator1"] == {
        "received": EVENTS, "sent": EVENTS - 1, "filtered": 0, "skipped": 1, "quarantined": 0
    }  # fmt: skip
    assert (counts["listener0"]["sent"], counts["publisher2"]["sent"]) == (EVENTS, EVENTS - 1)


def test_an_error_that_ends_it_comes_out_and_what_came_before_has_gone_through(chain):
    crash = {"on_error": "crash"}
    with pytest.raises(StageFailedError, match="no sense in 3") as failure:
        arroyo.run(chain(LISTENER, ("operator", Breaks, crash), SINK))
    assert isinstance(failure.value.__cause__, ValueError)
    assert of("published") == [0, 1, 2]
    assert told.count("closed") == 1


def test_the_same_where_many_messages_wait_and_are_worked_on_more_than_one_at_a_time(
    chain, monkeypatch
):
    monkeypatch.setattr(flow_limits, "BATCH_S", 10.0)  # however slow this machine is just now
    breaks = {"on_error": "crash", "options": {"at": 2500}}
    with pytest.raises(StageFailedError, match="no sense in 2500"):
        arroyo.run(chain(("listener", Many, {}), ("operator", Breaks, breaks), SINK))
    assert of("published") == of("processed") == list(range(2500))
    assert of("raised on") == [2500]
    steps = [each[0] for each in told if each[0] in ("processed", "published")]
    assert steps != ["processed", "published"] * 2500, "one at a time takes long"


def test_what_a_listener_raises_comes_out_when_all_else_has_gone_through(chain):
    begun = time.monotonic()
    with pytest.raises(StageError, match=r"Fails.start\(\) raised ValueError: no more photons"):
        arroyo.run(chain(("listener", Fails, {}), ("operator", Passes, {}), SINK))
    assert of("published") == list(range(EVENTS))
    assert told[-1] == "closed"
    assert time.monotonic() - begun < 1.5, "it waited for those above, which have ended"


def test_input_is_acknowledged_after_the_flush_and_does_not_wait_long_for_that(chain):
    arroyo.run(chain(("listener", Counts, {"window": 2}), ("publisher", Flushes, {})))
    for number in range(EVENTS):
        at = told.index(("acknowledged", number))
        assert "flushed" in told[told.index(("published", number)) : at]


def test_a_message_that_waits_for_what_is_away_comes_again_as_it_came(chain):
    Touchy.tries = 0
    arroyo.run(chain(LISTENER, ("operator", Touchy, {}), SINK))
    assert of("published") == list(range(EVENTS))
    assert of("tries seen") == [3]


class Pairs(Operator):
    """Gives out large images of two events each."""

    folds = True
    max_inputs = 1

    def __init__(self):
        self.first = None

    def process(self, message):
        if not isinstance(message, Event):
            return message
        first, self.first = self.first, None
        if first is None:
            self.first = message
            return None
        image = self.allocate((200, 200), "uint16")
        image[:] = message.metadata["n"]
        return Event.from_array(image, n=message.metadata["n"])


def test_nothing_of_it_outlives_it(chain, tmp_path):
    arroyo.run(chain(("listener", Replayable, {}), ("operator", Pairs, {}), SINK))
    assert of("acknowledged") == list(range(EVENTS))
    assert of("published") == [1, 3]
    assert list(tmp_path.iterdir()) == []


def test_an_exit_while_it_opens_is_no_exit_of_the_whole_process(chain):
    with pytest.raises(StageError, match=r"ended its process by sys\.exit"):
        arroyo.run(chain(LISTENER, ("publisher", ExitsAtOpen, {})))


class Alone(Counts):
    shares_input = False


def test_replicas_that_can_not_be_are_a_mistake_here_too(chain):
    with pytest.raises(ConfigurationError, match=r"replicas of .* can't share out its input"):
        arroyo.run(chain(("listener", Alone, {"replicas": 2}), SINK))


class Tuned(Passes):
    level = 0

    def open(self):
        told.append(("opened with", self.level))


def test_parameters_of_the_chain_file_are_there_when_a_stage_is_opened(chain):
    arroyo.run(
        chain(("listener", Counts, {}), ("operator", Tuned, {"parameters": {"level": 5}}), SINK)
    )
    assert ("opened with", 5) in told
