"""What the supervisor answers on its control socket: questions, and orders that it may refuse.

The answer to an order says what follows from it; the state machine decides, and the event log has
who asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from arroyo.config.event_names import EventName
from arroyo.config.suggestions import did_you_mean
from arroyo.control.history_file import history_text
from arroyo.control.request_server import Answers, Asked
from arroyo.errors import UsageError

from .decisions import events as ev
from .decisions.replica import ReplicaState
from .decisions.state_machine import ChainMachine
from .parameter_orders import ParameterOrders
from .reloads import IS_STOPPING, Reloads
from .reporting.status_reply import status_reply
from .watching.chain_checks import ChainChecks


def make_answers(
    machine: ChainMachine,
    handle: Callable[[ev.Event], None],
    note_refusal: Callable[[str, str, str], None],
    note_order: Callable[[EventName, str, str], None],
    monotonic: Callable[[], float],
    *,
    chain_checks: ChainChecks,
    parameters: ParameterOrders,
) -> Answers:
    """Return the function for each verb.

    Parameters
    ----------
    handle
        Takes the event that an order is for the machine.
    note_refusal
        Takes an order that is refused: its verb and target, who asked, and the reason.
    note_order
        Takes an order that others have carried out: its event, the sentence, and who gave it.
    chain_checks
        Reads and checks the chain file anew, for a reload.
    """
    orders = _Orders(machine, handle)
    reloads = Reloads(machine, handle, chain_checks)

    def set_parameters(asked: Asked) -> dict[str, int]:
        if machine.replicas.stopping:
            raise UsageError(IS_STOPPING)
        return parameters.order(asked)

    def note(verb: str, event: EventName, done: str) -> Callable[[Asked], Any]:
        return order(verb, lambda asked: note_order(event, f"{done} {_ids(asked)}", asked.by))

    def order(verb: str, carry_out: Callable[[Asked], Any]) -> Callable[[Asked], Any]:
        def answer(asked: Asked) -> Any:
            try:
                return carry_out(asked)
            except UsageError as error:
                note_refusal(f"{verb} {asked.target}".rstrip(), asked.by, str(error))
                raise

        return answer

    return {
        "status": lambda _: status_reply(
            machine.replicas, monotonic(), parameters.shown, machine.restarting
        ),
        "history": lambda _: {"text": history_text("supervisor", machine.history)},
        "reloading": reloads.tell,
        "plan": order("plan", reloads.plan),
        "reload": order("reload", reloads.reload),
        "parameters": parameters.show,
        "set": order("set", set_parameters),
        "drain": order("drain", orders.drain),
        "scale": order("scale", orders.scale),
        "start": order("start", orders.start),
        "stop": order("stop", orders.stop),
        "restart": order("restart", orders.restart),
        "requeue": note("requeue", "requeue-ordered", "back from quarantine goes"),
        "drop": note("drop", "drop-ordered", "dropped from quarantine is"),
    }


class _Orders:
    """Hands orders to the state machine, as events."""

    def __init__(self, machine: ChainMachine, handle: Callable[[ev.Event], None]) -> None:
        self._replicas = machine.replicas
        self._stages = {replica.name.stage: None for replica in machine.replicas}
        self._handle = handle

    def stop(self, asked: Asked) -> dict[str, Any]:
        """Stop a stage, or the whole chain; a second command waits with the first one."""
        by = f"a stop command ({asked.by})"
        if not asked.target:
            if not self._replicas.stopping:
                self._handle(ev.StopRequested(by))
            return {"pid": os.getpid(), "in_the_way": self._in_the_way()}
        found = self._find(asked.target)
        self._handle(ev.StageStopRequested(asked.target, by))
        return {"replicas": _names(each for each in found if each.held_by)}

    def drain(self, asked: Asked) -> dict[str, Any]:
        """Stop all listeners."""
        found = self._find("")
        for stage in dict.fromkeys(each.name.stage for each in found if each.is_listener):
            self._handle(ev.StageStopRequested(stage, f"a drain command ({asked.by})"))
        replicas = _names(each for each in found if each.held_by and each.is_listener)
        return {"replicas": replicas, "in_the_way": self._in_the_way()}

    def start(self, asked: Asked) -> dict[str, Any]:
        """Start what is stopped, FAILED or in BACKOFF."""
        stopping = self._replicas.stopping
        found = self._find(asked.target, may_stop=True)
        starting = _names(
            each for each in found if each.may_be_started(asked.target, stopping=stopping)
        )
        if stopping and not starting:
            raise UsageError(IS_STOPPING)
        self._handle(ev.StageStartRequested(asked.target, f"a start command ({asked.by})"))
        return {"replicas": starting}

    def scale(self, asked: Asked) -> dict[str, Any]:
        """Have so many replicas of a stage work, those with the lowest numbers; stop the others."""
        found = sorted(self._find(asked.target), key=lambda each: each.name)
        stage = found[0].stage
        if asked.target != stage.name:
            raise UsageError(f"{asked.target} is one process of a stage; scale {stage.name}")
        most = stage.replicas
        if not 0 < asked.number <= most:
            has = f"{most} replicas in the chain file, so 1 to {most} of them can run"
            if most == 1:
                has = "1 replica in the chain file, so no other number can run"
            raise UsageError(
                f"{stage.name} has {has}; for more, change that and start the chain anew"
            )
        by = f"a scale command ({asked.by})"
        self._handle(ev.ScaleRequested(stage.name, asked.number, by))
        return {
            "working": _names(each for each in found if not (each.held_by or each.is_at_rest)),
            "stopping": _names(each for each in found if each.held_by),
        }

    def restart(self, asked: Asked) -> dict[str, Any]:
        """Restart what has not ended for good, and is not stopped; tell the processes so far."""
        found = self._find(asked.target)
        former = {
            str(each.name): each.pid for each in found if not (each.is_at_rest or each.held_by)
        }
        self._handle(ev.RestartRequested(asked.target, f"a restart command ({asked.by})"))
        return {"replicas": list(former), "former": former}

    def _in_the_way(self) -> list[str]:
        """Return what is stopped below the listeners: what waits for it is not finished."""
        held = (each for each in self._replicas if each.held_by and not each.is_spare)
        return _names(each for each in held if not each.is_listener)

    def _find(self, target: str, *, may_stop: bool = False) -> list[ReplicaState]:
        """Return the replicas that an order is for; `may_stop`: also while the chain stops."""
        if not (found := self._replicas.named(target)):
            meant = did_you_mean(target, self._stages)
            raise UsageError(f"the running chain has no stage or replica {target!r}{meant}")
        if self._replicas.stopping and not may_stop:
            raise UsageError(IS_STOPPING)
        return found


def _ids(asked: Asked) -> str:
    """Name messages of the quarantine that an order was for."""
    ids = asked.values.get("ids")
    if not isinstance(ids, list) or not all(
        isinstance(each, str) and each.isalnum() for each in ids
    ):
        raise UsageError("expected ids of messages")
    return ", ".join(ids)


def _names(replicas: Iterable[ReplicaState]) -> list[str]:
    return [str(replica.name) for replica in replicas]
