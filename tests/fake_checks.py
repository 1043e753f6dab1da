"""A chain file that is checked at once, or when the test says so, for a supervisor's answers."""

from __future__ import annotations

from arroyo.supervision.watching.chain_checks import Checked


class FakeChecks:
    """`found` is what the next check finds; with `waits` it is handed over by `end`."""

    def __init__(self, chain=None):
        self.found = Checked(chain)
        self.waits = False
        self._take = None

    @property
    def is_busy(self):
        return self._take is not None

    def begin(self, take):
        self._take = take
        if not self.waits:
            self.end()

    def end(self):
        take, self._take = self._take, None
        take(self.found)
