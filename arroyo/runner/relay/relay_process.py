"""`RelayProcess`: a replica with stages above: one thread takes, works, sends and acknowledges.

While the stage's code works, another one does what can't wait; see `link_thread`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, cast

from arroyo.codec import End
from arroyo.links.link_events import DataReceived
from arroyo.protocol.values.deliveries import Delivery
from arroyo.runner.process.stage_context import StageContext, Wait
from arroyo.telemetry.latencies import Latencies
from arroyo.telemetry.status_words import Phase

from .batch_progress import Advice
from .batch_worker import BatchWorker
from .current_batch import CurrentBatch
from .flusher import Flusher
from .incoming_batches import IncomingBatches
from .link_thread import LinkThread, NoLinkThread
from .neighbours import Neighbours
from .relay_status import STATUS_S, RelayStatus
from .retrying_caller import RetryingCaller
from .role import Equipment, Role, equip, make_role
from .running_clock import RunningClock

if TYPE_CHECKING:
    from arroyo.protocol.relay.relay import Relay

_log = logging.getLogger(__name__)

LEAVE_S = 2.0
"""A stage that leaves waits so long for replicas above, counted from the last thing that came."""
ORPHAN_LEAVE_S = 4.0
"""The same for a stage whose supervisor has died, which waits for the sources to end."""
LOOK_S = 0.002
"""While results wait for a batch that takes long, it is looked at so often."""
DOUBT_LOOK_S = 0.001
TURN_S = 0.05
"""What waits in the sockets is worked on for so long before the loop looks what else is due."""
IDLE_LOOK_S = 0.05
"""How often the links are looked after while the stage's code stays with one message."""


