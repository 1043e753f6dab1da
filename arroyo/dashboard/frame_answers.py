"""`FrameAnswers`: frames of a stage for the page, and true values of their pixels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from arroyo.config.graph import Chain
from arroyo.errors import ArroyoError, UsageError
from arroyo.supervision.live.tapped_stage import TappedStage
from arroyo.web.http_request import JSON, Answer, Later, Request

from .frame_tap import FrameTap, FrameTaps
from .frames import CELLS_MAX, Orientation, Picture, Region, draw, measure, value_at

BINARY = "application/octet-stream"
PIXEL_MAX = 1 << 31


class FrameAnswers:
    """Answers for frames of one chain."""

    def __init__(self, chain: Callable[[], Chain], environ: Mapping[str, str]) -> None:
        self._taps = FrameTaps(lambda stage: TappedStage(chain(), stage, environ))
        self._chain = chain

    def find(self, request: Request) -> Later | None:
        """Return what answers a request; None: it is for none of this."""
        tell = {"/frame": self._frame, "/value": self._value}.get(request.path)
        return tell and Later(partial(self._answer, tell, request.query))

    async def _answer(
        self,
        tell: Callable[[FrameTap, Mapping[str, str]], Awaitable[Answer]],
        query: Mapping[str, str],
    ) -> Answer:
        try:
            stage = query.get("of", "")
            if stage not in self._chain().stages:
                raise UsageError(f"the chain has no stage {stage!r}")
            return await tell(self._taps.of(stage), query)
        except UsageError as error:
            return Answer.refusing(HTTPStatus.NOT_FOUND, str(error))
        except (ArroyoError, OSError) as error:
            return Answer.refusing(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    async def _frame(self, tap: FrameTap, query: Mapping[str, str]) -> Answer:
        """Return the frame of this ``number``, or the next one ``after`` another."""
        if "number" in query:
            frame = tap.kept(_whole(query, "number"))
        elif (newest := await tap.next(_whole(query, "after"))) is None:
            return Answer(HTTPStatus.NO_CONTENT, b"")
        else:
            frame = newest
        wide, high = (_whole(query, name, CELLS_MAX, least=1) for name in ("wide", "high"))
        region, marked = (_region(query, before) for before in ("", "marked_"))
        lies = Orientation(_whole(query, "turn", 3), _whole(query, "flip", 1))
        shown = {"number": frame.number, "first": tap.first, "time": frame.time, **frame.facts}

        def make() -> bytes:
            if frame.plane is None:
                return Picture(shown).packed()
            picture = draw(frame.plane, wide, high, region, lies)
            known: dict[str, Any] = {"plane": list(frame.plane.shape)}
            if marked.wide:
                known["marked"] = measure(frame.plane, marked)
            return picture._replace(shown=shown | picture.shown | known).packed()

        return Answer(HTTPStatus.OK, await tap.run(make), BINARY)

    async def _value(self, tap: FrameTap, query: Mapping[str, str]) -> Answer:
        """Return the value of a pixel, as it is in the array."""
        frame = tap.kept(_whole(query, "number"))
        try:
            value = value_at(frame.plane, _whole(query, "x"), _whole(query, "y"))
        except (IndexError, TypeError) as error:
            raise UsageError("there is no such pixel") from error
        return Answer(HTTPStatus.OK, msgspec.json.encode({"value": value}), JSON)


def _region(query: Mapping[str, str], before: str) -> Region:
    return Region(*(_whole(query, before + name) for name in ("x", "y", "w", "h")))


def _whole(query: Mapping[str, str], name: str, most: int = PIXEL_MAX, least: int = 0) -> int:
    """Return a whole number of a query; 0 if it is not there."""
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 11 and least <= int(text) <= most):
        raise UsageError(f"{name}: found {text!r}, expected a number from {least} to {most}")
    return int(text)
