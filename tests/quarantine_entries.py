"""Entries of a quarantine for tests."""

from arroyo.runner.quarantine.store import QuarantineEntry


def make_entry(number, **changes):
    """Make all that is known of a message; `number` is its ID."""
    fields = {
        "id": number,
        "time": 1.0,
        "chain": "saxs",
        "stage": "work",
        "replica": 0,
        "source": "src.0",
        "run": "run",
        "epoch": 1,
        "sequence": 1,
        "key": f"src.0/run/{number}",
        "type": "Event",
        "reason": "raised ValueError: no beam",
        "attempts": 1,
        "enters": "work",
    }
    return QuarantineEntry(**fields | changes)
