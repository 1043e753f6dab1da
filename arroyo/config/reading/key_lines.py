"""`KeyLines`: the line of each key in a chain file, such as ``stages.integrate.replicas``. PURE."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(
    r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)
_QUOTES = re.compile(r"\"\"\"|'''")


class KeyLines:
    """The lines of all keys of one chain file.

    Reads lines, not TOML: a key in an inline table has the line of that table.
    """

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = _find_lines(text)

    def locate(self, problem: str) -> str:
        """Put ``FILE:LINE: `` in front of a problem that begins with ``PLACE: ``."""
        line = self._line_of(problem)
        # A key may hold any character, but a mistake has to stay on one line.
        problem = "".join(each if each.isprintable() else repr(each)[1:-1] for each in problem)
        return f"{self._file}:{line}: {problem}" if line else f"{self._file}: {problem}"

    def sort(self, problems: list[str]) -> list[str]:
        """Return problems in the order of the file, without duplicates; without a line, last."""
        return sorted(
            dict.fromkeys(problems), key=lambda problem: self._line_of(problem) or 1 << 30
        )

    def _line_of(self, problem: str) -> int | None:
        place = problem.partition(": ")[0]
        while place and place not in self._lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return self._lines.get(place)


def _find_lines(text: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    table, in_text = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if not in_text:
            if header := _HEADER.match(line):
                table = _plain(header[1])
                lines.setdefault(table, number)
            elif key := _KEY.match(line):
                place = f"{table}.{_plain(key[1])}" if table else _plain(key[1])
                lines.setdefault(place, number)
        if len(_QUOTES.findall(line)) % 2:
            in_text = not in_text
    return lines


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))
