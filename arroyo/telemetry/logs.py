"""Where log records go: a JSON-lines file for each replica, readable lines for people.

Logging never stops a stage: a record that can't be written (disk full, terminal held, pipe that
nobody reads) is counted, and the count is written as soon as writing works again. A record that is
too long is cut, and says so.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from .console import Console

FILE_BYTES = 8 * 1024 * 1024
FILES = 3
"""A log takes at most `FILES` times `FILE_BYTES`; older files end in ``.1`` and ``.2``."""

RECORD_CHARACTERS = 16 * 1024
"""A longer message, or traceback, is cut."""

OUTPUT = "arroyo.output"
"""Logger of what a stage's code, or a program that it started, wrote to stdout or stderr."""

_STDERR = 2
# Priorities of syslog(3), which the journal takes as a prefix of the line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class LogLine(msgspec.Struct, omit_defaults=True):
    """One line of a log file."""

    time: datetime
    level: str
    logger: str
    chain: str
    stage: str
    """``STAGE.REPLICA``, or ``supervisor``."""
    pid: int
    message: str
    exception: str | None = None
    """Traceback, where the record has one."""


def configure_logging(
    path: Path | None,
    name: str,
    chain: str,
    console: Console | None = None,
    *,
    console_level: int = logging.INFO,
) -> None:
    """Send the records of this process (INFO and up, and warnings) where they belong.

    Calling it again replaces what the call before had set up.

    Parameters
    ----------
    path
        File for JSON lines, made with mode 0600 and rotated by size; None: no file.
    name
        Replica (``STAGE.R``) or ``supervisor``.
    chain
        Name of the chain.
    console
        Where to write readable lines too. Under systemd they are always written, to the journal.
    console_level
        Which records a console gets. INFO records of installed libraries are not among them.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, FileHandler | ConsoleHandler):
            root.removeHandler(handler)
            handler.close()
    if path is not None:
        root.addHandler(FileHandler(path, name, chain))
    if journal := is_journal(_STDERR):
        console, console_level = Console(_STDERR), logging.INFO
    if console is not None:
        handler = ConsoleHandler(console, name, journal)
        handler.setLevel(console_level)
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def is_journal(descriptor: int) -> bool:
    """Whether systemd has connected `descriptor` to the journal.

    That $JOURNAL_STREAM is set is not enough: programs started from a desktop inherit it.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class FileHandler(logging.Handler):
    """Writes `LogLine`s to a file that no other process writes to, and rotates it by size."""

    def __init__(self, path: Path, name: str, chain: str) -> None:
        super().__init__()
        self.lost = 0
        """Records not written since the last one that was."""
        self._path = path
        self._name = name
        self._chain = chain
        self._descriptor: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as lost."""
        told = self._line(_lost_record(self.lost)) if self.lost else b""
        self.lost = 0 if self._write(told + self._line(record)) else self.lost + 1

    def _line(self, record: logging.LogRecord) -> bytes:
        line = LogLine(
            time=datetime.fromtimestamp(record.created, UTC),
            level=record.levelname,
            logger=record.name,
            chain=self._chain,
            stage=self._name,
            pid=record.process or os.getpid(),
            message=_message(record),
            exception=_exception(record),
        )
        return msgspec.json.encode(line) + b"\n"

    def _write(self, line: bytes) -> bool:
        try:
            descriptor = self._open(len(line))
            start = os.fstat(descriptor).st_size
            if os.write(descriptor, line) == len(line):
                return True
            # The disk filled up within the line: take the torn half back.
            os.ftruncate(descriptor, start)
        except OSError:
            pass
        return False

    def _open(self, line_bytes: int) -> int:
        """Return a descriptor of the file at the path, with room for the line."""
        if self._descriptor is not None:
            found = os.fstat(self._descriptor)
            if not self._is_at_path(found):
                self._shut()
            elif found.st_size and found.st_size + line_bytes > FILE_BYTES:
                self._shut()
                self._rotate()
        if self._descriptor is None:
            # O_NONBLOCK: should the path be a pipe, opening it must not wait for a reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _is_at_path(self, found: os.stat_result) -> bool:
        """Whether the open file is still the one at the path, not removed or moved away."""
        try:
            return os.path.samestat(found, self._path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        names = [self._path, *(Path(f"{self._path}.{age}") for age in range(1, FILES))]
        for younger, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                younger.replace(older)

    def _shut(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        self._shut()
        self.release()
        super().close()


class ConsoleHandler(logging.Handler):
    """Writes readable lines, for a terminal or for the journal.

    Parameters
    ----------
    console
        Where to; it is closed with the handler.
    name
        Replica, or ``supervisor``.
    journal
        The journal knows the time itself and wants the priority in front.
    """

    def __init__(self, console: Console, name: str, journal: bool) -> None:
        super().__init__()
        self._console = console
        self._name = name
        self._journal = journal
        # What was printed is on the console already, as it was.
        self.addFilter(lambda record: record.name != OUTPUT and not _is_chatter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a console that takes nothing now counts it."""
        self._console.write(self._line(record))

    def _line(self, record: logging.LogRecord) -> str:
        text = f"{self._name}: {_message(record).rstrip()}"
        if exception := _exception(record):
            text += f"\n{exception}"
        if self._journal:
            prefix = f"<{_priority(record.levelno)}>"
            return prefix + text.replace("\n", f"\n{prefix}")
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        return f"{time} {record.levelname:<7} {text}"

    def close(self) -> None:
        """Close the console."""
        self._console.close()
        super().close()


_LIBRARIES = tuple(
    {sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def _is_chatter(record: logging.LogRecord) -> bool:
    """Whether it is an INFO record of a library that is neither Arroyo's nor the user's own."""
    if record.levelno >= logging.WARNING or record.name.partition(".")[0] == "arroyo":
        return False
    return record.pathname.startswith(_LIBRARIES)


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, LookupError) as error:
        text = f"{record.msg!s} (its arguments {record.args!r} don't fit: {error})"
    return _encodable(_cut(text))


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_info is None or record.exc_info[0] is None:
        return None
    # The end of a traceback says most.
    return _encodable(_cut(logging.Formatter().formatException(record.exc_info), keep_end=True))


def _cut(text: str, keep_end: bool = False) -> str:
    """Shorten a text that is too long for a log."""
    if len(text) <= RECORD_CHARACTERS:
        return text
    note = f"[cut: {len(text):,} characters, of which {RECORD_CHARACTERS:,} are shown]"
    if keep_end:
        return f"{note}\n{text[-RECORD_CHARACTERS:]}"
    return f"{text[:RECORD_CHARACTERS]} {note}"


def _encodable(text: str) -> str:
    """Escape what UTF-8 has no bytes for, such as the odd byte of a file name."""
    return text.encode(errors="backslashreplace").decode()


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def _lost_record(count: int) -> logging.LogRecord:
    text = "%d records before this one could not be written"
    return logging.LogRecord(__name__, logging.WARNING, "", 0, text, (count,), None)
