"""`ParameterOrders`: parameters that people set while the chain runs.

An order is settled when every process of its stage that is READY has taken it. If one refuses, or
ends before it has taken it, all go back to what was. Orders for one stage wait for each other, so
the last one wins, and each gets a true answer. What is settled holds for new processes as well, and
ends with this supervisor: then the chain file is the truth again.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from arroyo.config.graph import Chain
from arroyo.config.parameters import change_problems, say_all
from arroyo.config.suggestions import did_you_mean
from arroyo.control.parameter_note import ParameterNote, write_parameters
from arroyo.control.request_server import Asked
from arroyo.errors import UsageError
from arroyo.identifiers import ReplicaName

from .decisions import events as ev

ORDERS_MAX = 16
"""Orders for one stage that may wait for each other."""
OUTCOMES = 64
"""Latest orders whose outcome is known."""


class Teller(Protocol):
    """Tells people what has become of an order."""

    def note_set(self, stage: str, values: str, by: str) -> None:
        """Say that parameters of a stage have been set."""
        ...

    def note_refusal(self, order: str, by: str, reason: str) -> None:
        """Say that an order was refused."""
        ...


class _Order(NamedTuple):
    number: int
    values: dict[str, Any]
    by: str


class Outcome(NamedTuple):
    """What became of an order."""

    refusal: str = ""
    """Why nothing was set; empty: it was."""
    may_pass: bool = False
    """Whether the same order may succeed later."""


class _StageParameters:
    """The parameters of one stage."""

    def __init__(self, declared: dict[str, Any]) -> None:
        self.declared = declared
        self.settled: dict[str, Any] = {}
        self.dropped: dict[str, Any] = {}
        """What was settled before the last version of the chain file, which changes it."""
        self.number = 0
        """That of the note."""
        self.by: dict[str, str] = {}
        """Who has set each of them."""
        self.orders: deque[_Order] = deque()
        """The first is under way."""
        self.waits_for: set[ReplicaName] = set()

    @property
    def shown(self) -> dict[str, Any]:
        """Each parameter: value, the one of the chain file, and who has set it."""
        present = self.declared | self.settled
        by = {name: self.by[name] for name in self.settled}
        return {
            name: {"value": present[name], "file": value, "by": by.get(name)}
            for name, value in self.declared.items()
        }


class ParameterOrders:
    """Takes orders, and what processes report."""

    def __init__(
        self,
        chain: Chain,
        ready: Callable[[str], Iterable[ReplicaName]],
        note_of: Callable[[str], Path],
        teller: Teller,
    ) -> None:
        self._chain, self._former = chain, chain
        self._stages = {
            name: _StageParameters(stage.parameters) for name, stage in chain.stages.items()
        }
        self._ready = ready
        self._note_of = note_of
        self._teller = teller
        self._numbers = itertools.count(1)
        self._outcomes: dict[int, Outcome] = {}
        for name in self._stages:  # an earlier supervisor may have left other values
            note_of(name).unlink(missing_ok=True)

    @property
    def shown(self) -> dict[str, Any]:
        """All parameters by stage, as `arroyo status --json` has them."""
        return {name: stage.shown for name, stage in self._stages.items() if stage.declared}

    def use(self, chain: Chain) -> None:
        """Go on with another version of the chain file: what it changes is as it says there.

        Where that version is taken back, what was set before holds again.
        """
        is_taken_back = chain is self._former
        self._chain, self._former = chain, self._chain
        for name, stage in self._stages.items():
            former, stage.declared = stage.declared, chain.stages[name].parameters
            restored, stage.dropped = stage.dropped if is_taken_back else {}, {}
            if stage.declared == former:
                continue
            while stage.orders:
                self._give_up(name, "the chain file was reloaded meanwhile")
            for key in [key for key in stage.settled if stage.declared.get(key) != former[key]]:
                stage.dropped[key] = stage.settled.pop(key)
            stage.settled |= restored
            # For processes that start: by the same number, those that run keep what they have.
            self._write_settled(name, stage.number)

    def show(self, asked: Asked) -> dict[str, Any]:
        """Return the parameters of a stage, and what became of the latest orders."""
        stage = self._find(asked.target)
        return {
            "parameters": stage.shown,
            "outcomes": {str(number): outcome for number, outcome in self._outcomes.items()},
            "waits_for": sorted(map(str, stage.waits_for)),
        }

    def order(self, asked: Asked) -> dict[str, int]:
        """Begin to set parameters; return the number by which `show` tells of the outcome."""
        stage = self._find(asked.target)
        if problems := list(change_problems(stage.declared, asked.values)):
            raise UsageError("; ".join(problems))
        if len(stage.orders) == ORDERS_MAX:
            names = ", ".join(sorted(map(str, stage.waits_for)))
            raise UsageError(f"{ORDERS_MAX} orders wait for {names}; try again later")
        number = next(self._numbers)
        stage.orders.append(_Order(number, dict(asked.values), asked.by))
        if len(stage.orders) == 1:
            self._begin(asked.target)
        return {"number": number}

    def hear(self, event: ev.ReplicaEvent | ev.ParametersTaken) -> None:
        """Take note of what a process reports, and of its end."""
        name = event.replica
        stage = self._stages[name.stage]
        if name not in stage.waits_for:
            return
        match event:
            case ev.ParametersTaken(_, number, refusal) if number == stage.orders[0].number:
                if refusal:
                    self._give_up(name.stage, f"{name} refuses: {refusal}")
                else:
                    self._tick_off(name)
            case ev.Stopping():  # it takes no more orders
                self._tick_off(name)
            case ev.ProcessEnded():  # perhaps it has died of what it was to take
                self._give_up(name.stage, f"{name} ended before it had taken it")

    def _tick_off(self, name: ReplicaName) -> None:
        """Wait for this process no more."""
        waits_for = self._stages[name.stage].waits_for
        waits_for.remove(name)
        if not waits_for:
            self._settle(name.stage)

    def _find(self, target: str) -> _StageParameters:
        if target not in self._stages:
            meant = did_you_mean(target, self._stages)
            raise UsageError(
                f"the running chain has no stage {target!r}{meant}; "
                "parameters are the same in all processes of a stage"
            )
        if not self._stages[target].declared:
            raise UsageError(
                f"stage {target} has no parameters; name them in the chain file, as in "
                f"stages.{target}.parameters = {{ threshold = 500 }}"
            )
        return self._stages[target]

    def _begin(self, name: str) -> None:
        """Have the first order carried out."""
        stage = self._stages[name]
        order = stage.orders[0]
        stage.waits_for = set(self._ready(name))
        note = ParameterNote(order.number, stage.settled | order.values, stage.settled)
        try:
            write_parameters(self._note_of(name), note)
        except OSError as error:
            reason = f"the run directory takes no note of it: {error.strerror}"
            self._give_up(name, reason, may_pass=True)
            return
        if not stage.waits_for:
            self._settle(name)

    def _settle(self, name: str) -> None:
        stage = self._stages[name]
        order = stage.orders[0]
        stage.settled = stage.settled | order.values
        stage.by.update(dict.fromkeys(order.values, order.by))
        self._write_settled(name, order.number)
        self._teller.note_set(name, say_all(order.values), order.by)
        self._end(name, Outcome())

    def _give_up(self, name: str, reason: str, *, may_pass: bool = False) -> None:
        order = self._stages[name].orders[0]
        reason += "; the old values stay"
        self._write_settled(name, next(self._numbers))
        self._teller.note_refusal(f"set {name} {say_all(order.values)}", order.by, reason)
        self._end(name, Outcome(reason, may_pass))

    def _write_settled(self, name: str, number: int) -> None:
        self._stages[name].number = number
        settled = self._stages[name].settled
        with contextlib.suppress(OSError):  # what is there says the same, but for new processes
            write_parameters(self._note_of(name), ParameterNote(number, settled, settled))

    def _end(self, name: str, outcome: Outcome) -> None:
        stage = self._stages[name]
        self._outcomes[stage.orders.popleft().number] = outcome
        if len(self._outcomes) > OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
        stage.waits_for = set()
        if stage.orders:
            self._begin(name)
