"""`Message` and the three that make up a run.

Rules: a message is a plain value that msgspec can encode; its payload is a buffer that nobody
copies unless asked; where it comes from (`origin`) travels beside it, not in it, so that passing
a message on never means changing it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ._origin import Fragment, Origin, origin_key

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Payload: TypeAlias = bytes | bytearray | memoryview
else:
    # What msgspec decodes into: a view of the received frame instead of a copy.
    Payload = memoryview


class _Provenance:
    """Room for the origin in each message without making it a field (fields are encoded).

    Few stages ask for it, so what is kept at first is how to make it: a function, and what it
    has to be told.
    """

    __slots__ = ("_origin",)

    _origin: Origin | tuple[Callable[[int, Fragment], Origin], int, Fragment]


class Message(_Provenance, msgspec.Struct, tag=True, array_like=True):
    """Base of all messages. Subclass it for your own and name them in the chain file.

    Fields are declared as in any `msgspec.Struct`; the class's name goes on the wire, so two
    message classes of one chain need different names.
    """

    @property
    def origin(self) -> Origin | None:
        """Where it comes from; None for a message that has not entered a chain yet."""
        try:
            found = self._origin
        except AttributeError:
            return None
        if isinstance(found, Origin):
            return found
        make, sequence, fragment = found
        origin = make(sequence, fragment)
        self._origin = origin
        return origin

    @property
    def key(self) -> str:
        """Text that is the same for each delivery of this message and for no other.

        Made of source, run, sequence, and, where they apply, fragment and path. With a
        replayable input it survives restarts of the source as well.

        Raises
        ------
        ValueError
            The message has not entered a chain, so that it has no key yet.
        """
        origin = self.origin
        if origin is None:
            raise ValueError("a message has a key once a chain has taken it up, not before")
        return origin_key(origin, type(self).__name__.lower())


class Start(Message):
    """Opens a run. `data` is whatever the instrument says about it."""

    data: dict[str, Any] = {}


class Stop(Message):
    """Closes a run.

    Below the source, the framework adds ``data["totals"]``: ``sent``, ``filtered``,
    ``skipped``, ``quarantined``, ``lost`` and ``dropped`` (numbers of messages; what was dropped
    in front of a full window was never sent), and ``complete`` (bool).
    """

    data: dict[str, Any] = {}


class Event(Message):
    """One datum of a run: a small dict, and a payload of any size.

    Attributes
    ----------
    metadata
        What msgpack can hold: None, bool, int, float, str, bytes, dates, lists, dicts.
    payload
        Any contiguous buffer. In a stage it is a read-only view of shared memory, meant to be used
        until `process()` or `publish()` returns. One that is kept for longer stays what it is, but
        a stage that does so gets slower, since its payloads are copied; `copy()` what is needed.
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
            The array holds Python objects or named fields, which have no common wire format.
        """
        import numpy as np

        array = np.asarray(array)
        if array.dtype.hasobject or array.dtype.names:
            raise TypeError(
                f"an array of dtype {array.dtype} can't be a payload: "
                "send plain numbers, one array per field"
            )
        # As bytes, since the buffer protocol knows no datetime64; reshape copies only if it must.
        flat = array.reshape(-1).view(np.uint8)
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
            raise ValueError("this event carries plain bytes, no array (see Event.from_array)")
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
        """Return the same event with a payload of its own, to be kept as long as you like."""
        twin = msgspec.structs.replace(self, payload=bytes(self.payload))
        if self.origin is not None:
            twin._origin = self.origin
        return twin
