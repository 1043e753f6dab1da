"""`answer`: what the control socket of `arroyo follow` says to a request. PURE.

A request is ``{"stage": "integrate", "parameters": {"threshold": 700}}``, the answer to it
``{"success": true, "msg": ""}``, with the reason in ``msg`` where nothing was set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from arroyo.errors import ArroyoError


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    stage: str
    parameters: dict[str, Any]


def answer(frames: Sequence[bytes], set_parameters: Callable[[str, dict[str, Any]], None]) -> bytes:
    """Carry out a request; return the answer.

    `set_parameters`: sets parameters of a stage, or raises ArroyoError.
    """
    try:
        if len(frames) != 1:
            raise msgspec.ValidationError(f"found {len(frames)} frames, expected one")
        request = msgspec.json.decode(frames[0], type=_Request)
        set_parameters(request.stage, request.parameters)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"this is not a request: {error}"
    except ArroyoError as error:
        reason = str(error)
    else:
        reason = ""
    return msgspec.json.encode({"success": not reason, "msg": reason})
