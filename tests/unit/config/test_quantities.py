import pytest

from arroyo.config.quantities import parse_duration, parse_size


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (5, 5.0),
        (0.25, 0.25),
        ("5", 5.0),
        ("250 ms", 0.25),
        ("1.5s", 1.5),
        ("2 min", 120.0),
        ("1 h", 3600.0),
        ("1 d", 86_400.0),
    ],
)
def test_a_duration_is_in_seconds_whatever_its_unit(found, seconds):
    assert parse_duration(found) == pytest.approx(seconds)


@pytest.mark.parametrize("found", [0, -1, "0 s", float("inf"), float("nan"), "soon", "-5 s", ""])
def test_a_duration_that_is_no_time_or_not_positive_is_refused(found):
    with pytest.raises(ValueError, match="expected a time"):
        parse_duration(found)


def test_an_unknown_unit_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="'parsecs', expected one of ms, s, min, h, d"):
        parse_duration("5 parsecs")


@pytest.mark.parametrize(
    ("found", "size"),
    [
        (4096, 4096),
        ("4096", 4096),
        ("64 KiB", 65_536),
        ("256MiB", 268_435_456),
        ("0.5 GiB", 536_870_912),
        ("1 MB", 1_000_000),
        ("2 kB", 2000),
        ("10 B", 10),
    ],
)
def test_a_size_is_in_bytes_whatever_its_unit(found, size):
    assert parse_size(found) == size


@pytest.mark.parametrize("found", [0, -4, "0 KiB", "big", "1 mib"])
def test_a_size_that_is_none_or_below_one_byte_is_refused(found):
    with pytest.raises(ValueError, match="expected"):
        parse_size(found)


def test_no_limit_is_a_duration_only_where_it_makes_sense():
    assert parse_duration(0, or_zero=True) == 0
    assert parse_duration("0 s", or_zero=True) == 0
    with pytest.raises(ValueError, match="longer than 0 s"):
        parse_duration(-1, or_zero=True)
