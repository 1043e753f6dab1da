#!/usr/bin/env python3
"""Names the modules of arroyo/ that have no test of their own, which is an error.

The test of ``arroyo/config/reader.py`` is ``tests/unit/config/test_reader.py``; that of a
connector may be in ``tests/integration/``, where the server is: that of
``arroyo/connectors/nats/session.py`` is ``test_nats_session.py``. A module without a function has
nothing to test.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def untested(root: Path) -> Iterator[str]:
    """Yield the modules under ``root/arroyo`` without a test of their own, by path from there."""
    package = root / "arroyo"
    for module in sorted(package.rglob("*.py")):
        path = module.relative_to(package)
        if not any(test.exists() for test in tests_of(path, root)) and has_functions(module):
            yield path.as_posix()


def tests_of(path: Path, root: Path) -> Iterator[Path]:
    """Yield where the test of a module may be."""
    name = f"test_{path.stem.lstrip('_')}.py"
    yield root / "tests" / "unit" / path.parent / name
    if path.parts[0] == "connectors":
        words = (*path.parts[1:-1], name.removeprefix("test_"))
        yield root / "tests" / "integration" / f"test_{'_'.join(words)}"


def has_functions(module: Path) -> bool:
    """Return False for a module that only declares, or that makes up a package."""
    if module.name in {"__init__.py", "__main__.py"}:
        return False
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return any(isinstance(node, functions) for node in ast.walk(ast.parse(module.read_bytes())))


def main() -> int:
    """Print a sentence on each; return 1 where there are any."""
    found = list(untested(ROOT))
    for path in found:
        test = next(tests_of(Path(path), Path()))
        print(f"arroyo/{path} has no test of its own; write {test}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
