"""The nearest right word for a wrong one, as `did_you_mean` says it. PURE."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return the word of `known` nearest to `found`, else all of them; to end a sentence with.

    ``"; did you mean 'replicas'?"``, ``"; there are: a, b"``, or ``""`` where none is known.
    """
    words = list(known)
    if near := find_nearest(found, words):
        return f"; did you mean {near!r}?"
    return f"; there are: {', '.join(words)}" if words else ""


def find_nearest(found: str, known: Iterable[str]) -> str | None:
    """Return the word of `known` that is nearly `found`, whatever the case; None: there is none."""
    import difflib  # only a mistake needs it

    folded = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(found.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None
