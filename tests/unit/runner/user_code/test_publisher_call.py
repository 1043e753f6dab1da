import asyncio

import pytest
from user_calls import NOT_ERRORS, Aside, current_message, names, on_one, work

from arroyo.codec import Reason
from arroyo.config.graph import Stage
from arroyo.errors import RefusedError
from arroyo.messages import Event, Origin, Start
from arroyo.runner.user_code.error_policy import StageFailedError
from arroyo.runner.user_code.methods import MethodRaisedError, UnusableMethodError
from arroyo.runner.user_code.publisher_call import PublisherCall
from arroyo.stages import Publisher


class Failing(Publisher):
    def publish(self, message):
        raise OSError("the disk is full")


def test_a_publisher_that_raises_has_the_message_skipped():
    stage = Stage(name="write", role="publisher", target="own:Failing")
    made = PublisherCall(stage, Failing(), current_message())
    assert on_one(made, Event()).reason == Reason.SKIPPED
    assert made.errors == 1


def test_a_publisher_puts_aside_what_it_raises_on():
    stage = Stage(name="write", role="publisher", target="own:Failing")
    aside = Aside()
    made = PublisherCall(stage, Failing(), current_message(), quarantine=aside)
    assert on_one(made, Event()).reason == Reason.QUARANTINED
    assert made.control(Start()).reason == Reason.SKIPPED
    assert len(aside.kept) == 1


@pytest.mark.usefixtures("_signals_taken_over")
@pytest.mark.parametrize("error", NOT_ERRORS, ids=names)
def test_whatever_publish_raises_counts_as_raised_on_its_message(error):
    class Raises(Publisher):
        def publish(self, message):
            raise error

    made = PublisherCall(
        Stage(name="p", role="publisher", target="own:Raises"), Raises(), current_message()
    )
    assert on_one(made, Event()).reason == Reason.SKIPPED


class Archive(Publisher):
    """Async in all its methods, as one that talks to a server."""

    def __init__(self):
        self.done = []

    async def open(self):
        self.loop = asyncio.get_running_loop()
        self.done.append("open")

    async def publish(self, message):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("publish")

    async def flush(self):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("flush")

    async def close(self):
        assert asyncio.get_running_loop() is self.loop
        self.done.append("close")


def publisher_call(publisher):
    return PublisherCall(
        Stage(name="p", role="publisher", target="own:P"), publisher, current_message()
    )


def test_async_methods_are_awaited_on_one_event_loop():
    archive = Archive()
    made = publisher_call(archive)
    made.methods.open()
    on_one(made, Event())
    made.flush()
    made.methods.close()
    assert archive.done == ["open", "publish", "flush", "close"]


def test_a_publish_that_returns_a_generator_is_a_mistake_of_the_class():
    class Lazy(Publisher):
        def publish(self, message):
            return (each for each in [message])

    with pytest.raises(UnusableMethodError, match=r"Lazy.publish\(\) returned a generator"):
        on_one(publisher_call(Lazy()), Event())


class Refusing(Publisher):
    """Publishes into a world that says at the flush which messages it refuses."""

    def __init__(self):
        self.refused = []

    def publish(self, message):
        if getattr(message, "metadata", {}).get("bad", isinstance(message, Start)):
            self.refused.append((message, ValueError("nobody wants it")))

    def flush(self):
        refused, self.refused = self.refused, []
        if refused:
            raise RefusedError(refused)


def refusing(kind=Refusing, **settings):
    aside = Aside()
    stage = Stage(name="p", role="publisher", target="own:P", **settings)
    return PublisherCall(
        stage, kind(), current_message("run", "images.0", 7), quarantine=aside
    ), aside


def placed(sequence, **metadata):
    event = Event(metadata)
    event._origin = Origin("run", "images.0", 7, sequence)
    return event


def test_messages_that_a_flush_refuses_are_put_aside_and_all_others_are_published():
    made, aside = refusing()
    bad = placed(1, bad=True)
    made.events(work([placed(0), bad, placed(2)]))
    assert made.flush() == {bad.origin: Reason.QUARANTINED}
    assert aside.kept == ["accepted", (bad, "nobody wants it", "refused")]
    assert made.errors == 1
    assert made.flush() == {}


def test_refused_messages_among_which_none_was_accepted_are_told_as_such():
    made, aside = refusing()
    bad = [placed(number, bad=True) for number in range(3)]
    made.events(work(bad))
    assert list(made.flush()) == [each.origin for each in bad]
    assert "accepted" not in aside.kept


def test_a_refused_message_is_skipped_or_ends_the_stage_as_on_error_says():
    bad = placed(0, bad=True)
    made, _ = refusing(on_error="skip")
    made.events(work([bad]))
    assert made.flush() == {bad.origin: Reason.SKIPPED}
    made, _ = refusing(on_error="crash")
    made.events(work([bad]))
    with pytest.raises(StageFailedError, match="nobody wants it"):
        made.flush()


class RefusingLater(Refusing):
    """Says so in the background, once it is over."""

    is_over = False

    def begin_flush(self):
        def ask():
            if self.is_over:
                self.flush()
            return self.is_over

        return ask


def test_a_flush_in_the_background_tells_once_it_is_over_what_was_refused():
    made, aside = refusing(RefusingLater)
    bad = placed(1, bad=True)
    made.events(work([placed(0), bad]))
    look = made.begin_flush()
    assert look() is None
    assert aside.kept == []
    made.methods.made.is_over = True
    assert look() == {bad.origin: Reason.QUARANTINED}
    assert aside.kept == ["accepted", (bad, "nobody wants it", "refused")]


def test_what_is_published_after_a_flush_began_is_not_accepted_by_it():
    made, aside = refusing(RefusingLater)
    made.methods.made.is_over = True
    look = made.begin_flush()
    made.events(work([placed(0)]))
    assert look() == {}
    assert aside.kept == []
    assert made.flush() == {}
    assert aside.kept == ["accepted"]


def test_most_publishers_have_no_flush_in_the_background():
    made, _ = refusing()
    assert made.begin_flush() is None


def test_what_a_flush_in_the_background_raises_is_told_with_its_name():
    made, _ = refusing(RefusingLater)
    made.methods.made.flush = lambda: 1 / 0
    made.methods.made.is_over = True
    with pytest.raises(MethodRaisedError, match=r"RefusingLater.begin_flush\(\) raised"):
        made.begin_flush()()


def test_a_refused_start_is_counted_as_an_error_and_its_run_goes_on():
    made, aside = refusing()
    made.control(Start())
    assert made.flush() == {}
    assert (made.errors, aside.kept) == (1, [])
