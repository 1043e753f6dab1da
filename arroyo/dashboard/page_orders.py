"""`PageOrders`: carries out orders from the page, as the commands of their names do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from arroyo.config.parameters import parse_value
from arroyo.control.requests import NUMBER_MAX
from arroyo.control.shared_folders import find_folders
from arroyo.errors import UsageError
from arroyo.runner.quarantine.returning import send_back_in_child
from arroyo.runner.quarantine.store import Quarantine
from arroyo.supervision.live.running_chain import RunningChain
from arroyo.supervision.reloads import has_work, say_anew, say_plan
from arroyo.web.http_request import Request

MESSAGES_MAX = 200
"""Messages in quarantine that one order is for: as many as the page lists."""

Said = dict[str, Any]
"""What the page is told."""


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    """What comes with an order; each has some of these."""

    stage: str = ""
    number: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = 0
    values: dict[str, str] = {}
    """Parameters, with their values as people type them."""
    plan: str = ""
    """Number of the plan that is to be carried out, as it was told."""
    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MESSAGES_MAX)] = ()


class PageOrders:
    """Gives a running chain orders; each is there as a path, and does what the command does.

    Nothing waits here until an order is carried out: the page asks again, or sees it.
    """

    def __init__(self, chain: str, file: Path, environ: Mapping[str, str]) -> None:
        self._chain = chain
        self._file = file
        self._environ = environ
        self._orders: dict[str, Callable[[_Order], Said]] = {
            "/orders/restart": self._restart,
            "/orders/scale": self._scale,
            "/orders/set": self._set,
            "/orders/plan": lambda _: self._running.ask("plan"),
            "/orders/reload": lambda order: self._running.ask("reload", order.plan),
            "/orders/requeue": self._requeue,
            "/orders/drop": self._drop,
        }
        self._questions: dict[str, Callable[[Mapping[str, str]], Said]] = {
            "/parameters": lambda query: self._running.ask("parameters", query.get("of", "")),
            "/reloading": lambda _: self._reloading(),
            "/quarantined": lambda query: self._quarantined(query.get("of", "")),
        }

    def find(self, request: Request) -> Callable[[], Said] | None:
        """Return what carries out a request; None: it is no order, and no question about one."""
        if request.method == "POST":
            carry_out = self._orders.get(request.path)
            return carry_out and (lambda: carry_out(_parse(request.body)))
        ask = self._questions.get(request.path)
        return ask and (lambda: ask(request.query))

    @property
    def _running(self) -> RunningChain:
        return RunningChain.named(self._chain, self._environ)

    def _restart(self, order: _Order) -> Said:
        replicas = self._running.restart(_stage_of(order))
        return {"said": f"restarting {', '.join(replicas)}"}

    def _scale(self, order: _Order) -> Said:
        scaled = self._running.scale(_stage_of(order), order.number)
        return {"said": scaled.say("stopping, when they have finished")}

    def _set(self, order: _Order) -> Said:
        values = {name: parse_value(typed) for name, typed in order.values.items()}
        answer: Said = self._running.ask("set", _stage_of(order), values=values)
        return answer

    def _reloading(self) -> Said:
        """Return the last plan, and how far it has come; in lines for people."""
        told = self._running.ask("reloading")
        lines = told["mistakes"] or say_plan(told)
        if told["anew"]:
            lines = [*lines, say_anew(tuple(told["anew"]))]
        return {
            "plan": told["plan"],
            "state": told["state"],
            "lines": lines,
            "may_go_on": told["state"] == "planned" and not told["anew"] and has_work(told),
            "reason": told["reason"],
        }

    @property
    def _store(self) -> Quarantine:
        return Quarantine(find_folders(self._chain, self._environ).state.quarantine)

    def _quarantined(self, stage: str) -> Said:
        """Return how many messages are in quarantine since this stage failed on them."""
        return {"messages": sum(entry.stage == stage for entry in self._store.entries())}

    def _requeue(self, order: _Order) -> Said:
        """Send messages again, or all that a stage failed on."""
        is_all = bool(order.stage) and not order.ids
        found = self._store.of_stage(order.stage) if is_all else ()
        ids = [entry.id for entry in found] or _ids_of(order)
        done = send_back_in_child(self._file, ids, self._environ)
        back = [each.id for each in done if not each.refusal]
        self._running.note_quarantine("requeue", back)
        if is_all:
            stay = [str(each) for each in done if each.refusal]
            return {"said": "\n".join([f"{len(back)} of {len(done)} go back", *stay[:1]])}
        return {"said": "\n".join(map(str, done))}

    def _drop(self, order: _Order) -> Said:
        store = self._store
        entries = [store.find(number) for number in _ids_of(order)]
        for entry in entries:
            store.drop(entry.id)
        self._running.note_quarantine("drop", [entry.id for entry in entries])
        return {"said": "\n".join(f"{each.id} ({each.key}) is dropped" for each in entries)}


def _parse(body: bytes) -> _Order:
    try:
        return msgspec.json.decode(body, type=_Order)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"this is no order: {error}") from error


def _stage_of(order: _Order) -> str:
    """Return the stage; a request without one would be for all."""
    if not order.stage:
        raise UsageError("name the stage")
    return order.stage


def _ids_of(order: _Order) -> tuple[str, ...]:
    """Return the messages, by names that may be parts of paths."""
    if not order.ids or not all(each.isascii() and each.isalnum() for each in order.ids):
        raise UsageError("name messages in quarantine by their ids")
    return order.ids
