from arroyo.metrics.continuity import Continuity


def test_what_the_next_life_counts_goes_on_top_of_what_the_last_one_had():
    continuity = Continuity()
    for life, count in [(1, 5), (1, 9), (2, 0), (2, 3), (7, 1)]:
        continuity.note("a", life, {"sent": count})
    assert continuity.sums("a") == {"sent": 9 + 3 + 1}


def test_a_count_that_seems_to_have_shrunk_stays():
    continuity = Continuity()
    continuity.note("a", 1, {"idle": 5.5, "busy": 1.0})
    continuity.note("a", 1, {"idle": 5.4, "busy": 1.1})
    assert continuity.sums("a") == {"idle": 5.5, "busy": 1.1}


def test_counters_do_not_mix_and_what_was_never_noted_has_no_counts():
    continuity = Continuity()
    continuity.note("a", 1, {"sent": 5})
    continuity.note("b", 1, {"sent": 7})
    assert (continuity.sums("a"), continuity.sums("c")) == ({"sent": 5}, {})


def test_counters_that_are_not_kept_are_forgotten():
    continuity = Continuity()
    for counter in "ab":
        continuity.note(counter, 1, {"sent": 5})
    continuity.keep_only({"b", "c"})
    continuity.note("a", 2, {"sent": 1})
    assert [continuity.sums(counter) for counter in "ab"] == [{"sent": 1}, {"sent": 5}]
