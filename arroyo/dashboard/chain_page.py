"""`ChainPage`: answers the requests of the page of one chain, whether that runs or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from arroyo.config.run_directory import RunDirectory
from arroyo.control.shared_folders import find_folders
from arroyo.errors import ArroyoError, UsageError
from arroyo.runner.quarantine.store import Quarantine, QuarantineEntry, outline
from arroyo.supervision.live.live_chain import LiveChain
from arroyo.telemetry.event_line import EventLine
from arroyo.telemetry.log_tail import backwards
from arroyo.telemetry.logs import LogLine
from arroyo.web.access_token import AccessToken
from arroyo.web.http_request import JSON, Answer, Later, Request, Stream

from .frame_answers import FrameAnswers
from .page_orders import PageOrders
from .page_view import page_of
from .view_stream import ViewStream

EVERY_S = 1.0
EVENTS = 100
LOG_LINES = 200
QUARANTINED = 200
"""So many are listed, the newest."""
LOOK_BACK_BYTES = 1024 * 1024
"""Older lines of a log are not shown: the page asks every second."""
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/asking.js": ("asking.js", "text/javascript; charset=utf-8"),
    "/frames.js": ("frames.js", "text/javascript; charset=utf-8"),
    "/frame_canvas.js": ("frame_canvas.js", "text/javascript; charset=utf-8"),
    "/marked_region.js": ("marked_region.js", "text/javascript; charset=utf-8"),
    "/colours.js": ("colours.js", "text/javascript; charset=utf-8"),
    "/orders.js": ("orders.js", "text/javascript; charset=utf-8"),
    "/graph.js": ("graph.js", "text/javascript; charset=utf-8"),
    "/elements.js": ("elements.js", "text/javascript; charset=utf-8"),
    "/panels.js": ("panels.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LEVELS = logging.getLevelNamesMapping()
L = TypeVar("L", bound=LogLine)


class ChainPage:
    """Looks at a chain when it is asked by somebody who knows the token.

    Parameters
    ----------
    takes_orders
        Whether the chain can be changed from the page.

    Raises
    ------
    ConfigurationError
        The chain file has mistakes.
    UsageError
        The chain can't be seen from here.
    """

    def __init__(
        self,
        file: Path,
        environ: Mapping[str, str],
        token: AccessToken,
        *,
        takes_orders: bool = False,
    ) -> None:
        self._environ = environ
        self._token = token
        self._live = LiveChain(file, environ)
        self._live.look()
        self._frames = FrameAnswers(lambda: self._live.chain, environ)
        self._orders = PageOrders(self.chain, file, environ) if takes_orders else None
        self._stream = ViewStream(self._look, EVERY_S)
        static = files(__package__) / "static"
        self._files = {
            path: Answer(HTTPStatus.OK, (static / name).read_bytes(), content_type)
            for path, (name, content_type) in _FILES.items()
        }
        self._answers: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "/events": lambda _: self._events(),
            "/logs": self._logs,
            "/quarantine": lambda _: self._quarantined(),
            "/message": self._message,
        }

    @property
    def chain(self) -> str:
        """Name of the chain."""
        return self._live.chain.name

    def answer(self, request: Request) -> Answer | Later | Stream:
        """Return the answer to a request."""
        if (found := self._files.get(request.path)) and request.method != "POST":
            return found  # it has nothing of the chain
        if refusal := self._token.refuse(request):
            return refusal
        return self._find_later(request) or self._answer_now(request)

    def _find_later(self, request: Request) -> Later | None:
        """Return the answer to an order, or to who wants a frame."""
        if self._orders and (carry_out := self._orders.find(request)):
            return Later(partial(asyncio.to_thread, _in_json, carry_out))
        return None if request.method == "POST" else self._frames.find(request)

    def _answer_now(self, request: Request) -> Answer | Stream:
        if request.path == "/stream" and request.method != "POST":
            return Stream(self._stream.follow, "text/event-stream")
        asked = self._answers.get(request.path)
        if asked is None or request.method == "POST":
            return Answer.refusing(HTTPStatus.NOT_FOUND, "there is no such page here")
        return _in_json(partial(asked, request.query))

    def _look(self) -> bytes:
        try:
            view = page_of(self._live.look(), takes_orders=self._orders is not None)
            return msgspec.json.encode(view)
        except (ArroyoError, OSError) as error:
            return msgspec.json.encode({"trouble": str(error)})

    @property
    def _run_directory(self) -> RunDirectory:
        return RunDirectory.locate(self.chain, self._environ)

    def _events(self) -> list[dict[str, Any]]:
        """Return the last events, oldest first."""
        lines = backwards(self._run_directory.events, EventLine, LOOK_BACK_BYTES)
        return [_shown(line, event=line.event) for line in islice(lines, EVENTS)][::-1]

    def _logs(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the last lines of a stage's or process's logs, in order of time."""
        wanted = query.get("of", "")
        least = _LEVELS.get(query.get("level", ""), logging.NOTSET)
        run_directory = self._run_directory
        names = [name for name in run_directory.logs if wanted in (name, name.partition(".")[0])]
        if not names and wanted not in (*self._live.chain.stages, "supervisor"):
            raise UsageError(f"chain {self.chain} has no stage or process {wanted!r}")
        lines: list[LogLine] = []
        for name in names:
            found = backwards(run_directory.log(name), LogLine, LOOK_BACK_BYTES)
            lines += islice(_from_level(found, least), LOG_LINES)
        lines.sort(key=_time_of)
        return [_shown(line) for line in lines[-LOG_LINES:]]

    @property
    def _store(self) -> Quarantine:
        return Quarantine(find_folders(self.chain, self._environ).state.quarantine)

    def _quarantined(self) -> list[dict[str, Any]]:
        """Return messages in quarantine, the newest first."""
        return [_listed(entry) for entry in self._store.entries()[: -QUARANTINED - 1 : -1]]

    def _message(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the stack and the content of a message in quarantine."""
        number = query.get("id", "")
        if not number.isalnum():  # it becomes a part of a path
            raise UsageError("there is no such message in quarantine")
        entry = self._store.find(number)
        content = outline(self._store.message(number))
        return {"reason": entry.reason, "stack": entry.stack, "content": content}


def _in_json(tell: Callable[[], Any]) -> Answer:
    """Return what is told as JSON, or why nothing is."""
    try:
        return Answer(HTTPStatus.OK, msgspec.json.encode(tell(), enc_hook=repr), JSON)
    except UsageError as error:
        return Answer.refusing(HTTPStatus.NOT_FOUND, str(error))
    except (ArroyoError, OSError) as error:
        return Answer.refusing(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


def _from_level(lines: Iterator[L], least: int) -> Iterator[L]:
    return (line for line in lines if _LEVELS.get(line.level, logging.INFO) >= least)


def _time_of(line: LogLine) -> datetime:
    return line.time


def _shown(line: LogLine, **more: str) -> dict[str, Any]:
    text = line.message.rstrip()
    if line.exception:
        text += f"\n{line.exception.rstrip()}"
    return {"time": line.time, "level": line.level, "of": line.stage, "text": text, **more}


def _listed(entry: QuarantineEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "time": datetime.fromtimestamp(entry.time).astimezone(),
        "of": f"{entry.stage}.{entry.replica}",
        "key": entry.key,
        "type": entry.type,
        "tries": entry.attempts,
        "reason": entry.reason,
    }
