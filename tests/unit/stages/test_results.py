"""What `process()` may return, and which Start and Stop go on."""

import pytest

from arroyo import Event, Start, Stop
from arroyo.errors import StageError
from arroyo.messages import Message
from arroyo.stages import each_result, sort_results

ONE, TWO = Event({"n": 1}), Event({"n": 2})


class Reading(Message):
    value: float


class Sample(Start):
    name: str = ""


@pytest.mark.parametrize(
    ("returned", "results"),
    [
        (None, []),
        (ONE, [ONE]),
        (Reading(1.5), [Reading(1.5)]),
        ([ONE, TWO], [ONE, TWO]),
        ((ONE,), [ONE]),
        ([], []),
        ((each for each in (ONE, TWO)), [ONE, TWO]),
    ],
    ids=["none", "one", "a user's own", "list", "tuple", "empty", "generator"],
)
def test_a_message_several_or_none(returned, results):
    assert list(each_result(returned)) == results


@pytest.mark.parametrize("returned", ["text", b"bytes", {"n": 1}, 5, [5], [ONE, None], [[ONE]]])
def test_anything_else_is_an_error_that_shows_it(returned):
    with pytest.raises(StageError, match=r"^process\(\) returned \w+ .*, expected a message, sev"):
        list(each_result(returned))


def test_the_method_is_named_that_has_returned_it():
    with pytest.raises(StageError, match=r"^process_batch\(\) returned int 5"):
        list(each_result(5, "process_batch"))


def test_a_generator_makes_a_message_when_it_is_asked_for():
    made = []

    def results():
        for each in (ONE, TWO):
            made.append(each)
            yield each

    found = iter(each_result(results()))
    assert made == []
    next(found)
    assert made == [ONE]


def test_results_of_an_event_are_events():
    assert sort_results(ONE, [ONE, TWO]) == ([ONE, TWO], None)
    assert sort_results(Reading(1.0), []) == ([], None)


@pytest.mark.parametrize("control", [Start(), Stop(), Sample()], ids=repr)
def test_only_a_listener_opens_and_closes_runs(control):
    words = rf"got Event and returned {type(control).__name__}; only a listener opens"
    with pytest.raises(StageError, match=words):
        sort_results(ONE, [control])


@pytest.mark.parametrize("message", [Start({"n": 1}), Stop({"n": 1}), Sample({}, "gold")], ids=repr)
def test_a_start_or_stop_goes_on_once_whatever_comes_of_it(message):
    other = type(message)({"n": 2})
    assert sort_results(message, []) == ([], message)
    assert sort_results(message, [message]) == ([], message)
    assert sort_results(message, [other]) == ([], other)
    assert sort_results(message, [message, other]) == ([], other)


@pytest.mark.parametrize(
    ("message", "result"),
    [(Start(), Stop()), (Start(), ONE), (Stop(), ONE), (Stop(), Start()), (Start(), Sample())],
    ids=repr,
)
def test_nothing_else_comes_of_one(message, result):
    got = type(message).__name__
    words = rf"process\(\) got {got} and returned {type(result).__name__}; return {got}, another"
    with pytest.raises(StageError, match=words):
        sort_results(message, [result])


def test_a_fold_gives_out_what_it_holds_when_a_run_ends():
    stop = Stop()
    assert sort_results(stop, [ONE, TWO], folds=True) == ([ONE, TWO], stop)
    for message, result in ((Start(), ONE), (stop, Start())):
        with pytest.raises(StageError):
            sort_results(message, [result], folds=True)
