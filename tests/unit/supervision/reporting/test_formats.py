import pytest

from arroyo.supervision.reporting.formats import amount, duration, mebibytes, percent, short_time


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 us"), (0.0000042, "4.2 us"), (0.00551, "5.51 ms"), (0.122, "122 ms"), (65, "65 s")],
)
def test_a_latency_has_the_unit_that_suits_it(seconds, words):
    assert short_time(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (119, "119.0 s"), (150, "2.5 min"), (9000, "2.5 h"), (216_000, "2.5 d")],
)
def test_an_uptime_has_the_unit_that_suits_it(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (3, "3"),
        (9.54, "9.5"),
        (99.96, "100"),
        (612, "612"),
        (999.6, "1k"),
        (12_540, "12.5k"),
        (65_536, "65.5k"),
        (999_400, "999k"),
        (999_600, "1.0M"),
        (2_340_000_000, "2,340.0M"),
    ],
)
def test_a_number_is_short(number, words):
    assert amount(number) == words


def test_shares_and_sizes_have_no_digits_that_tell_nothing():
    assert percent(0.714) == "71 %"
    assert mebibytes(36.4 * 2**20) == "36 MiB"
