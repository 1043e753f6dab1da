"""The totals of a run, as its Stop tells them."""


def totals_of(sent, **changes):
    """Say that so many messages were sent, and that nothing else became of any but `changes`."""
    return {
        "sent": sent,
        "filtered": 0,
        "skipped": 0,
        "quarantined": 0,
        "lost": 0,
        "complete": True,
        **changes,
    }
