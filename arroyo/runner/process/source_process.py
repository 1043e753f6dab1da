"""A listener's replica: its `start()` in a thread, sending and acknowledgements in the main one."""

from __future__ import annotations

import copy
import logging
from collections.abc import Generator, Iterator, Sequence

import msgspec

from arroyo.codec import Kind
from arroyo.config.state_directory import find_strangers
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import new_epoch, new_run
from arroyo.links.events import LinkBroke, RecordCame
from arroyo.messages import Stop
from arroyo.protocol.recovery.journal import Note
from arroyo.protocol.recovery.replayable import ReplayableSource
from arroyo.protocol.recovery.unclosed_run import NoteCounts, NoteRuns, UnclosedRun
from arroyo.protocol.recovery.volatile import VolatileSource
from arroyo.protocol.values.actions import Action, PutInQuarantine, Release
from arroyo.protocol.values.run_totals import with_totals
from arroyo.runner.assembly import key_field, make_replayable_source, make_source
from arroyo.runner.intake.input_batch import Counts
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.intake.listener_thread import LAST_WAIT_S, ListenerThread
from arroyo.runner.quarantine.requeue import Requeue
from arroyo.runner.quarantine.writer import QuarantineWriter
from arroyo.runner.user_code.loading import build_listener
from arroyo.runner.user_code.methods import call_if_there
from arroyo.stages import AllocatingStage, Awaiter, Listener
from arroyo.telemetry.status_words import Phase

from .source_journal import SourceJournal
from .stage_context import StageContext, Wait

_log = logging.getLogger(__name__)

LINGER_MESSAGES = 4
LINGER_S = 0.001
"""When so many messages came together, the next ones may wait so long for others to join them."""
ORPHAN_DRAIN_S = 5.0
"""A source whose supervisor has died waits so long for what it has sent to be finished; sooner than
`watch.ORPHAN_EXIT_S`, so that it can leave in order."""
ORPHAN_JOIN_S = 1.0
"""The same for the end of its listener's `start()`."""
REPORT_S = 0.2
"""How often the counters are written to the status page while nothing else happens."""


