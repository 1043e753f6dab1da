"""Addresses of a replica's sockets: in the run directory, or by the stage's `listen`. PURE.

Between hosts replica R of a stage with ``listen = "tcp://host:P"`` has ``in`` at P + 2R and
``back`` at P + 2R + 1. Pub-sub links stay on one host.
"""

from __future__ import annotations

from arroyo.config.graph import Chain
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName


class Addresses:
    """Addresses of all replicas of a chain."""

    def __init__(self, chain: Chain, directory: RunDirectory) -> None:
        self._chain = chain
        self._directory = directory

    def data(self, name: ReplicaName) -> str:
        """Return where a replica takes data."""
        return self._find("in", name, 0)

    def back(self, name: ReplicaName) -> str:
        """Return where a replica takes records from below, such as credits."""
        return self._find("back", name, 1)

    def publication(self, name: ReplicaName) -> str:
        """Return where a replica publishes to pub-sub links."""
        return self._directory.address("pub", name)

    def _find(self, kind: str, name: ReplicaName, offset: int) -> str:
        listen = self._chain.stages[name.stage].listen
        if listen is None:
            return self._directory.address(kind, name)
        host, _, port = listen.rpartition(":")
        return f"{host}:{int(port) + 2 * name.replica + offset}"
