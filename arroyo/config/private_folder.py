"""`PrivateFolder`: a folder that only its user may enter.

The folder and its parts are no symbolic links, belong to this user, and have mode 0700. The folders
above it are not checked.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from arroyo.errors import ArroyoError, ConfigurationError, fault_of

_PRIVATE = 0o700
_ABOVE = 0o755


class PrivateFolder:
    """One such folder.

    `path`: where it is; absolute.
    `what`: its name in sentences, as in "the run directory".
    """

    def __init__(self, path: Path, what: str, variable: str) -> None:
        self.path = path
        self._what = what
        self._variable = variable

    def create(self, parts: Iterable[str] = ()) -> None:
        """Make the folder and its parts where missing, with mode 0700.

        ConfigurationError: one can't be made, is a link or no folder, or belongs to another user.
        UnavailableError: its disk is full, or not there.
        """
        try:
            for above in reversed(self.path.parents):
                if not above.exists():
                    above.mkdir(_ABOVE, exist_ok=True)
            for folder in (self.path, *(self.path / part for part in parts)):
                self._close_to_others(folder)
        except OSError as error:
            raise self.unusable(error) from error

    def _close_to_others(self, folder: Path) -> None:
        try:
            folder.mkdir(_PRIVATE)
        except FileExistsError:
            found = folder.lstat()
            if problem := self._problem(folder, found):
                raise ConfigurationError(problem) from None
            if stat.S_IMODE(found.st_mode) != _PRIVATE:
                folder.chmod(_PRIVATE)

    def obstacle(self) -> str | None:
        """Return a sentence on why `create` would fail, without making anything; None: it won't."""
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            return str(self.unusable(error))
        else:
            return self._problem(self.path, found)
        above = next(folder for folder in self.path.parents if folder.exists())
        if not above.is_dir():
            return self._sentence(f"can't be made: {above} is not a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            return self._sentence(f"can't be made: {above} is not yours to write")
        return None

    def _problem(self, folder: Path, found: os.stat_result) -> str | None:
        if stat.S_ISLNK(found.st_mode):
            return self._sentence(f"can't be used: {folder} is a symbolic link, expected a folder")
        if not stat.S_ISDIR(found.st_mode):
            return self._sentence(f"can't be used: {folder} is not a folder")
        if found.st_uid != os.geteuid():
            user = name_of(found.st_uid)
            return self._sentence(f"can't be used: {folder} belongs to {user}, not to you")
        return None

    def hidden(self) -> str | None:
        """Return a sentence on why this user can't look into the folder; None if it can."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"the {self._what} {self.path} can't be looked at: {error.strerror}"
        if os.access(self.path, os.R_OK | os.X_OK):
            return None
        return f"the {self._what} {self.path} belongs to {name_of(found.st_uid)}; ask as that user"

    def unusable(self, error: OSError) -> ArroyoError:
        """Return the error for something in the folder that can't be made."""
        return fault_of(error)(self._sentence(f"can't be made: {error.strerror}"))

    def _sentence(self, problem: str) -> str:
        return (
            f"the {self._what} {self.path} {problem}; set {self._variable} to a folder in which "
            "you may make it"
        )


def of_unit(directories: str, chain: str) -> Path:
    """Return the chain's folder within the first of the folders of a systemd unit.

    A unit of `arroyo units` has one that is named after the chain, for this chain alone. In the
    folder of any other unit the chain gets a folder of its own.
    """
    first = Path(directories.partition(":")[0])
    return first if first.name == chain else first / chain


def is_own(folder: Path) -> bool:
    """Return True if the folder exists, is no link, and belongs to this user."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the home of this user: ``$HOME``, else by the user database.

    ConfigurationError: there is none.
    """
    if home := environ.get("HOME"):
        return Path(home).absolute()
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        raise ConfigurationError(
            f"user {os.geteuid()} has no home, so there is no place for the files of a chain; "
            "set HOME, or ARROYO_RUN_DIR and ARROYO_STATE_DIR"
        ) from None


def name_of(uid: int) -> str:
    """Return a user for people, as in "user mx (1200)"."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
