from arroyo.runner.streak import STREAK_MESSAGES, STREAK_S, Streak


def test_a_few_failures_are_the_messages():
    streak = Streak()
    assert not any(streak.add(float(number)) for number in range(STREAK_MESSAGES))


def test_one_more_without_a_success_is_the_stage():
    streak = Streak()
    assert [streak.add(0.0) for _ in range(STREAK_MESSAGES + 1)][-1]


def test_a_success_between_begins_the_count_anew():
    streak = Streak()
    for _ in range(STREAK_MESSAGES):
        streak.add(0.0)
    streak.clear()
    assert not streak.add(0.0)


def test_failures_long_ago_do_not_count():
    streak = Streak()
    for _ in range(STREAK_MESSAGES):
        streak.add(0.0)
    assert not streak.add(STREAK_S + 1)
