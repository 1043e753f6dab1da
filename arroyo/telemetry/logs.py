"""Logging: a file of JSON lines for each replica, readable lines for people.

Logging never stops a stage. A record that can't be written (a full disk, a terminal on hold, a pipe
without a reader) is counted, and the count is written as soon as writing works again. A record that
is too long is cut, and says so.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from .console import Console
from .rotated_file import FILE_BYTES, RotatedFile

RECORD_CHARACTERS = 16 * 1024
"""A longer message, or traceback, is cut."""

OUTPUT = "arroyo.output"
"""Logger of the output of a stage's code, and of programs that it starts."""

_STDERR = 2
# Priorities of syslog(3), which the journal reads as a prefix of the line.
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


L = TypeVar("L", bound=LogLine)


def parse_line(raw: bytes, kind: type[L]) -> L | None:
    """Return a line of a log file, its time with a zone; None for one that is none."""
    try:
        line = msgspec.json.decode(raw, type=kind)
        line.time = line.time if line.time.tzinfo else line.time.astimezone()
    except (msgspec.DecodeError, ValueError, OverflowError):  # the last two: no such time here
        return None
    return line


def configure_logging(
    path: Path | None,
    name: str,
    chain: str,
    console: Console | None = None,
    *,
    console_level: int = logging.INFO,
) -> None:
    """Set up logging for this process: records from INFO up, and Python's warnings.

    Calling it again replaces the earlier set-up.

    Parameters
    ----------
    path
        File for JSON lines, made with mode 0600 and rotated by size; None: no file.
    console
        Where to write readable lines as well. Under systemd these always go to the journal.
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
    """Return True if systemd has connected `descriptor` to the journal.

    $JOURNAL_STREAM alone does not say so: programs started from a desktop inherit it.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class FileHandler(logging.Handler):
    """Writes `LogLine`s to a `RotatedFile`, of so many bytes."""

    def __init__(self, path: Path, name: str, chain: str, *, file_bytes: int = FILE_BYTES) -> None:
        super().__init__()
        self.lost = 0
        """Records not written since the last one that was."""
        self._file = RotatedFile(path, file_bytes)
        self._name = name
        self._chain = chain

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as lost."""
        told = self._line(_lost_record(self.lost)) if self.lost else b""
        self.lost = 0 if self._file.write(told + self._line(record)) else self.lost + 1

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

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        self._file.close()
        self.release()
        super().close()


class ConsoleHandler(logging.Handler):
    """Writes readable lines, for a terminal or for the journal.

    `console`: where to write; closed with the handler.
    `journal`: whether it is the journal, which adds the time and takes a priority in front.
    """

    def __init__(self, console: Console, name: str, journal: bool) -> None:
        super().__init__()
        self._console = console
        self._name = name
        self._journal = journal
        # Output of the stage's code is on the console already.
        self.addFilter(lambda record: record.name != OUTPUT and not _is_chatter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a console that can't take it counts it."""
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


def encodable(text: str) -> str:
    """Escape characters that UTF-8 can't encode, such as an odd byte of a file name."""
    return text.encode(errors="backslashreplace").decode()


# Not by `sysconfig`, whose tables would take a quarter of a MiB of each stage.
_LIBRARIES = (
    f"{Path(logging.__file__).parents[1]}{os.sep}",
    *(path + os.sep for path in sys.path if path.endswith(("site-packages", "dist-packages"))),
)


def _is_chatter(record: logging.LogRecord) -> bool:
    """Return True for an INFO record of an installed library, other than Arroyo."""
    if record.levelno >= logging.WARNING or record.name.partition(".")[0] == "arroyo":
        return False
    return record.pathname.startswith(_LIBRARIES)


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, LookupError) as error:
        text = f"{record.msg!s} (its arguments {record.args!r} don't fit: {error})"
    return encodable(_cut(text))


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_info is None or record.exc_info[0] is None:
        return None
    # The end of a traceback says the most.
    return encodable(_cut(logging.Formatter().formatException(record.exc_info), keep_end=True))


def _cut(text: str, keep_end: bool = False) -> str:
    """Shorten a text that is too long for a log."""
    if len(text) <= RECORD_CHARACTERS:
        return text
    note = f"[cut: {len(text):,} characters, of which {RECORD_CHARACTERS:,} are shown]"
    if keep_end:
        return f"{note}\n{text[-RECORD_CHARACTERS:]}"
    return f"{text[:RECORD_CHARACTERS]} {note}"


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def _lost_record(count: int) -> logging.LogRecord:
    text = "%d records before this one could not be written"
    return logging.LogRecord(__name__, logging.WARNING, "", 0, text, (count,), None)
