"""`Message`, and the three types that make up a run.

Rules: a message is a plain value that msgspec can encode. Its payload is a buffer that is copied
only on request. Its `origin` travels beside it, not in it, so passing a message on never changes
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ._origin import Fragment, Origin, origin_key

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Payload: TypeAlias = bytes | bytearray | memoryview
else:
    # So msgspec decodes into a view of the received frame instead of a copy.
    Payload = memoryview


class _Provenance:
    """Attributes for the origin of a message, which is no field (fields are encoded).

    Few stages ask for the origin, so at first it is kept as what it can be made of: its sequence,
    with the fragment where the message is a part of a split one, and the function that makes it,
    which all messages of a batch share.
    """

    __slots__ = ("_make_origin", "_origin")

    _make_origin: Callable[[int, Fragment], Origin]
    _origin: Origin | tuple[int, Fragment] | int


class Message(_Provenance, msgspec.Struct, tag=True, array_like=True):
    """Base of all messages. Subclass it for your own and name them in the chain file.

    Fields are declared as in any `msgspec.Struct`; the class's name goes on the wire, so two
    message classes of one chain need different names.
    """

    @property
    def origin(self) -> Origin | None:
        """Origin of the message; None before it has entered a chain."""
        try:
            found = self._origin
        except AttributeError:
            return None
        if isinstance(found, int):  # nearly always when it is asked for at first
            origin = self._make_origin(found, ())
        elif isinstance(found, Origin):
            return found
        else:
            origin = self._make_origin(*found)
        self._origin = origin
        return origin

    @property
    def key(self) -> str:
        """Text that is the same on each delivery of this message, and on no other message.

        Made of source, run, sequence, and, where they apply, fragment and path. With a
        replayable input it survives restarts of the source as well.

        Raises
        ------
        ValueError
            The message has not entered a chain, so it has no key yet.
        """
        origin = self.origin
        if origin is None:
            raise ValueError(
                "this message has no key yet: a chain gives it one when a listener hands it over"
            )
        # Only a Start or Stop has no sequence, and is named by its type.
        return origin_key(origin, "" if origin.sequence >= 0 else type(self).__name__.lower())


class Start(Message):
    """Opens a run. `data` describes it, as the instrument does."""

    data: dict[str, Any] = {}


class Stop(Message):
    """Closes a run.

    Below the source, the framework adds ``data["totals"]``: ``sent``, ``filtered``,
    ``skipped``, ``quarantined``, ``lost`` and ``dropped`` (numbers of messages; those dropped at a
    full window were never sent), and ``complete`` (bool).
    """

    data: dict[str, Any] = {}


class Event(Message, gc=False):  # plain values have no cycles to look for
    """One datum of a run: a small dict, and a payload of any size.

    Attributes
    ----------
    metadata
        Any values of msgpack: None, bool, int, float, str, bytes, dates, lists, dicts.
    payload
        Any contiguous buffer. In a stage it is a read-only view of shared memory, to be used until
        `process()` or `publish()` returns. A view that is kept for longer stays correct, but such a
        stage gets slower, since its payloads are copied; `copy()` the events that are needed.
    dtype, shape
        Set by `from_array`: numpy's type string with byte order (``"<f4"``), and the shape,
        C order, slowest axis first. Empty dtype: the payload is plain bytes.
    """

    metadata: dict[str, Any] = {}
    payload: Payload = b""
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @classmethod
    def from_array(cls, array: ArrayLike, **metadata: Any) -> Event:
        """Wrap an array. A C-contiguous one is not copied: the payload is a view of it.

        Raises
        ------
        TypeError
            The array holds Python objects or named fields, which have no common wire format, or
            is masked.
        """
        import numpy as np

        if isinstance(array, np.ma.MaskedArray):
            raise TypeError(
                "a masked array would lose its mask: send array.filled(VALUE), "
                "or array.data and array.mask"
            )
        array = np.asarray(array)
        if array.dtype.hasobject or array.dtype.names:
            raise TypeError(
                f"an array of dtype {array.dtype} can't be a payload: "
                "send plain numbers, one array per field"
            )
        # As bytes, since the buffer protocol knows no datetime64.
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return cls(metadata, flat.data, array.dtype.str, array.shape)

    @property
    def array(self) -> NDArray[Any]:
        """The payload as a numpy array, without a copy; writable only if the payload is.

        Raises
        ------
        ValueError
            The event carries no array, or dtype and shape don't fit the payload's size.
        """
        import numpy as np

        if not self.dtype:
            raise ValueError(
                "this event carries plain bytes, no array; make one with Event.from_array"
            )
        size = memoryview(self.payload).nbytes
        try:
            dtype = np.dtype(self.dtype)
        except TypeError as error:
            raise ValueError(f"an array can't be of the type {self.dtype!r}: {error}") from error
        if (
            dtype.hasobject
            or dtype.names
            or min(self.shape, default=0) < 0
            or math.prod(self.shape) * dtype.itemsize != size
        ):
            raise ValueError(
                f"a payload of {size} bytes is no array of dtype {self.dtype} and "
                f"shape {self.shape}"
            )
        view: NDArray[Any] = np.frombuffer(self.payload, dtype).reshape(self.shape)
        return view

    def copy(self) -> Event:
        """Return the event with a payload of its own, which can be kept for any time."""
        payload = bytes(self.payload)
        if type(self) is Event:  # takes a third of what `replace` does
            twin = Event(self.metadata, payload, self.dtype, self.shape)
        else:
            twin = msgspec.structs.replace(self, payload=payload)
        if (origin := self.origin) is not None:
            twin._origin = origin
        return twin


def plain_sequences(messages: Sequence[Message]) -> list[int] | None:
    """Return the sequences of messages of one batch, none of which has a fragment or a path.

    None where that can't be told at once. Such messages differ in nothing of their origin but the
    sequence, with which their keys end; so publishers need no object for each of them.
    """
    try:
        make_origin = messages[0]._make_origin
        made_of = [each._origin for each in messages if each._make_origin is make_origin]
    except (AttributeError, IndexError):
        return None
    numbers = [each for each in made_of if isinstance(each, int)]
    if len(numbers) < len(messages):
        return None
    first, last = make_origin(numbers[0], ()), make_origin(numbers[-1], ())
    begin = first.sequence - numbers[0]
    # What comes from quarantine has the sequence that it had, whatever its number is now.
    if first.path or first.fragment or last.sequence - numbers[-1] != begin:
        return None
    return [begin + number for number in numbers]