class SourceProcess:
    """Runs a listener from `open()` to `close()`."""

    def __init__(self, replica: StageContext) -> None:
        self._replica = replica
        self._links = replica.links
        self._gateway = InputWindow(
            replica.stage,
            replica.codec,
            key_field(replica.chain, replica.name.stage),
            replica.links.wake,
            Counts(*map(replica.page.word, ("received", "unseen", "run_end"))),
        )
        self._listener = build_listener(replica.chain, replica.stage, self._gateway)
        self._journal: SourceJournal | None = None
        if getattr(self._listener, "replayable", False):
            if replica.stage.delivery != "reliable":
                raise ConfigurationError(
                    f"stages.{replica.stage.name}.delivery: the input of {replica.stage.target} "
                    "can be read again, so that nothing of it needs to be lost; leave delivery out"
                )
            if replica.state is not None:
                folder = replica.state.source(replica.name)
                self._journal = SourceJournal(folder)
                if self._journal.is_new:
                    for stranger in find_strangers(replica.chain, replica.state):
                        _log.warning("%s", stranger)
                self._listener.state_directory = folder
        self._comes_again = self._journal is not None or getattr(
            self._listener, "redelivers", False
        )
        replica.page.set("replayable", int(self._comes_again))
        self._source = self._make_source()
        self._isolation = QuarantineWriter(
            replica.quarantine, replica.chain, replica.name, replica.codec, replica.clock
        )
        self._isolation.counted = replica.page.word("quarantined")
        self._returning = Requeue(replica.chain, replica.name, self._isolation.store, replica.codec)
        self._listening: ListenerThread | None = None
        self._awaiter = Awaiter()
        self._next, self._frontier = map(replica.page.word, ("next", "frontier"))
        self._controls = replica.page.word("controls")
        self._open_run = ""
        self._unnoted = False
        self._sent = 0
        self._finishing = False
        self._linger_until = 0.0
        self._report_due = 0.0
        self._orphaned_at: float | None = None

    def _make_source(self) -> VolatileSource | ReplayableSource:
        replica, early_stop = self._replica, self._gateway.runs.early_stop
        if self._journal is None:
            return make_source(
                replica.chain,
                replica.name,
                epoch=new_epoch(),
                incarnation=replica.incarnation,
                new_run=new_run,
                make_early_stop=early_stop,
                history=replica.history,
            )
        return make_replayable_source(
            replica.chain,
            replica.name,
            memory=copy.copy(self._journal.memory),
            incarnation=replica.incarnation,
            new_run=new_run,
            make_early_stop=early_stop,
            history=replica.history,
        )

    def turns(self) -> Generator[Wait, None, None]:
        """Run until the listener has ended and everything is finished, or a signal says so.

        Yields where it has nothing to do, before it waits at its links. To be closed where it
        shall end at once.

        Raises
        ------
        ArroyoError
            The listener refused to start, or ended with an error.
        """
        replica, listener, awaiter = self._replica, self._listener, self._awaiter
        if isinstance(listener, AllocatingStage):
            listener._on_allocate = replica.payloads.allocate
        replica.enter(Phase.OPEN)
        call_if_there(listener, "open", awaiter)
        try:
            if self._journal is None:
                replica.page.set("epoch", self._source.epoch)
            self._perform(self._source.connect())
            replica.report_ready("listening")
            yield from self._loop(listener)
        finally:
            self._report_at_end()
            replica.enter(Phase.DRAIN)
            self._gateway.shut()
            if self._listening is not None:
                self._listening.stop()
                self._listening.join(ORPHAN_JOIN_S if replica.signals.orphaned else LAST_WAIT_S)
            call_if_there(listener, "close", awaiter)
            awaiter.close()
            if self._journal is not None:
                self._journal.close()
        if self._listening is not None and self._listening.error is not None:
            raise self._listening.error

    def _loop(self, listener: Listener) -> Iterator[Wait]:
        replica, source = self._replica, self._source
        while not source.ended:
            now = replica.clock.monotonic()
            self._leave_if_abandoned(now)
            if self._listening is None and source.ready and not replica.signals.asked:
                replica.tell("everything below is ready; starting to listen")
                self._close_former_runs(now)
                self._listening = ListenerThread(listener, self._awaiter, replica.links.wake)
                self._resume(now)
            if replica.signals.asked and self._listening is not None:
                self._listening.stop()
            self._perform(source.tick(now))
            self._bring_back(now)
            self._send_pending(now)
            if (
                not self._finishing
                and self._is_over()
                and self._gateway.empty
                and (not self._brings_back(now))
            ):
                self._finishing = True
                replica.report_stopping()
                self._perform(self._finish(now))
                continue
            if now >= self._report_due:
                self._report_due = now + REPORT_S
                self._report()
            wait = self._wait(now)
            yield wait
            self._take_what_came(wait)
        self._report()

    def _bring_back(self, now: float, *, at_once: bool = False) -> None:
        """Send what people want back from quarantine, if its turn has come."""
        source = self._source
        if source.ready and not self._finishing and not source.blocked:
            for intake in self._returning.look(now, source.open_runs, at_once=at_once):
                self._perform(source.accept(intake, now))

    def _brings_back(self, now: float) -> bool:
        """Return True while messages from quarantine go before the end of the source."""
        if self._replica.signals.asked:
            return False
        if not self._returning.under_way:
            self._bring_back(now, at_once=True)
        return self._returning.under_way

    def _leave_if_abandoned(self, now: float) -> None:
        """Give up what can't be delivered, once the supervisor is dead and something below away.

        Raises
        ------
        UnavailableError
            It is time to.
        """
        if not self._replica.signals.orphaned:
            return
        self._orphaned_at = now if self._orphaned_at is None else self._orphaned_at
        if now - self._orphaned_at < ORPHAN_DRAIN_S:
            return
        fate = "come again at the next start" if self._comes_again else "are lost"
        raise UnavailableError(
            f"the supervisor has died, and {self._unfinished} messages were not finished within "
            f"{ORPHAN_DRAIN_S:g} s, as stages below are away or slow; these messages {fate}"
        )

    def _close_former_runs(self, now: float) -> None:
        """Tell the stages below what became of the runs that the lives before have left."""
        source, noted = self._source, self._replica.runs
        former = () if noted is None else noted.former
        if not former or not isinstance(source, VolatileSource):
            return
        for run in former:
            if run.stop is None and self._comes_again:
                _log.info("what the life before had not finished comes again in another run")
            elif run.stop is None:
                self._replica.page.add("lost_before", run.lost)
                _tell_loss(run)
        runs = [self._close(run) for run in former]
        self._perform(source.close_former([run for run in runs if run.stop is not None], now))

    def _close(self, run: UnclosedRun) -> UnclosedRun:
        """Make the Stop of a run that had a Start and has none yet."""
        if run.stop is not None or run.start is None:
            return run
        reason = "the source died in mid-run"
        if run.next is None:
            reason += ", and how much it had sent was lost with the run directory"
        totals = run.totals
        if self._comes_again:
            reason += "; what was not finished comes again in another run"
            totals.lost = totals.lost_at_most = 0
        stop = self._replica.codec.encode(with_totals(Stop({"reason": reason}), totals))
        return msgspec.structs.replace(
            run, stop=stop, next=run.base if run.next is None else run.next
        )

    def _resume(self, now: float) -> None:
        """Take up where the life before has ended, if the input can be read again."""
        if isinstance(self._source, ReplayableSource):
            if self._source.open_places:
                _log.info("%d messages were under way; they come again", self._source.open_places)
            self._perform(self._source.resume(now))

    def _finish(self, now: float) -> list[Action]:
        final = self._is_final()
        if isinstance(self._source, ReplayableSource):
            return self._source.finish(now, final=final, resumes=not self._is_input_over())
        return self._source.finish(now, final=final)

    def _note_runs(self, runs: Sequence[UnclosedRun]) -> None:
        """Note which runs the next life would have to close."""
        found = runs[-1].run if runs and runs[-1].next is None else ""
        if found and found != self._open_run:
            self._gateway.look_for_end()
        self._open_run = found
        if self._replica.runs is None or self._replica.state is None:
            return
        try:
            self._replica.runs.note(runs)
        except OSError as error:
            # What the listener has can't be had again: better no note than no source.
            if not self._unnoted:
                _log.warning(
                    "the runs of this source can't be noted: %s; should it die, nobody hears the "
                    "end of the one that is open. Make room on the disk of %s",
                    error.strerror,
                    self._replica.state.former_runs(self._replica.name).parent,
                )
            self._unnoted = True

    def _is_over(self) -> bool:
        """Whether the listener will hand over nothing more."""
        if self._listening is None:
            return self._replica.signals.asked
        return self._listening.ended

    def _is_final(self) -> bool:
        """Whether the stages below shall end as well: the input is over, or all are orphans.

        A listener that was told to stop, or failed, may come back.
        """
        return self._replica.signals.orphaned or self._is_input_over()

    def _is_input_over(self) -> bool:
        failed = self._listening is not None and self._listening.error is not None
        return not self._replica.signals.asked and not failed

    def _send_pending(self, now: float) -> None:
        while not self._source.blocked:
            intake = self._gateway.take(whole=now < self._linger_until)
            if intake is None:
                return
            if len(intake.items) >= LINGER_MESSAGES:
                self._linger_until = now + LINGER_S
            self._sent += len(intake.items) if intake.kind is Kind.EVENTS else 0
            self._replica.page.add("bytes_out", intake.size)
            self._perform(self._source.accept(intake, now))

    def _wait(self, now: float) -> Wait:
        """Go to sleep, and say for how long."""
        deadline = self._source.deadline
        timeout_s = REPORT_S if deadline is None else min(REPORT_S, max(0.0, deadline - now))
        lingers = now < self._linger_until
        if lingers:
            # Whatever comes meanwhile wakes nobody.
            timeout_s = min(timeout_s, self._linger_until - now)
        if not self._source.blocked and not self._gateway.fall_asleep(whole=lingers):
            timeout_s = 0.0
        self._replica.enter(Phase.BLOCKED if self._source.blocked else Phase.IDLE)
        return Wait(timeout_s)

    def _take_what_came(self, wait: Wait) -> None:
        for event in self._links.poll(wait.timeout_s):
            now = self._replica.clock.monotonic()
            if isinstance(event, RecordCame):
                self._replica.note(event.record)
                self._perform(self._source.record(event.record, now))
            elif isinstance(event, LinkBroke):
                self._perform(self._source.disconnected(event.replica, event.link, now))

    def _perform(self, actions: list[Action]) -> None:
        asked: list[PutInQuarantine] = []
        for action in actions:
            if isinstance(action, Release):
                self._gateway.release(action.messages, action.size)
                self._replica.payloads.give_back(action.items)
                self._returning.finish(action.items)
                if self._listening is not None:
                    self._listening.acknowledge(action.tokens)
            elif isinstance(action, Note):
                assert self._journal is not None
                self._journal.note(action.memo)
            elif isinstance(action, NoteRuns):
                self._note_runs(action.runs)
            elif isinstance(action, NoteCounts):
                # On the status page, where the next life finds them.
                self._next[0], self._frontier[0], self._controls[0] = action
            elif isinstance(action, PutInQuarantine):
                asked.append(action)
            else:
                self._links.perform((action,))
        # Behind the rest: what goes out in its place is numbered behind it.
        for action in asked:
            kept = self._isolation.put_item(action, self._replica.decode)
            self._perform(self._source.quarantined(action.suspect, kept=kept))

    def _refused_input(self) -> int:
        """Count what came from outside and could not be taken."""
        # A listener that counts what it rejects counts there what was refused to it as well.
        rejected = getattr(self._listener, "rejected", 0)
        return max(self._gateway.refused, rejected if isinstance(rejected, int) else 0)

    def _report(self) -> None:
        page, gateway = self._replica.page, self._gateway
        page.set("errors", self._replica.rejected)
        page.set("rejected", self._replica.rejected + self._refused_input())
        page.set("bytes_in", gateway.bytes_in)
        page.set("dropped", gateway.dropped)
        page.set("sent", self._sent)
        in_flight = self._source.ledger.next - self._source.ledger.frontier
        page.set("in_flight", in_flight)
        page.set("unfinished", in_flight + gateway.waiting)
        page.set("inline", self._replica.payloads.inline)
        page.set("redelivered", self._source.redelivered)
        page.set("lost", self._source.lost)

    def _report_at_end(self) -> None:
        """Report first of all what is left undone: there may be little time."""
        self._report()
        self._replica.page.set("unfinished", self._unfinished)

    @property
    def _unfinished(self) -> int:
        """How many events the listener has handed over that are not finished."""
        return self._source.ledger.open_events + self._gateway.waiting


def _tell_loss(run: UnclosedRun) -> None:
    if run.next is None:
        _log.warning(
            "the life before died in run %s; how much it had sent was lost with the run directory",
            run.run or "(none)",
        )
    if run.under_way:
        _log.warning(
            "the life before died with %d messages under way: %d to %d of run %s",
            run.under_way,
            run.sent - run.under_way,
            run.sent - 1,
            run.run or "(none)",
        )
    if run.unsent or run.unseen:
        _log.warning(
            "the life before died with %d messages that had not left, or up to %d, of run %s",
            run.unsent,
            run.unsent + run.unseen,
            run.run or "(none)",
        )
