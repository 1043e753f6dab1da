"""A listener's replica: its `start()` in a thread, sending and acknowledgements in the main one."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator

from arroyo.codec import Kind
from arroyo.errors import UnavailableError
from arroyo.links.link_events import BackRecordReceived, LinkBroken
from arroyo.protocol.values.actions import Action, Persist, PutInQuarantine, Release
from arroyo.runner.assembly.topology import key_field
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.intake.listener_thread import LAST_WAIT_S, ListenerThread
from arroyo.runner.intake.window_counts import Counts
from arroyo.runner.process.stage_context import StageContext, Wait
from arroyo.runner.quarantine.requeue import Requeue
from arroyo.runner.quarantine.writer import QuarantineWriter
from arroyo.runner.user_code.loading import build_listener
from arroyo.runner.user_code.methods import StageMethods
from arroyo.telemetry.status_words import Phase

from .input_recovery import make_recovery
from .source_status import STATUS_S, SourceStatus

LINGER_MESSAGES = 4
LINGER_S = 0.001
"""When so many messages came together, the next ones may wait so long for others to join them."""
BUSY_LINGER_S = 0.005
"""So may any while much is under way: one that has others before it mostly comes no later for that,
and what travels together costs less."""
ORPHAN_DRAIN_S = 5.0
"""A source whose supervisor has died waits so long for what it has sent to be finished; sooner than
`watch.ORPHAN_EXIT_S`, so that it can leave in order."""
ORPHAN_JOIN_S = 1.0
"""A source whose supervisor has died waits so long for the end of its listener's `start()`."""


