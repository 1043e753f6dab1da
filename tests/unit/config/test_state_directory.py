from pathlib import Path

import pytest

from arroyo.config.state_directory import StateDirectory

HOME = str(Path.home())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ARROYO_STATE_DIR": "/s", "ARROYO_RUN_DIR": "/r"}, "/s"),
        ({"ARROYO_RUN_DIR": "/r", "STATE_DIRECTORY": "/v"}, "/r"),
        ({"STATE_DIRECTORY": "/v/one:/v/two", "XDG_STATE_HOME": "/x"}, "/v/one/saxs"),
        ({"XDG_STATE_HOME": "/x"}, "/x/arroyo/saxs"),
    ],
)
def test_the_first_that_is_set_says_where_it_is(environ, expected):
    assert str(StateDirectory.locate("saxs", environ).path) == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [(0, "/var/lib/arroyo/saxs"), (1000, f"{HOME}/.local/state/arroyo/saxs")],
)
def test_without_any_it_is_the_users_own(monkeypatch, user, expected):
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert str(StateDirectory.locate("saxs", {}).path) == expected
