from hypothesis import given
from hypothesis import strategies as st

from arroyo.protocol.values.deliveries import Output
from arroyo.runner.user_code.results import FILTERED, Results


def test_what_has_come_of_messages_so_far_is_seen_in_their_order():
    results = Results()
    seen = [results.so_far()]
    for outcome in (FILTERED, None, None, Output([b"a", b"b"], 2), None):
        if outcome is None:
            results.body.append(bytes([len(results)]))
        else:
            results.append(outcome)
        seen.append(results.so_far())
    assert seen[-1] == results.in_order()
    assert [len(each) for each in seen] == list(range(6))
    assert all(each == seen[-1][: len(each)] for each in seen)


def made_of(outcomes, first):
    """Results of which some are single messages, in the body, and others are beside it."""
    results = Results()
    for number, is_single in enumerate(outcomes, first):
        if is_single:
            results.body.append(bytes([number]))
        else:
            results.append(Output([bytes([number])] * 2, 2))
    return results


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=4))
def test_results_of_several_lists_are_those_of_one(lists):
    results, whole = Results(), [each for part in lists for each in part]
    for part in lists:
        results.extend(made_of(part, len(results)))
    assert list(results.in_order()) == list(made_of(whole, 0).in_order())
    assert results.so_far() == list(results.in_order())
