"""`BoundedTable`: a dict with a maximum size that evicts its oldest entry. PURE.

Epochs come and go with each life of a source and each run of a fold, and state must not grow with
them. The entry that was not asked for longest belongs to a life or run that has ended;
`drop_oldest` evicts the one that began first, where there are more than can be open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=tuple[Any, ...])
H = TypeVar("H", bound=Hashable)
T = TypeVar("T")
V = TypeVar("V")

LIMIT = 1024
KEPT_OF_EACH = 64
"""So many lives or runs of a source, by each of its paths, are kept beyond the limit: one source
alone may have as many paths as that, and with fewer they would drive each other out."""
OPEN_RUNS = 1024
"""So many runs of a source may be open. It is far more than there can be, so with more of them the
Stops of some are lost: by pub-sub, or with their source."""


class BoundedTable(Generic[K, T]):
    """Makes an entry when it is asked for; keeps the last `LIMIT`, or `KEPT_OF_EACH` of a source.

    Keys are a source, one of its lives or runs, and a path if any.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._entries: dict[K, T] = {}
        self._kept: Counter[tuple[Any, ...]] = Counter()
        """How many entries there are of each source and path."""

    def __getitem__(self, key: K) -> T:
        found = self._entries.pop(key, None)
        if found is None:
            return self._add(key)
        self._entries[key] = found
        return found

    def _add(self, key: K) -> T:
        self._kept[_whose(key)] += 1
        made = self._entries[key] = self._make()
        if len(self._entries) > LIMIT:
            self._forget_one()
        return made

    def _forget_one(self) -> None:
        crowded = (key for key in self._entries if self._kept[_whose(key)] > KEPT_OF_EACH)
        oldest = next(crowded, None)
        if oldest is not None:
            del self._entries[oldest]
            self._kept[_whose(oldest)] -= 1

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> Iterator[tuple[K, T]]:
        """Yield all that there is, what was asked for last at the end."""
        yield from self._entries.items()


def _whose(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return key[0], *key[2:]


def drop_oldest(table: dict[H, V], keys: Iterable[H], limit: int) -> list[V]:
    """Remove some of a table's entries, of the first of `keys`, so that `limit` of them stay."""
    return [table.pop(key) for key in list(keys)[:-limit]]
