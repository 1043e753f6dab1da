"""`did_you_mean`: the nearest right word for a wrong one. PURE."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return the word of `known` nearest to `found`, else all of them; to end a sentence with.

    ``"; did you mean 'replicas'?"``, ``"; there are: a, b"``, or ``""`` where none is known.
    """
    import difflib  # only a mistake needs it

    words = list(known)
    folded = {word.casefold(): word for word in words}
    near = difflib.get_close_matches(found.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {folded[near[0]]!r}?"
    return f"; there are: {', '.join(words)}" if words else ""
