"""`Recent`: something for each source, epoch and path, of which the oldest is forgotten. PURE.

Epochs come and go: with each life of a source, and with each run of a fold. What was not asked
for longest ago is of a life or run that has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

LIMIT = 1024


class Recent(Generic[K, T]):
    """Makes what is asked for, and keeps the last `LIMIT`."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._entries: dict[K, T] = {}

    def __getitem__(self, key: K) -> T:
        found = self._entries.pop(key, None)
        if found is None:
            found = self._make()
        self._entries[key] = found
        if len(self._entries) > LIMIT:
            del self._entries[next(iter(self._entries))]
        return found

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterator[tuple[K, T]]:
        """Yield all that there is, what was asked for last at the end."""
        yield from self._entries.items()
