"""Asks connectors before the start for problems outside: folders, ports, libraries.

Connectors of this package are constructed for that, which opens nothing, and asked by their
`preflight()`, which raises what their `open()` would. Users' own classes are left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from arroyo.config.graph import Chain, Stage
from arroyo.config.reading.variables import is_unresolved
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.messages import Message

from .loading import build_listener, build_stage
from .options import place_in_options


class Preflight:
    """Looks at the connectors of a chain, one stage after the other.

    `is_running`: whether a stage runs just now: its port is then in use by itself.
    """

    def __init__(self, chain: Chain, is_running: Callable[[Stage], bool]) -> None:
        self._chain = chain
        self._is_running = is_running
        self._bound: dict[str, str] = {}
        """Stages by the addresses that they bind."""

    def problems(self, factory: object, stage: Stage) -> Iterator[str]:
        """Find what is wrong with a stage whose options fit `factory`."""
        if not _is_ours(factory) or is_unresolved(stage.options):
            return
        try:
            made = self._construct(stage)
            yield from self._clashes(getattr(made, "bound_address", None), stage)
            look = getattr(made, "preflight", None)
            if look is not None and not self._is_running(stage):
                look()
        except UnavailableError:
            pass  # it may be there when the chain starts
        except ConfigurationError as error:
            for problem in error.problems:
                yield problem if problem.startswith("stages.") else _place(problem, stage)

    def _construct(self, stage: Stage) -> Any:
        if stage.role == "listener":
            return build_listener(self._chain, stage, _Nobody())
        return build_stage(self._chain, stage)

    def _clashes(self, address: str | None, stage: Stage) -> Iterator[str]:
        if address is None:
            return
        if stage.replicas > 1:
            yield (
                f"stages.{stage.name}.replicas: {stage.replicas} replicas can't all bind "
                f"{address}; leave replicas out, or set bind = false"
            )
        other = self._bound.setdefault(address, stage.name)
        if other != stage.name:
            yield _place(
                f"{address} is the address of stages.{other} as well; give each stage its own",
                stage,
            )


class _Nobody:
    def process(self, message: Message, token: Any = None) -> None:
        raise AssertionError("a listener that is only checked has handed over a message")


def _is_ours(factory: object) -> bool:
    """Return True if constructing it runs no users' code."""
    if not inspect.isclass(factory):
        return False
    module: str = getattr(factory.__init__, "__module__", "")
    return module.startswith(("arroyo.connectors.", "arroyo.operators."))


def _place(problem: str, stage: Stage) -> str:
    return f"{place_in_options(problem, stage)}: {problem}"