class RelayProcess:
    """Runs an operator or publisher from `open()` to `close()`.

    It has a *role* (what differs between an operator, a publisher and an operator that folds), and
    parts: `IncomingBatches` reads what comes, `BatchWorker` has the code work on it, `Neighbours`
    talks with the stages above and below, `Flusher` and `RelayStatus` are called when they are due.
    """

    def __init__(self, replica: StageContext, made: Any) -> None:
        self._replica = replica
        self._made = made
        self._links = replica.links
        self._flusher: Flusher | None = None
        self._last_came = 0.0

    def steps(self) -> Generator[Wait, None, None]:
        """Run until all inputs have ended, or a signal says so, and everything is sent."""
        replica, made = self._replica, self._made
        replica.serve(made)
        replica.enter(Phase.OPEN)
        equipment = equip(replica)
        role = make_role(equipment, made)
        with contextlib.ExitStack() as closing:
            closing.enter_context(role.call.methods.opened(replica.parameters.first))
            self._machine = role.make_machine()
            closing.callback(role.close)
            closing.callback(replica.enter, Phase.DRAIN)
            self._assemble(equipment, role, closing)
            self._machine.receiver.resume(replica.link_places.take())
            self._neighbours.perform(self._machine.connect())
            replica.report_ready("working")
            yield from self._loop()
            self.flush()
            replica.link_places.leave(self._machine.receiver.places)
            replica.is_done = True

    def _assemble(self, equipment: Equipment, role: Role, closing: contextlib.ExitStack) -> None:
        """Make the parts; `closing` gets what to do at the end, however it ends."""
        replica, machine = self._replica, self._machine
        self._role = role
        self._status = RelayStatus(equipment, role, machine)
        closing.callback(self._status.write)
        link_thread = NoLinkThread() if replica.shares_thread else LinkThread(self._look)
        running = RunningClock()
        closing.callback(running.close)
        closing.callback(link_thread.close)
        flushing = role.flushing
        latencies = Latencies(
            replica.page.histogram("latency"),
            replica.page.histogram("hop"),
            flushes=flushing is not None,
            comparable=replica.chain.on_one_host,
        )
        self._neighbours = Neighbours(replica, machine, role)
        perform = self._neighbours.perform
        caller = self._caller = RetryingCaller(replica, link_thread, equipment.reader.restore)
        current_batch = CurrentBatch(equipment.reader, replica.payloads, equipment.kept_views)
        if flushing is not None:
            self._flusher = Flusher(
                replica,
                flushing,
                cast("Relay", machine),
                caller,
                perform,
                counters=equipment.counters,
                latencies=latencies,
            )
        self._worker = BatchWorker(
            equipment,
            role,
            machine,
            current_batch,
            caller,
            latencies=latencies,
            running=running,
            perform=perform,
            look_after=self._look_after_all,
            write_status=self._status.write,
        )
        self._incoming = IncomingBatches(
            equipment,
            machine,
            current_batch,
            self._worker,
            neighbours=self._neighbours,
            status=self._status,
        )

    # The loop

    def _loop(self) -> Iterator[Wait]:
        replica, receiver = self._replica, self._machine.receiver
        leaving = False
        self._last_came = replica.clock.monotonic()
        while not self._is_over(leaving):
            if replica.signals.asked and not leaving:
                leaving = True
                replica.report_stopping()
                if not replica.signals.orphaned:
                    self._neighbours.perform(receiver.leave())
                continue
            now = replica.clock.monotonic()
            self._tick(now)
            if self._flusher is not None:
                self._flusher.flush_if_due(now)
            self._take_parameters(now)
            self._do_what_is_due(now)
            yield from self._wait(now)
        if not leaving:
            replica.report_stopping()
        self.flush()
        self.send_replies()
        yield from self._drain(final=receiver.inputs_finished)

    def _is_over(self, leaving: bool) -> bool:
        receiver = self._machine.receiver
        if self._machine.blocked:
            return False
        if receiver.inputs_finished:
            return True
        if not leaving:
            return False
        silent_s = self._replica.clock.monotonic() - self._last_came
        if self._replica.signals.orphaned:
            # The sources drain as well: wait for their End, but not for one that is dead.
            return silent_s > ORPHAN_LEAVE_S
        return receiver.inputs_left or silent_s > LEAVE_S

    def _drain(self, *, final: bool) -> Iterator[Wait]:
        """Say End below, and wait until all that was sent has been taken up."""
        self._neighbours.perform(self._machine.end(final=final))
        while not self._machine.ended:
            now = self._replica.clock.monotonic()
            if self._replica.signals.orphaned and now - self._last_came > ORPHAN_LEAVE_S:
                _log.warning("%d messages are not finished below", self._machine.in_flight)
                break
            self._tick(now)
            self._do_what_is_due(now)
            yield from self._wait(now)
        self._status.write()

    def _tick(self, now: float) -> None:
        actions, deliveries = self._machine.tick(now)
        self._neighbours.perform(actions)
        for delivery in deliveries:
            self._take(delivery)

    def _wait(self, now: float) -> Iterator[Wait]:
        blocked = self._machine.blocked
        self._replica.enter(Phase.BLOCKED if blocked else Phase.IDLE)
        wait = Wait(self._time_left(now), deaf=blocked)
        yield wait
        self._take_what_came(wait)

    def _time_left(self, now: float) -> float:
        """Return how long nothing is due, in s."""
        until = now + STATUS_S
        flush_due = None if self._flusher is None else self._flusher.due
        for due in (self._machine.deadline, flush_due, self._neighbours.replies.deadline):
            if due is not None and due < until:
                until = due
        return max(0.0, until - now)

    def _take_what_came(self, wait: Wait) -> None:
        machine, neighbours = self._machine, self._neighbours
        clock = self._replica.clock
        until = None
        for event in self._links.poll(wait.timeout_s, deaf=wait.deaf):
            now = clock.monotonic()
            until = until or now + TURN_S
            if not isinstance(event, DataReceived):
                neighbours.take(event, now)
                continue
            self._last_came = now
            actions, deliveries = machine.record(event.record, event.frames, now)
            if actions:
                neighbours.perform(actions)
            for delivery in deliveries:
                self._take(delivery)
            if isinstance(event.record, End) or neighbours.replies.is_due(now):
                # After the messages have gone on; and who leaves waits for the last credit.
                neighbours.send_replies()
            if machine.blocked or self._replica.signals.asked or clock.monotonic() > until:
                return  # the rest comes next time

    def _take(self, delivery: Delivery) -> None:
        self._incoming.take(delivery)
        if self._flusher is not None:
            self._flusher.note_published()

    # What is due

    def _do_what_is_due(self, now: float) -> None:
        self._tell_what_is_due(now)
        for actions in self._role.due(now):
            self._neighbours.perform(actions)

    def _tell_what_is_due(self, now: float) -> None:
        self._incoming.report_loss(now)
        if self._neighbours.replies.is_due(now):
            self._neighbours.send_replies()
        self._status.write_if_due(now)

    def _take_parameters(self, now: float) -> bool:
        """Have the stage's code take what somebody has set; return whether it was called."""
        parameters = self._replica.parameters
        note = parameters.look(now)
        if note is not None:
            set_them = self._role.call.methods.set_parameters
            self._replica.enter(Phase.PARAMETERS)
            self._caller.call(lambda _: parameters.take(note, set_them))
        return note is not None

    def flush(self) -> bool:
        """Flush what was published; return False if nothing was, or needs it."""
        return self._flusher is not None and self._flusher.flush()

    def send_replies(self) -> bool:
        """Say to those above what is taken and finished; return False if there was nothing."""
        return self._neighbours.send_replies()

    # While the stage's code works

    def _look(self, first: bool) -> float:
        """Do what can't wait until the stage's code returns; in the link thread."""
        now = self._replica.clock.monotonic()
        advice = self._worker.look(now)
        if advice is Advice.DOUBT:
            return DOUBT_LOOK_S
        if advice is Advice.TAKE and not first:
            self._look_after(now)
        soon = self._machine.blocked or self._worker.has_results_waiting
        next_s = LOOK_S if soon else IDLE_LOOK_S
        due = self._neighbours.replies.deadline
        return next_s if due is None else min(next_s, max(0.001, due - now))

    def _look_after(self, now: float) -> None:
        """Hear those below, and say what is due, in the midst of a batch."""
        self._neighbours.hear_those_below(now)
        self._tell_what_is_due(now)

    def _look_after_all(self) -> None:
        """The same between two messages, where the stage's code can be called."""
        now = self._replica.clock.monotonic()
        self._look_after(now)
        called = self._take_parameters(now)
        if self._flusher is not None:
            self._flusher.note_published()
            called |= self._flusher.flush_if_due(self._replica.clock.monotonic())
        if called:
            self._replica.enter(Phase.PROCESS)
