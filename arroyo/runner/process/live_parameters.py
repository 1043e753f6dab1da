"""`LiveParameters`: the parameters of one replica, which people change while it works."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from arroyo.config.graph import Stage
from arroyo.config.parameters import say_all
from arroyo.control.notify import Notifier
from arroyo.control.parameter_note import ParameterNote, read_parameters
from arroyo.errors import ArroyoError

LOOK_S = 0.2
"""How often it is looked whether somebody has set them."""
_log = logging.getLogger(__name__)


class LiveParameters:
    """Tells which values the stage has to have, and the supervisor which it has taken.

    `path`: the supervisor's note; None: nobody can set them.
    """

    def __init__(self, stage: Stage, path: Path | None, notifier: Notifier) -> None:
        self._declared = stage.parameters
        self._path = path if stage.parameters else None
        self._notifier = notifier
        note = None if self._path is None else read_parameters(self._path)
        self._present = self._with({} if note is None else note.settled)
        self._number = 0
        """Of the last order that it has taken, or refused."""
        self._due = 0.0

    @property
    def first(self) -> dict[str, Any]:
        """The values that the stage begins with."""
        return copy.deepcopy(self._present)

    def _with(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values.get(name, value) for name, value in self._declared.items()}

    def look(self, now: float) -> ParameterNote | None:
        """Return what is to be taken, if it is time to look and there is something."""
        if self._path is None or now < self._due:
            return None
        self._due = now + LOOK_S
        note = read_parameters(self._path)
        return None if note is None or note.number == self._number else note

    def take(self, note: ParameterNote, set_them: Callable[[Mapping[str, Any]], None]) -> None:
        """Have the stage's code take what has changed, and say how that went.

        `set_them`: raises ArroyoError where the code refuses; then the old values stay.
        """
        wanted = self._with(note.values)
        changed = {name: wanted[name] for name in wanted if wanted[name] != self._present[name]}
        refusal = ""
        try:
            if changed:
                set_them(copy.deepcopy(changed))
        except ArroyoError as error:
            refusal = str(error)
            _log.warning("refused %s: %s", say_all(changed), refusal)
        else:
            self._present = wanted
        self._number = note.number
        self._notifier.parameters(note.number, refusal)