class SourceProcess:
    """Runs a listener from `open()` to `close()`.

    It has an *input window*, into which the listener's thread hands over; a *recovery*, which makes
    the state machine from what the life before has left and keeps what the next one has to know;
    and a *status*.
    """

    def __init__(self, replica: StageContext) -> None:
        self._replica = replica
        self._links = replica.links
        replica.codec.give_back = replica.payloads.give_back
        self._window = InputWindow(
            replica.stage,
            replica.codec,
            key_field(replica.chain, replica.name.stage),
            replica.links.wake,
            Counts(*map(replica.page.word, ("received", "unseen", "run_end"))),
        )
        self._listener = build_listener(replica.chain, replica.stage, self._window)
        self._recovery = make_recovery(replica, self._listener, self._window)
        replica.page.set("replayable", int(self._recovery.comes_again))
        self._source = self._recovery.source
        self._quarantine = QuarantineWriter(
            replica.quarantine, replica.chain, replica.name, replica.codec, replica.clock
        )
        self._quarantine.counted = replica.page.word("quarantined")
        if (have_kept := getattr(self._listener, "have_refused_kept", None)) is not None:
            have_kept(self._quarantine.put_input)
        self._requeue = Requeue(replica.chain, replica.name, replica.quarantine, replica.codec)
        self._status = SourceStatus(replica, self._listener, self._window, self._source)
        self._orphaned_at: float | None = None
        self._listening: ListenerThread | None = None
        self._methods = StageMethods(self._listener)
        self._finishing = False
        self._linger_until = 0.0

    def steps(self) -> Generator[Wait, None, None]:
        """Run until the listener has ended and everything is finished, or a signal says so."""
        replica = self._replica
        replica.serve(self._listener)
        replica.enter(Phase.OPEN)
        with contextlib.ExitStack() as closing:
            closing.callback(self._recovery.close)
            closing.enter_context(self._methods.opened(replica.parameters.first))
            closing.callback(self._leave)
            self._recovery.note_open()
            self._perform(self._source.connect())
            replica.report_ready("listening")
            yield from self._loop()
            if self._listening is not None and self._listening.error is not None:
                raise self._listening.error
            replica.is_done = True

    def _leave(self) -> None:
        """Have the listener's thread end, before its `close()`."""
        self._status.write_last()  # first of all: there may be little time
        self._replica.enter(Phase.DRAIN)
        self._window.shut()
        if self._listening is not None:
            self._listening.stop()
            orphaned = self._replica.signals.orphaned
            self._listening.join(ORPHAN_JOIN_S if orphaned else LAST_WAIT_S)

    # The loop

    def _loop(self) -> Iterator[Wait]:
        source, signals = self._source, self._replica.signals
        while not source.ended:
            now = self._replica.clock.monotonic()
            if signals.orphaned:
                self._give_up_if_due(now)
            if self._listening is None and not signals.asked:
                self._start_if_ready(now)
            if signals.asked and self._listening is not None:
                self._listening.stop()
            self._perform(source.tick(now))
            self._bring_back(now)
            self._take_parameters(now)
            self._send_pending(now)
            if not self._finishing and self._has_all(now):
                self._finish(now)
                continue
            self._status.write_if_due(now)
            wait = self._wait(now)
            yield wait
            self._take_what_came(wait)
        self._status.write()

    def _take_parameters(self, now: float) -> None:
        """Have the listener take what somebody has set, beside its own thread."""
        parameters = self._replica.parameters
        if (note := parameters.look(now)) is not None:
            self._replica.enter(Phase.PARAMETERS)
            parameters.take(note, self._methods.set_parameters)

    def _give_up_if_due(self, now: float) -> None:
        """Leave without a supervisor where what is below is away or slow."""
        self._orphaned_at = now if self._orphaned_at is None else self._orphaned_at
        if now - self._orphaned_at < ORPHAN_DRAIN_S:
            return
        fate = "come again at the next start" if self._recovery.comes_again else "are lost"
        raise UnavailableError(
            f"the supervisor has died, and {self._status.unfinished} messages were not finished "
            f"within {ORPHAN_DRAIN_S:g} s, as stages below are away or slow; these messages {fate}"
        )

    def _start_if_ready(self, now: float) -> None:
        if not self._source.ready:
            self._source.excuse(self._replica.away())
        if not self._source.ready:
            return
        self._replica.tell("everything below is ready; starting to listen")
        self._perform(self._recovery.close_former(now))
        self._listening = ListenerThread(self._listener, self._methods, self._replica.links.wake)
        self._perform(self._recovery.resume(now))

    def _send_pending(self, now: float) -> None:
        while not self._source.blocked:
            batch = self._window.take(whole=now < self._linger_until)
            if batch is None:
                return
            if len(batch.items) >= LINGER_MESSAGES:
                self._linger_until = now + LINGER_S
            elif self._window.room.is_busy:
                self._linger_until = now + BUSY_LINGER_S
            self._status.sent += len(batch.items) if batch.kind is Kind.EVENTS else 0
            self._replica.page.add("bytes_out", batch.size)
            self._perform(self._source.accept(batch, now))

    def _wait(self, now: float) -> Wait:
        """Go to sleep, and say for how long."""
        deadline = self._source.deadline
        timeout_s = STATUS_S if deadline is None else min(STATUS_S, max(0.0, deadline - now))
        lingers = now < self._linger_until
        if lingers:
            # Whatever comes meanwhile wakes nobody.
            timeout_s = min(timeout_s, self._linger_until - now)
        if not self._source.blocked and not self._window.fall_asleep(whole=lingers):
            timeout_s = 0.0
        blocked = self._source.blocked or self._window.is_full
        self._replica.enter(Phase.BLOCKED if blocked else Phase.IDLE)
        return Wait(timeout_s)

    def _take_what_came(self, wait: Wait) -> None:
        for event in self._links.poll(wait.timeout_s):
            now = self._replica.clock.monotonic()
            if isinstance(event, BackRecordReceived):
                self._replica.note(event.record)
                self._perform(self._source.record(event.record, now))
            elif isinstance(event, LinkBroken):
                self._perform(self._source.disconnected(event.replica, event.link, now))

    def _perform(self, actions: Iterable[Action]) -> None:
        """Carry actions out, in order."""
        asked: list[PutInQuarantine] = []
        for action in actions:
            if isinstance(action, Release):
                self._replica.enter(Phase.IDLE)  # it gets on, and so it isn't held up
                self._window.release(action.messages, action.size)
                self._replica.payloads.give_back(action.items)
                self._requeue.finish(action.items)
                if self._listening is not None:
                    self._listening.acknowledge(action.tokens)
            elif isinstance(action, Persist):
                self._recovery.keep(action)
            elif isinstance(action, PutInQuarantine):
                asked.append(action)
            else:
                if self._replica.tap.is_open:
                    self._replica.tap.send(action)
                self._links.perform((action,))
        # Behind the rest: what goes out in its place is numbered behind it.
        for action in asked:
            kept = self._quarantine.put_item(action, self._replica.decode)
            self._perform(self._source.quarantined(action.suspect, kept=kept))

    # What people want back from quarantine

    def _bring_back(self, now: float, *, at_once: bool = False) -> None:
        """Send it, if its turn has come."""
        source = self._source
        if source.ready and not self._finishing and not source.blocked:
            for batch in self._requeue.look(now, source.open_runs, at_once=at_once):
                self._perform(source.accept(batch, now))

    def _brings_back(self, now: float) -> bool:
        """Return True while such messages go before the end of the source."""
        if self._replica.signals.asked:
            return False
        if not self._requeue.in_flight:
            self._bring_back(now, at_once=True)
        return self._requeue.in_flight

    # The end

    def _has_all(self, now: float) -> bool:
        """Return True once nothing more will be handed over, and nothing waits to be sent."""
        listening = self._listening
        is_over = self._replica.signals.asked if listening is None else listening.ended
        return is_over and self._window.empty and not self._brings_back(now)

    def _finish(self, now: float) -> None:
        """Have the machine end when all is finished: for good, or for this life only.

        For good where the input is over; a listener that was told to stop, or failed, may come
        back. The stages below end with it then, and so they do where all are orphans.
        """
        self._finishing = True
        self._replica.report_stopping()
        failed = self._listening is not None and self._listening.error is not None
        is_input_over = not self._replica.signals.asked and not failed
        final = self._replica.signals.orphaned or is_input_over
        resumes = self._recovery.resumes and not is_input_over
        self._perform(self._source.finish(now, final=final, resumes=resumes))
