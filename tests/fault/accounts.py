"""Accounts as a chain leaves them behind that has kept all promises; for tests of the oracle."""

from fault.oracle_stages import Handed


def handed_over(life, events):
    """Tell of one run of so many events, and of the source's orderly end."""
    ends = [Handed(life, "Stop"), Handed(life, "End")]
    made = [Handed(life, "Event", 0, index, 100 + index) for index in range(events)]
    return [Handed(life, "Start"), *made, *ends]
