"""Where a replica left its pub-sub links, for its next life, which counts what came meanwhile.

Only a life that ends in order leaves that, in the run directory: ``status/STAGE.R.places``. One
that is killed had read nobody knows how much. A place is worthless when the stage above has begun
another link, and does no harm.
"""

from __future__ import annotations

import logging

from arroyo.config.run_directory import RunDirectory
from arroyo.durable.frames import FileKind
from arroyo.durable.replaced_file import ReplacedFile
from arroyo.errors import ConfigurationError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.receiving.inbound_links import LinkPlaces

_log = logging.getLogger(__name__)


class LinkPlacesFile:
    """The places of one replica.

    `directory`: where they are left; None: there is no next life.
    """

    def __init__(self, directory: RunDirectory | None, name: ReplicaName) -> None:
        self._file: ReplacedFile[LinkPlaces] | None = None
        if directory is not None:
            path = directory.status_page(name).with_name(f"{name}.places")
            self._file = ReplacedFile(path, FileKind(b"PLAC", 1), LinkPlaces)

    def take(self) -> LinkPlaces:
        """Return what the life before has left, and remove it: a death leaves nothing."""
        if self._file is None:
            return {}
        try:
            found = self._file.read()
            self._file.remove()
        except (OSError, ConfigurationError):
            return {}
        return found or {}

    def leave(self, places: LinkPlaces) -> None:
        """Leave places for the next life."""
        if self._file is None or not places:
            return
        try:
            self._file.write(places)
        except OSError as error:
            _log.warning("what comes by pub-sub meanwhile won't be counted: %s", error.strerror)
