import stat
from pathlib import Path

import pytest

from arroyo.config import state_directory
from arroyo.config.graph import Chain, Stage
from arroyo.config.state_directory import StateDirectory, find_strangers
from arroyo.errors import ConfigurationError


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Have a /var/lib/arroyo of the test's own."""
    monkeypatch.setattr(state_directory, "SYSTEM", tmp_path / "lib" / "arroyo")
    return tmp_path / "lib" / "arroyo"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ARROYO_STATE_DIR": "/s", "STATE_DIRECTORY": "/v"}, "/s/saxs"),
        ({"ARROYO_RUN_DIR": "/r", "STATE_DIRECTORY": "/v"}, "/v/saxs"),
        ({"STATE_DIRECTORY": "/v/arroyo/saxs:/v/two", "XDG_STATE_HOME": "/x"}, "/v/arroyo/saxs"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/home/mx"}, "/x/arroyo/saxs"),
        ({"XDG_STATE_HOME": "x", "HOME": "/home/mx"}, "/home/mx/.local/state/arroyo/saxs"),
        ({"HOME": "/home/mx"}, "/home/mx/.local/state/arroyo/saxs"),
    ],
)
def test_the_first_that_is_set_says_where_it_is(environ, expected, system, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert str(StateDirectory.locate("saxs", environ).path) == expected


def test_root_has_it_where_services_do(system, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert StateDirectory.locate("saxs", {"XDG_STATE_HOME": "/x"}).path == system / "saxs"


def test_the_folder_that_systemd_has_made_for_the_user_comes_before_the_home(system):
    (system / "saxs").mkdir(parents=True)
    assert StateDirectory.locate("saxs", {"HOME": "/home/mx"}).path == system / "saxs"


def test_it_is_made_private(tmp_path):
    folder = StateDirectory(tmp_path / "saxs")
    folder.path.mkdir(mode=0o755)
    folder.create()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_link_in_its_place_is_refused(tmp_path):
    (tmp_path / "saxs").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="set ARROYO_STATE_DIR to a folder"):
        StateDirectory(tmp_path / "saxs").create()


def test_journals_of_sources_that_the_chain_does_not_have_are_named(tmp_path):
    state = StateDirectory(tmp_path)
    stages = {"images": Stage("images", "listener", "own:Images")}
    chain = Chain("saxs", Path("/"), Path("/chain.toml"), stages)
    assert find_strangers(chain, state) == []
    for name in ("images.0", "images.1", "detector.0"):
        (state.sources / name).mkdir(parents=True)
    first, second = find_strangers(chain, state)
    assert first.startswith(f"{state.sources / 'detector.0'} is the journal of detector.0, which")
    assert "give the folder the new name" in first
    assert "the journal of images.1, which" in second
