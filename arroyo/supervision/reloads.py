"""`Reloads`: what the supervisor answers a client that wants the chain file read anew.

A reload has two steps, so that people see what will be done before it is: `plan` has the file
checked and compared with what runs, `reload` carries out that very plan. Both are told as soon as
they are begun; `reloading` says how far they have come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arroyo.control.request_server import Asked
from arroyo.errors import UsageError

from .decisions import events as ev
from .decisions.reload_plan import Effect, ReloadPlan, plan_reload
from .decisions.state_machine import ChainMachine
from .watching.chain_checks import ChainChecks, Checked

IS_STOPPING = "the chain is being stopped"


class Reloads:
    """Plans reloads, and hands them to the state machine, one at a time."""

    def __init__(
        self, machine: ChainMachine, handle: Callable[[ev.Event], None], checks: ChainChecks
    ) -> None:
        self._machine = machine
        self._handle = handle
        self._checks = checks
        self._number = 0
        """That of the last plan."""
        self._checked = Checked(None)
        self._plan = ReloadPlan()
        self._by = ""
        """Who asked last."""
        self._is_ordered = False

    def plan(self, asked: Asked) -> dict[str, Any]:
        """Have the chain file checked and compared."""
        self._refuse_if_busy()
        self._number += 1
        self._checked, self._plan = Checked(None), ReloadPlan()
        self._by, self._is_ordered = asked.by, False
        self._checks.begin(self._take)
        return {"plan": str(self._number)}

    def reload(self, asked: Asked) -> dict[str, Any]:
        """Carry out the plan of this number, which is the last one."""
        self._refuse_if_busy()
        chain, plan = self._checked.chain, self._plan
        if asked.target != str(self._number) or chain is None or self._is_ordered:
            raise UsageError("somebody has made another plan meanwhile; try again")
        if anew := plan.keys(Effect.ANEW):
            raise UsageError(say_anew(anew))
        self._is_ordered, self._by = True, asked.by
        keys = tuple(change.key for change in plan.changes)
        by = f"a reload command ({asked.by})"
        self._handle(ev.ReloadRequested(chain, keys, plan.restarts, by))
        return {"plan": str(self._number)}

    def tell(self, _: Asked) -> dict[str, Any]:
        """Return the last plan, and how far it has come."""
        return {
            "plan": str(self._number),
            "state": self._state(),
            "mistakes": self._checked.mistakes,
            "live": self._plan.keys(Effect.LIVE),
            "restart": self._plan.keys(Effect.RESTART),
            "anew": self._plan.keys(Effect.ANEW),
            "stages": self._plan.restarts,
            "reason": self._machine.reloading.reason if self._is_ordered else "",
        }

    def _state(self) -> str:
        reloading = self._machine.reloading
        if self._checks.is_busy:
            return "checking"
        if self._checked.mistakes:
            return "mistaken"
        if not self._is_ordered:
            return "planned"
        if reloading.is_under_way:
            return "rolling-back" if reloading.is_rolling_back else "reloading"
        return reloading.outcome

    def _take(self, checked: Checked) -> None:
        self._checked = checked
        if checked.chain is not None:
            self._plan = plan_reload(self._machine.replicas.chain, checked.chain)

    def _refuse_if_busy(self) -> None:
        if self._machine.replicas.stopping:
            raise UsageError(IS_STOPPING)
        if self._checks.is_busy or self._machine.reloading.is_under_way:
            raise UsageError(f"a reload is under way, for {self._by}; try again when it has ended")


def say_anew(keys: tuple[str, ...]) -> str:
    """Say that these keys can't be changed in a running chain."""
    return (
        f"{', '.join(keys)} can't be changed while the chain runs; stop it with 'arroyo stop', "
        "and start it again"
    )


def say_plan(told: Mapping[str, Any]) -> list[str]:
    """Return a plan that was told in lines for people."""
    lines = [f"at once: {key}" for key in told["live"]]
    lines += [f"by a restart: {key}" for key in told["restart"]]
    lines += [f"not in a running chain: {key}" for key in told["anew"]]
    if told["stages"] and not told["anew"]:
        lines.append(f"to be restarted, one process after the other: {', '.join(told['stages'])}")
    return lines or ["nothing has changed"]


def has_work(told: Mapping[str, Any]) -> bool:
    """Return True if a plan that was told changes anything."""
    return bool(told["live"] or told["restart"])
