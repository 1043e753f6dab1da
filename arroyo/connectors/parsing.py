"""What listeners to foreign programs share: parsers, and messages that can't be read."""

from __future__ import annotations

import logging
import pkgutil
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from arroyo.clock import Clock, SystemClock
from arroyo.errors import ConfigurationError, DecodeError, EncodeError
from arroyo.messages import Event, Message
from arroyo.stages import Frame, Listener, MessageParser, explain_signature

from .wire_format import OutwardParser

LOG_INTERVAL_S = 10.0
"""A flood of bad messages must not become a flood of log lines."""

# What code for a foreign format raises on bytes that are not of it, although it should raise
# DecodeError: a missing key, text for a number, too few bytes, a number beyond all bounds, JSON
# nested without end, what it asserts, a literal of Python or XML that is none. msgspec's are
# ValueErrors.
_BROKEN_INPUT = (
    DecodeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    RecursionError,
    SyntaxError,
    struct.error,
    zlib.error,
)

Keep = Callable[[Sequence[Frame], str, str], None]
"""Keeps the frames of a message that was refused, with its name and the reason."""

_log = logging.getLogger(__name__)


class RawParser(MessageParser):
    r"""Makes an Event of whatever comes: the payload is the last frame, untouched.

    Frames in front of it are in ``metadata["frames"]``, a list of bytes, if there are any.

    Parameters
    ----------
    has_topic
        Whether the first of several frames is a topic; it is then text in ``metadata["topic"]``,
        with bytes that are not UTF-8 written as ``\xNN``.
    """

    def __init__(self, *, has_topic: bool = False) -> None:
        self._has_topic = has_topic

    def parse(self, frames: Sequence[Frame]) -> Event:
        """Return the frames as an Event."""
        if not frames:
            raise DecodeError("a message came without any frame")
        metadata: dict[str, object] = {}
        *others, payload = frames
        if self._has_topic and others:
            metadata["topic"] = bytes(others.pop(0)).decode("utf-8", "backslashreplace")
        if others:
            metadata["frames"] = [bytes(frame) for frame in others]
        return Event(metadata, payload)


class TolerantParser(MessageParser):
    """Wraps a parser: counts and keeps messages that it can't read, and logs them now and then."""

    def __init__(self, parser: MessageParser, clock: Clock | None = None) -> None:
        self._parser = parser
        self._clock = clock or SystemClock()
        self._log_again_at = self._clock.monotonic()
        self._unreported = 0
        self._frames: Sequence[Frame] = ()
        """Those of the last message."""
        self.rejected = 0
        """Messages that could not be read, since the start."""
        self.keep: Keep | None = None

    def parse(self, frames: Sequence[Frame], name: str = "") -> Message | None:
        """Return the message; None if it is incomplete or broken. The log calls it `name`."""
        self._frames = frames
        try:
            return self._parser.parse(frames)
        except _BROKEN_INPUT as error:
            self.reject(error, name)
            return None

    def reject(self, error: Exception, name: str = "") -> None:
        """Count and keep the last message, which can't be read or sent on; log it now and then."""
        self.rejected += 1
        self._unreported += 1
        reason = str(error)
        if not isinstance(error, DecodeError | EncodeError):
            reason = f"{type(error).__name__}: {reason}"
        if self.keep is not None:
            self.keep(self._frames, name, reason)
        now = self._clock.monotonic()
        if now < self._log_again_at:
            return
        _log.warning(
            "refused %d message(s) that can't be taken, the last%s because %s",
            self._unreported,
            f" ({name})" if name else "",
            reason,
        )
        self._log_again_at = now + LOG_INTERVAL_S
        self._unreported = 0


class ParsingListener(Listener):
    """A listener to programs that may send anything. Subclasses set `_parser`."""

    _parser: TolerantParser

    @property
    def rejected(self) -> int:
        """Messages that could not be read or sent on, since the start."""
        return self._parser.rejected

    def have_refused_kept(self, keep: Keep) -> None:
        """Have what could not be read or sent on given to `keep`, which the framework provides."""
        self._parser.keep = keep

    def refuse(self, error: EncodeError) -> None:
        """Count a message that can't be sent on; the listener continues."""
        self._parser.reject(error)

    def _pass_on(self, frames: Sequence[Frame], token: Any, name: str) -> bool:
        """Parse a message and hand it over; return False if there is none, or it is rejected."""
        message = self._parser.parse(frames, name)
        if message is None:
            return False
        try:
            self.operator.process(message, token=token)
        except EncodeError as error:
            self._parser.reject(error, name)
            return False
        return True


def make_parser(spec: MessageParser | str = "arroyo", *, has_topic: bool = False) -> MessageParser:
    """Return the parser that an option ``parser`` names; ConfigurationError if there is none.

    Parameters
    ----------
    spec
        A parser, ``"arroyo"`` (the outward format), ``"raw"``, or ``"module:Class"``, where
        any callable without arguments that returns a parser will do.
    has_topic
        Whether the transport puts a topic or channel in front.
    """
    if isinstance(spec, MessageParser):
        return spec
    if spec == "arroyo":
        return OutwardParser()
    if spec == "raw":
        return RawParser(has_topic=has_topic)
    if not isinstance(spec, str) or ":" not in spec:
        raise ConfigurationError(
            f'parser = {spec!r} is unknown; write "arroyo", "raw" or "module:Class"'
        )
    return _load_parser(spec)


def check_texts(owner: str, option: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return `texts`; ConfigurationError if they are a single text, or not all texts."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f'{owner}: {option} = {texts!r} should be a list: ["one", "two"]')
    return tuple(texts)


def _load_parser(spec: str) -> MessageParser:
    try:
        make = pkgutil.resolve_name(spec)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"parser = {spec!r} can't be loaded: {error}") from error
    parser = make() if callable(make) else make
    if not isinstance(parser, MessageParser):
        raise ConfigurationError(
            f"parser = {spec!r} gives a {type(parser).__name__}, expected an arroyo.MessageParser"
        )
    if mistake := explain_signature(parser, "parse"):
        raise ConfigurationError(f"parser = {spec!r}: {mistake}")
    return parser
