"""`InboundLinks`: which batches a replica may take, from which links. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from arroyo.codec import Batch, Open

LinkPlaces: TypeAlias = dict[str, tuple[int, int]]
"""By sender: a pub-sub link, and the number of the message that is next on it."""


class _Sender(msgspec.Struct):
    link: int
    next: int = 0
    incarnation: int = 0
    ended: bool = False
    finished: bool = False


class InboundLinks:
    """The links into one replica.

    A push-pull link begins with an Open and misses nothing. A pub-sub link begins anywhere, or
    where the life before has left it; what it misses is counted.

    `names`: every replica above, ``STAGE.R``, and whether it sends by pub-sub.
    """

    def __init__(self, names: Mapping[str, bool]) -> None:
        self._names = names
        self._senders: dict[str, _Sender] = {}
        self._left: LinkPlaces = {}
        """Where the life before has left links on which nothing has come since."""
        self.dropped = 0
        """Messages that pub-sub links lost."""
        self.all_finished = not names
        """Whether every replica above has finished for good."""

    def resume(self, left: LinkPlaces) -> None:
        """Go on where the life before has left pub-sub links."""
        self._left = {name: place for name, place in left.items() if self._names.get(name)}

    @property
    def places(self) -> LinkPlaces:
        """Where pub-sub links are left now."""
        senders = self._senders.items()
        heard = {name: (each.link, each.next) for name, each in senders if self._names[name]}
        return self._left | heard

    def open(self, name: str, record: Open) -> bool:
        """Note a link; False if no replica of this name sends here."""
        if self._names.get(name, True):
            return False
        known = self._senders.get(name)
        if known is not None and known.finished and record.incarnation < known.incarnation:
            return True  # said by a life before the one that has finished for good
        same_life = known is not None and known.incarnation == record.incarnation
        # A lower link of the same life is from a connection that was given up.
        if known is None or not same_life or known.link < record.link:
            self._begin(name, _Sender(record.link, incarnation=record.incarnation))
        return True

    def _begin(self, name: str, sender: _Sender) -> None:
        self._senders[name] = sender
        self.all_finished = False

    def takes(self, batch: Batch, messages: int) -> bool:
        """Note a batch of so many messages; False where it must not be taken.

        By push-pull that is a batch after a gap, or one from a connection that outlived the
        replica which it was made for: the sender has to make a new link.
        """
        by_pub_sub = self._names.get(batch.sender)
        sender = self._senders.get(batch.sender)
        if by_pub_sub is None:
            return False
        if by_pub_sub:
            link, following = self._left.pop(batch.sender, (None, 0))
            if sender is not None:
                link, following = sender.link, sender.next
            if link == batch.link:
                self.dropped += max(0, batch.number - following)
            self._begin(batch.sender, _Sender(batch.link, batch.number + max(1, messages)))
            return True
        if sender is None or sender.link != batch.link or batch.number != sender.next:
            return False
        sender.next += 1
        return True

    def end(self, name: str, link: int, *, final: bool) -> bool:
        """A sender has said End: for good, or only for this life; False for an unknown link."""
        sender = self._senders.get(name)
        if sender is None and self._names.get(name):
            sender = self._senders[name] = _Sender(link)
        if sender is None or sender.link != link:
            return False
        sender.ended, sender.finished = True, final
        self.all_finished = all(
            name in self._senders and self._senders[name].finished for name in self._names
        )
        return True

    def has_ended(self, name: str) -> bool:
        """Whether this replica above has said End, for good or not."""
        return name in self._senders and self._senders[name].ended

    @property
    def known_ended(self) -> bool:
        """Whether every replica above that was ever heard of has said End, for good or not."""
        return all(sender.ended for name, sender in self._senders.items() if not self._names[name])
