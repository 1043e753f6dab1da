"""A batch for tests, of which only what matters has to be said."""

from arroyo.codec import Batch, Kind


def make_batch(**fields):
    """Make the header of two events of a run, with whatever else is said of it."""
    said = {
        "sender": "src.0",
        "link": 1,
        "number": 0,
        "kind": Kind.EVENTS,
        "run": "run",
        "source": "src.0",
        "epoch": 1,
        "base": 0,
        "frontier": 0,
        "path": 0,
        "ranges": ((0, 2),),
    }
    return Batch(**said | fields)
