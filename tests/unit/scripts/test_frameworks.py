from click.testing import CliRunner
from peers.__main__ import main
from peers.frameworks import Framework, Match, match_rows

from arroyo.bench.case import Case, Measurement


def test_what_is_not_installed_is_left_out_with_a_line(monkeypatch):
    absent = Framework("nobody's", "no_such_module", lambda case: None)
    monkeypatch.setattr("peers.__main__.OTHERS", (absent,))
    ended = CliRunner().invoke(main, [])
    assert ended.exit_code == 0
    assert "nobody's is left out: it is not installed" in ended.output


def test_the_table_says_what_arrived_and_how_much_faster_the_chain_by_hand_is():
    fast = [Measurement(rate, rate, 1.0, arrived=100) for rate in (90.0, 100.0, 110.0)]
    lossy = [Measurement(25.0, 25.0, 8.0, arrived=40)]
    _, by_hand, other = match_rows([Match(Case(1024, 100), {"by hand": fast, "other": lossy})])
    assert by_hand[2:5] == ("100 /s", "100%", "1.00")
    assert other == ("1 KiB x2", "other", "25 /s", "40%", "4.00", "8.0 us")


def test_the_table_has_no_ratio_where_next_to_nothing_arrived():
    measurements = {
        "by hand": [Measurement(100.0, 100.0, 1.0)],
        "other": [Measurement(0.0, 0.0, 1.0)],
    }
    _, _, other = match_rows([Match(Case(1024, 100), measurements)])
    assert other[2:5] == ("0 /s", "0%", "-")
