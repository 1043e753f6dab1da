from arroyo.protocol.recent import LIMIT, Recent


def test_the_same_is_given_for_the_same_key():
    recent = Recent(list)
    recent["a"].append(1)
    assert recent["a"] == [1]
    assert recent["b"] == []


def test_what_was_not_asked_for_longest_ago_is_forgotten():
    recent = Recent(list)
    recent["old"].append(1)
    recent["used"].append(2)
    for number in range(LIMIT - 1):
        recent[number].append(number)
        assert recent["used"] == [2]
    assert len(recent) == LIMIT
    assert "old" not in dict(recent.items())
    assert list(dict(recent.items()))[-1] == "used"
