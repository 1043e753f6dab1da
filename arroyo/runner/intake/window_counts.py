"""`Counts`: what was handed over, counted on the status page, where the next life reads it."""

from __future__ import annotations

from typing import TypeAlias

Word: TypeAlias = memoryview | list[int]
"""One number, in memory that others may read."""


class Counts:
    """Counts events, those left out that were dropped."""

    def __init__(self, received: Word, unseen: Word, run_end: Word) -> None:
        self.events = self._unseen = 0
        self.received = received
        self.unseen = unseen
        """How many more may have been handed over, at most."""
        self.run_end = run_end
        """Number of the event behind the open run, counted from 1; 0: its end is not known."""

    def add(self, events: int) -> None:
        """Count events that were handed over."""
        self.events = self.received[0] = self.events + events

    def see(self, events: int) -> None:
        """Count events that were unseen so far."""
        self.add(events)
        self.expect(max(0, self._unseen - events))

    def expect(self, unseen: int) -> None:
        """Say how many may be handed over before anybody looks, at most."""
        if unseen != self._unseen:
            self._unseen = self.unseen[0] = unseen

    def drop(self, *, taken: int, of_first_run: bool) -> None:
        """Take one back that waited; `taken`: so many have gone on."""
        self.add(-1)
        # The source may have been given the next run already, and wait to begin it.
        if of_first_run and self.run_end[0] > taken + 1:
            self.run_end[0] -= 1

    def end_run(self) -> None:
        """The open run ends with the events so far, unless it has ended before."""
        if not self.run_end[0]:
            self.run_end[0] = self.events + 1
