"""The health check against made-up series of samples, four a second."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arroyo.supervision.decisions.health import (
    BELOW,
    CLOSING_LIMIT_S,
    HELD_UP_AFTER_S,
    LATE_S,
    OUTSIDE,
    STOPPED_LIMIT_S,
    WAITING_HOLDS_S,
    Condition,
    Health,
    HealthCheck,
    Sample,
)
from arroyo.telemetry.status_words import Phase

TIMEOUT_S = 30.0
EVERY_S = 0.25
IN_HAND = {
    "phase": Phase.PROCESS,
    "phase_since_ns": 5,
    "hand_source": 1,
    "hand_epoch": 7,
    "hand_sequence": 4712,
    "hand_part": 0,
    "waits": 0,
}
IDLE = {**IN_HAND, "phase": Phase.IDLE, "hand_source": 0}
# As hypothesis sees a history: page, process state, for how long in s, a look every so many s.
STEADY = (IN_HAND, "S", 20.0, EVERY_S)
BLOCKED = {**IDLE, "phase": Phase.BLOCKED}


class Watching:
    """A health check, and the time of its samples."""

    def __init__(self, timeout_s=TIMEOUT_S):
        self.check = HealthCheck(timeout_s)
        self.now = 1000.0

    def see(self, page, state="S"):
        return self.check.sample(Sample(state, page), self.now)

    def watch(self, seconds, page, state="S"):
        """Look for so long; return how often it was found in which condition, in order."""
        found = []
        for number in range(round(seconds / EVERY_S)):
            self.now += EVERY_S
            look = page(number) if callable(page) else page
            condition = self.see(look, state).condition
            if not found or found[-1] is not condition:
                found.append(condition)
        return found


def test_more_memory_than_allowed_is_too_much_whatever_is_freed_afterwards():
    check = HealthCheck(TIMEOUT_S, memory_max_bytes=1000)

    def see(memory_bytes, now, state="S"):
        return check.sample(Sample(state, IDLE, memory_bytes), now)

    assert see(1000, 0.0).condition is Condition.WELL
    assert see(1001, 0.25) == Health(Condition.TOO_LARGE, memory_bytes=1001)
    assert see(5, 0.5, "T") == Health(Condition.TOO_LARGE, memory_bytes=1001)


def test_without_a_limit_memory_is_no_matter():
    check = HealthCheck(TIMEOUT_S)
    assert check.sample(Sample("S", IDLE, 1 << 50), 0.0).condition is Condition.WELL


def test_one_message_in_hand_for_too_long_is_a_hang():
    watching = Watching()
    assert watching.watch(TIMEOUT_S, IN_HAND) == [Condition.WELL]
    assert watching.watch(0.5, IN_HAND) == [Condition.HUNG]
    assert TIMEOUT_S <= watching.see(IN_HAND).for_s <= TIMEOUT_S + 1


def test_a_hanging_start_is_a_hang_too():
    assert Watching().watch(31, {**IN_HAND, "hand_sequence": 0})[-1] is Condition.HUNG


@pytest.mark.parametrize(
    "word", ["hand_sequence", "hand_source", "hand_epoch", "hand_part", "waits", "phase_since_ns"]
)
def test_a_slow_batch_is_no_hang(word):
    def page(number):
        return {**IN_HAND, word: 1 + number // 100}

    assert Watching().watch(200, page) == [Condition.WELL]


def test_a_flush_that_does_not_end_is_a_hang():
    flushing = {**IDLE, "phase": Phase.FLUSH}
    watching = Watching()
    assert watching.watch(TIMEOUT_S, flushing) == [Condition.WELL]
    assert watching.watch(0.5, flushing) == [Condition.HUNG]
    assert watching.see(flushing).place == "flush()"


def test_parameters_that_a_stage_never_takes_are_a_hang():
    watching = Watching()
    taking = {**IDLE, "phase": Phase.PARAMETERS}
    watching.watch(TIMEOUT_S, taking)
    assert watching.watch(0.5, taking) == [Condition.HUNG]
    assert watching.see(taking).place == "set_parameters()"


def test_one_flush_after_the_other_is_no_hang():
    def page(number):
        return {**IDLE, "phase": Phase.FLUSH, "phase_since_ns": 1 + number // 100}

    assert Watching().watch(200, page) == [Condition.WELL]


@pytest.mark.parametrize("timeout_s", [TIMEOUT_S, 1.0])
def test_links_that_can_not_be_closed_are_a_hang_however_long_a_message_may_take(timeout_s):
    closing = {**IDLE, "phase": Phase.CLOSED}
    watching = Watching(timeout_s)
    assert watching.watch(CLOSING_LIMIT_S, closing) == [Condition.WELL]
    assert watching.watch(0.5, closing) == [Condition.HUNG]


def test_a_close_that_takes_longer_than_a_message_may_is_a_hang():
    watching = Watching()
    closing = {**IDLE, "phase": Phase.DRAIN}
    assert watching.watch(TIMEOUT_S, closing) == [Condition.WELL]
    watching.watch(0.5, closing)
    assert watching.see(closing).place == "close()"


def test_a_process_that_has_ended_and_stays_is_a_hang():
    watching = Watching()
    ended = {**IDLE, "phase": Phase.ENDED}
    assert watching.watch(CLOSING_LIMIT_S, ended) == [Condition.WELL]
    assert watching.watch(0.5, ended) == [Condition.HUNG]


_MAY_HANG = {Phase.PROCESS, Phase.FLUSH, Phase.PARAMETERS, Phase.DRAIN, Phase.CLOSED, Phase.ENDED}


@pytest.mark.parametrize("phase", sorted(set(Phase) - _MAY_HANG))
def test_nothing_else_hangs(phase):
    assert Condition.HUNG not in Watching().watch(200, {**IN_HAND, "phase": phase})


def test_process_without_a_message_in_hand_is_no_hang():
    assert Watching().watch(200, {**IN_HAND, "hand_source": 0}) == [Condition.WELL]


def test_a_process_without_a_page_is_well():
    assert Watching().watch(200, {}) == [Condition.WELL]


def test_without_a_timeout_nothing_hangs_and_nothing_is_forgotten():
    assert Watching(0.0).watch(200, IN_HAND) == [Condition.WELL]
    assert Watching(0.0).watch(200, {**IDLE, "phase": Phase.CLOSED}) == [Condition.WELL]
    assert Watching(0.0).watch(200, IN_HAND, "T") == [Condition.STOPPED]


def test_late_looks_excuse_for_one_full_timeout():
    watching = Watching()
    watching.watch(TIMEOUT_S - 1, IN_HAND)
    watching.now += 15.0
    assert watching.watch(TIMEOUT_S, IN_HAND) == [Condition.WELL]
    assert watching.watch(1, IN_HAND)[-1] is Condition.HUNG


def test_a_stopped_process_is_stopped_and_goes_on_with_all_its_time():
    watching = Watching()
    watching.watch(TIMEOUT_S - 1, IN_HAND)
    assert watching.watch(2, IN_HAND, "T") == [Condition.STOPPED]
    assert watching.watch(TIMEOUT_S - 0.5, IN_HAND) == [Condition.WELL]


def test_a_process_stopped_for_a_minute_is_forgotten():
    watching = Watching()
    assert watching.watch(STOPPED_LIMIT_S, IDLE, "T") == [Condition.STOPPED]
    assert watching.watch(0.5, IDLE, "T") == [Condition.FORGOTTEN]


def test_a_process_in_a_debugger_is_left_in_peace():
    assert Watching().watch(1000, IN_HAND, "t") == [Condition.TRACED]


def test_who_waits_within_the_kernel_is_named_and_not_hung():
    watching = Watching()
    assert watching.watch(200, IN_HAND, "D") == [Condition.WELL, Condition.UNINTERRUPTIBLE]
    assert watching.watch(0.25, IN_HAND, "R") == [Condition.HUNG]


def test_who_waits_for_those_below_is_held_up():
    watching = Watching()
    assert watching.watch(HELD_UP_AFTER_S, BLOCKED) == [Condition.WELL]
    assert watching.watch(100, BLOCKED) == [Condition.HELD_UP]
    assert watching.watch(1, IDLE) == [Condition.WELL]


def test_who_is_held_up_says_by_whom():
    for page, by in ((BLOCKED, BELOW), ({**IN_HAND, "waits": 1}, OUTSIDE)):
        check = HealthCheck(0.0)
        samples = (
            {**page, "waits": page["waits"] + count if by is OUTSIDE else 0} for count in range(60)
        )
        for count, each in enumerate(samples):
            health = check.sample(Sample("S", each), count * 0.25)
        assert (health.condition, health.place) == (Condition.HELD_UP, by)


def test_a_slow_stage_below_holds_nobody_up():
    def page(number):
        return {**BLOCKED, "phase_since_ns": number // 20}

    assert Watching().watch(100, page) == [Condition.WELL]


def test_who_says_that_it_waits_is_held_up_and_not_hung():
    def page(number):
        return {**IN_HAND, "waits": 1 + number // 4}

    watching = Watching()
    assert watching.watch(100, page) == [Condition.WELL, Condition.HELD_UP]


def test_who_no_longer_says_so_hangs():
    watching = Watching()
    watching.watch(5, lambda number: {**IN_HAND, "waits": 1 + number})
    last = {**IN_HAND, "waits": 20}
    assert watching.watch(WAITING_HOLDS_S, last) == [Condition.WELL]
    assert watching.watch(TIMEOUT_S, last)[-1] is Condition.HUNG


@given(
    st.lists(
        st.tuples(
            st.sampled_from([IN_HAND, IDLE, BLOCKED, {**IN_HAND, "hand_sequence": 9}, {}]),
            st.sampled_from("RSDTt"),
            st.floats(0.1, 20.0),
            # Sums of these are exact, so that a sample is late here when it is for the check.
            st.sampled_from([0.25, 0.25, 0.25, LATE_S - 0.125, LATE_S, 100.0]),
        ),
        max_size=20,
    )
)
@example([(IN_HAND, "T", 1.0, EVERY_S), STEADY, STEADY])
def test_a_hang_is_always_one_message_seen_throughout_its_timeout(history):
    check, now, since = HealthCheck(TIMEOUT_S), 0.0, None
    before = None
    for page, state, seconds, every_s in history:
        for _ in range(max(1, int(seconds / every_s))):
            now += every_s
            excused = every_s >= LATE_S or state in "Tt" or page != before
            since = now if excused or since is None else since
            before = page
            health = check.sample(Sample(state, page), now)
            if health.condition is Condition.HUNG:
                assert page.get("phase") == Phase.PROCESS
                assert state not in "DTt"
                assert now - since >= TIMEOUT_S
            elif page.get("phase") == Phase.PROCESS and state in "RS":
                assert now - since < TIMEOUT_S
