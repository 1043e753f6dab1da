"""Where log records go: a JSON-lines file for each replica, readable lines for people.

Logging never stops a stage: a record that can't be written (disk full, terminal held, pipe that
nobody reads) is counted, and the count is written as soon as writing works again.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
from datetime import UTC, datetime
from pathlib import Path

import msgspec

FILE_BYTES = 8 * 1024 * 1024
FILES = 3
"""A log takes at most `FILES` times `FILE_BYTES`; older files end in ``.1`` and ``.2``."""

_STDERR = 2
# A descriptor that poll() calls writable takes this much without blocking (POSIX, PIPE_BUF).
_PIPE_BUF = 4096
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


def configure_logging(path: Path | None, name: str, chain: str, console: bool) -> None:
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
        Whether to write readable lines to stderr too. Under systemd they are always written:
        stderr is the journal there.
    """
    root = logging.getLogger()
    for handler in [found for found in root.handlers if isinstance(found, _LineHandler)]:
        root.removeHandler(handler)
        handler.close()
    if path is not None:
        root.addHandler(FileHandler(path, name, chain))
    journal = is_journal(_STDERR)
    if console or journal:
        root.addHandler(ConsoleHandler(name, journal))
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


class _LineHandler(logging.Handler):
    """Turns records into lines, and counts those that could not be written."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        """Records not written since the last one that was."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as lost."""
        told = self._line(_lost_record(self.lost)) if self.lost else b""
        self.lost = 0 if self._write(told + self._line(record)) else self.lost + 1

    def _line(self, record: logging.LogRecord) -> bytes:
        raise NotImplementedError

    def _write(self, line: bytes) -> bool:
        raise NotImplementedError


class FileHandler(_LineHandler):
    """Writes `LogLine`s to a file that no other process writes to, and rotates it by size."""

    def __init__(self, path: Path, name: str, chain: str) -> None:
        super().__init__()
        self._path = path
        self._name = name
        self._chain = chain
        self._descriptor: int | None = None

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


class ConsoleHandler(_LineHandler):
    """Writes readable lines to stderr, for a terminal or for the journal.

    Parameters
    ----------
    name
        Replica, or ``supervisor``.
    journal
        The journal knows the time itself and wants the priority in front.
    """

    def __init__(self, name: str, journal: bool) -> None:
        super().__init__()
        self._name = name
        self._journal = journal

    def _line(self, record: logging.LogRecord) -> bytes:
        text = f"{self._name}: {_message(record)}"
        if exception := _exception(record):
            text += f"\n{exception}"
        if self._journal:
            prefix = f"<{_priority(record.levelno)}>"
            text = prefix + text.replace("\n", f"\n{prefix}")
        else:
            time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
            text = f"{time} {record.levelname:<7} {text}"
        return text.encode() + b"\n"

    def _write(self, line: bytes) -> bool:
        # stderr is shared with other processes, so it can't be made non-blocking: ask first.
        writable = select.poll()
        writable.register(_STDERR, select.POLLOUT)
        try:
            for start in range(0, len(line), _PIPE_BUF):
                if not any(mask & select.POLLOUT for _, mask in writable.poll(0)):
                    return False
                os.write(_STDERR, line[start : start + _PIPE_BUF])
        except OSError:
            return False
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, LookupError) as error:
        text = f"{record.msg!s} (its arguments {record.args!r} don't fit: {error})"
    return _encodable(text)


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_info is None or record.exc_info[0] is None:
        return None
    return _encodable(logging.Formatter().formatException(record.exc_info))


def _encodable(text: str) -> str:
    """Escape what UTF-8 has no bytes for, such as the odd byte of a file name."""
    return text.encode(errors="backslashreplace").decode()


def _priority(level: int) -> int:
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def _lost_record(count: int) -> logging.LogRecord:
    text = "%d records before this one could not be written"
    return logging.LogRecord(__name__, logging.WARNING, "", 0, text, (count,), None)
