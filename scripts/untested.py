#!/usr/bin/env python3
"""Names the modules of arroyo/ that have no test of their own, which is an error.

The test of ``arroyo/config/reader.py`` is ``tests/unit/config/test_reader.py``, that of
``arroyo/codec/_body.py`` is ``tests/unit/codec/test_body.py``, and no other file is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def untested(root: Path) -> Iterator[Path]:
    """Yield the modules under ``root/arroyo`` without a test of their own, by path from there."""
    package = root / "arroyo"
    for module in sorted(package.rglob("*.py")):
        path = module.relative_to(package)
        if path.name not in {"__init__.py", "__main__.py"} and not (root / test_of(path)).exists():
            yield path


def test_of(path: Path) -> Path:
    """Return where the test of a module is, from the root."""
    return Path("tests/unit", path.parent, f"test_{path.stem.lstrip('_')}.py")


def main(root: Path = ROOT) -> int:
    """Print a sentence on each; return 1 where there are any."""
    found = list(untested(root))
    for path in found:
        print(f"arroyo/{path} has no test of its own; write {test_of(path)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
