import pytest

from arroyo import Event, Start, Stop
from arroyo.errors import StageError
from arroyo.stages import each_result, sort_results

ONE, TWO = Event({"n": 1}), Event({"n": 2})


@pytest.mark.parametrize(
    ("returned", "results"),
    [(None, []), (ONE, [ONE]), ([ONE, TWO], [ONE, TWO]), ((), []), (iter([ONE]), [ONE])],
)
def test_process_may_return_a_message_several_or_none(returned, results):
    assert list(each_result(returned)) == results


def test_the_messages_of_a_generator_are_made_as_they_are_asked_for():
    made = []
    results = iter(each_result(made.append(n) or Event({"n": n}) for n in (1, 2)))
    assert made == []
    assert next(results) == ONE
    assert made == [1]


@pytest.mark.parametrize("returned", [7, "text", b"bytes", {"n": 1}, [ONE, None]])
def test_anything_else_is_refused_with_what_was_expected(returned):
    with pytest.raises(StageError, match="expected a message, several, or None"):
        list(each_result(returned))


@pytest.mark.parametrize("control", [Start({"a": 1}), Stop({"a": 1})])
def test_of_a_start_or_stop_exactly_one_goes_on(control):
    other = type(control)({"b": 2})
    assert sort_results(control, []) == ([], control)
    assert sort_results(control, [other]) == ([], other)
    assert sort_results(control, [control, other]) == ([], other)


@pytest.mark.parametrize(
    ("message", "result"), [(ONE, Stop()), (ONE, Start()), (Start(), ONE), (Stop(), Start())]
)
def test_what_can_not_take_its_place_is_refused(message, result):
    with pytest.raises(StageError, match=f"returned a {type(result).__name__} for a"):
        sort_results(message, [result])


def test_only_a_fold_gives_out_events_at_a_stop():
    stop = Stop()
    assert sort_results(stop, [ONE, stop, TWO], folds=True) == ([ONE, TWO], stop)
    with pytest.raises(StageError, match="nothing but a Stop"):
        sort_results(stop, [ONE])
