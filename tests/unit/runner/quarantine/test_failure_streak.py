from arroyo.runner.quarantine.failure_streak import STREAK_MESSAGES, STREAK_S, FailureStreak


def test_a_few_failures_are_the_messages():
    streak = FailureStreak()
    assert not any(streak.add(float(number)) for number in range(STREAK_MESSAGES))


def test_one_more_without_a_success_is_the_stage():
    streak = FailureStreak()
    assert [streak.add(0.0) for _ in range(STREAK_MESSAGES + 1)][-1]


def test_a_success_between_begins_the_count_anew():
    streak = FailureStreak()
    for _ in range(STREAK_MESSAGES):
        streak.add(0.0)
    streak.clear()
    assert not streak.add(0.0)


def test_failures_long_ago_do_not_count():
    streak = FailureStreak()
    for _ in range(STREAK_MESSAGES):
        streak.add(0.0)
    assert not streak.add(STREAK_S + 1)
