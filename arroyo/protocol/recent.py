"""What is known of so many lives and runs only, however many there have been. PURE.

Epochs come and go: with each life of a source, and with each run of a fold. What was not asked
for longest ago is of a life or run that has ended (`Recent`), and so is what began longest ago
where there are more than can be open (`drop_oldest`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
V = TypeVar("V")

LIMIT = 1024
OPEN_RUNS = 1024
"""So many runs of a source may be open. It is far more than there can be, so with more of them the
Stops of some are lost: by pub-sub, or with their source."""


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


def drop_oldest(table: dict[K, V], keys: Iterable[K], limit: int) -> list[V]:
    """Remove some of a table's entries, of the first of `keys`, so that `limit` of them stay."""
    return [table.pop(key) for key in list(keys)[:-limit]]
