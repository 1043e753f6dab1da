"""Client libraries of the outside worlds, which are optional extras of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arroyo.errors import ConfigurationError


@contextmanager
def needed_for(purpose: str, extra: str) -> Iterator[None]:
    """Turn an import that fails within the block into a ConfigurationError that says what to do."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f'{purpose} needs {error.name}, which is not installed: pip install "arroyo[{extra}]"'
        ) from error
