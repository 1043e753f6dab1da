from arroyo.protocol.values.bounded_table import KEPT_OF_EACH, LIMIT, BoundedTable


def test_the_same_is_given_for_the_same_key():
    table = BoundedTable(list)
    table["a.0", 1].append(1)
    assert table["a.0", 1] == [1]
    assert table["a.0", 2] == []


def test_what_was_not_asked_for_longest_ago_is_forgotten():
    table = BoundedTable(list)
    table["a.0", "old"].append(1)
    table["a.0", "used"].append(2)
    for number in range(LIMIT - 1):
        table["a.0", number].append(number)
        assert table["a.0", "used"] == [2]
    assert len(table) == LIMIT
    assert ("a.0", "old") not in dict(table.items())
    assert list(dict(table.items()))[-1] == ("a.0", "used")


def test_many_paths_of_several_sources_do_not_drive_each_other_out():
    table = BoundedTable(list)
    sources, paths = ("a.0", "b.0", "b.1"), range(LIMIT)
    live = [(source, 1, path) for source in sources for path in paths]
    for _ in range(2):
        for key in live:
            table[key].append(key)
    assert all(table[key] == [key, key] for key in live)


def test_of_many_paths_the_last_lives_are_kept():
    table = BoundedTable(list)
    paths = range(LIMIT // KEPT_OF_EACH + 1)
    for life in range(2 * KEPT_OF_EACH):
        for path in paths:
            table["a.0", life, path].append(life)
    assert len(table) == KEPT_OF_EACH * len(paths)
    assert {key[1] for key, _ in table.items()} == set(range(KEPT_OF_EACH, 2 * KEPT_OF_EACH))
