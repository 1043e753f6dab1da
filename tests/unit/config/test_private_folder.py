"""A folder that only its user may enter: made so, and refused where it can't be."""

import os
import pwd
import stat
from pathlib import Path

import pytest
from installed import needs_root

from arroyo.config.private_folder import PrivateFolder, home_of, is_own, of_unit
from arroyo.errors import ConfigurationError, UnavailableError

NOBODY = 65534


@pytest.fixture
def folder(tmp_path):
    return PrivateFolder(tmp_path / "above" / "powder", "run directory", "ARROYO_RUN_DIR")


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_is_made_private_with_its_parts_and_what_is_above_is_not(folder):
    before = os.umask(0o027)
    try:
        for _ in range(2):
            folder.create(["in", "log"])
    finally:
        os.umask(before)
    assert {mode_of(each) for each in (folder.path, *folder.path.iterdir())} == {0o700}
    assert [each.name for each in sorted(folder.path.iterdir())] == ["in", "log"]
    assert mode_of(folder.path.parent) == 0o750


def test_what_others_could_enter_is_closed_to_them(folder):
    (folder.path / "in").mkdir(parents=True)
    for each in (folder.path, folder.path / "in"):
        each.chmod(0o777)
    folder.create(["in"])
    assert (mode_of(folder.path), mode_of(folder.path / "in")) == (0o700, 0o700)


@pytest.mark.parametrize("part", ["", "in"])
def test_a_link_in_its_place_or_in_it_is_refused(folder, tmp_path, part):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    link = folder.path / part
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="is a symbolic link, expected a folder; set ARR"):
        folder.create(["in"])
    assert list(elsewhere.iterdir()) == []
    assert mode_of(elsewhere) == 0o755


@needs_root
@pytest.mark.parametrize("part", ["", "in"])
def test_what_belongs_to_somebody_else_is_refused(folder, part):
    (folder.path / part).mkdir(parents=True)
    os.chown(folder.path / part, NOBODY, -1)
    with pytest.raises(ConfigurationError, match=rf"belongs to user \w+ \({NOBODY}\), not to you"):
        folder.create(["in"])
    assert is_own(folder.path) == bool(part)


def test_a_file_in_its_place_is_refused(folder):
    folder.path.parent.mkdir()
    folder.path.write_text("")
    assert "above/powder is not a folder; set ARROYO_RUN_DIR to" in folder.obstacle()
    with pytest.raises(ConfigurationError, match="is not a folder"):
        folder.create()


def test_a_file_above_it_is_said_before_and_at_the_attempt(folder, tmp_path):
    (tmp_path / "above").write_text("")
    assert f"can't be made: {tmp_path}/above is not a folder" in folder.obstacle()
    with pytest.raises(ConfigurationError, match=r"the run directory .* can't be made: Not a dir"):
        folder.create()


def test_without_an_obstacle_nothing_is_made_by_looking(folder, tmp_path):
    assert folder.obstacle() is None
    assert list(tmp_path.iterdir()) == []
    folder.create()
    assert folder.obstacle() is None


def test_above_what_others_own_it_can_not_be_made(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert f"can't be made: {tmp_path} is not yours to write" in folder.obstacle()


def test_a_full_disk_may_have_room_later(small_disk):
    disk = small_disk(8)
    folder = PrivateFolder(disk / "powder", "run directory", "ARROYO_RUN_DIR")
    with pytest.raises(UnavailableError, match="No space left on device"):
        folder.create(map(str, range(1000)))


def test_who_may_look_into_it_is_told_nothing(folder):
    assert folder.hidden() is None
    folder.create()
    assert folder.hidden() is None


def test_who_may_not_look_into_it_is_told_whose_it_is(folder, monkeypatch):
    folder.create()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert folder.hidden().endswith(f"({os.getuid()}); ask as that user")


@pytest.mark.parametrize(
    ("directories", "found"),
    [("/run/powder", "/run/powder"), ("/run/a:/run/b", "/run/a/powder"), ("/run", "/run/powder")],
)
def test_a_unit_for_one_chain_has_its_folder_and_any_other_one_a_part(directories, found):
    assert of_unit(directories, "powder") == Path(found)


def test_ones_own_is_a_folder_and_no_link_to_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    found = [is_own(tmp_path / name) for name in ("", "link", "file", "none")]
    assert found == [True, False, False, False]


def test_the_home_is_where_the_environment_or_the_account_has_it():
    assert home_of({"HOME": "/home/mx"}) == Path("/home/mx")
    assert home_of({}) == Path(pwd.getpwuid(os.geteuid()).pw_dir)


def test_who_has_no_account_is_told_what_to_set(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 123_456)
    with pytest.raises(ConfigurationError, match="HOME"):
        home_of({})
