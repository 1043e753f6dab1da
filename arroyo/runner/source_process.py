"""A listener's replica: its `start()` in a thread, sending and acknowledgements in the main one."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from arroyo.codec import Kind
from arroyo.identifiers import new_epoch, new_run
from arroyo.links import LinkBroke, RecordCame
from arroyo.messages import Stop
from arroyo.protocol.actions import Action, Release
from arroyo.protocol.status_page import Phase
from arroyo.stages import Listener

from .former_life import OpenRun, note_open_run
from .gateway import Gateway
from .listening import Listening, call_if_there
from .loading import build_listener
from .replica import Replica
from .wiring import key_field, make_source

_log = logging.getLogger(__name__)

REPORT_S = 0.2
"""How often the counters are written to the status page while nothing else happens."""


class SourceProcess:
    """Runs a listener from `open()` to `close()`."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._links = replica.links
        self._gateway = Gateway(
            replica.stage,
            replica.encode,
            key_field(replica.chain, replica.name.stage),
            replica.links.wake,
        )
        self._source = make_source(
            replica.chain,
            replica.name,
            epoch=new_epoch(),
            incarnation=replica.incarnation,
            new_run=new_run,
            make_early_stop=self._gateway.early_stop,
        )
        self._listening: Listening | None = None
        self._open_run: tuple[str, int] | None = None
        self._sent = 0

    def run(self) -> None:
        """Run until the listener has ended and everything is finished, or a signal says so.

        Raises
        ------
        ArroyoError
            The listener refused to start, or ended with an error.
        """
        replica = self._replica
        listener = build_listener(replica.chain, replica.stage, self._gateway)
        replica.enter(Phase.OPEN)
        call_if_there(listener, "open")
        try:
            replica.page.set("epoch", self._source.epoch)
            self._perform(self._source.connect())
            replica.report_ready("listening")
            self._loop(listener)
        finally:
            self._gateway.shut()
            if self._listening is not None:
                self._listening.stop()
                self._listening.join()
            call_if_there(listener, "close")
        if self._listening is not None and self._listening.error is not None:
            raise self._listening.error

    def _loop(self, listener: Listener) -> None:
        replica, source = self._replica, self._source
        finishing = False
        while not source.ended:
            now = replica.clock.monotonic()
            if self._listening is None and source.ready and not replica.signals.asked:
                _log.info("everything below is ready; starting to listen")
                self._close_former_run()
                self._listening = Listening(listener, replica.links.wake)
            if replica.signals.asked and self._listening is not None:
                self._listening.stop()
            self._perform(source.tick(now))
            self._send_pending(now)
            if not finishing and self._is_over() and self._gateway.empty:
                finishing = True
                replica.report_stopping()
                self._perform(source.finish(now, final=self._is_final()))
                continue
            self._report()
            self._take_what_came(now)
        self._report()

    def _close_former_run(self) -> None:
        """Tell the stages below what became of the run in which the life before this one died."""
        former = self._replica.former_run
        if former is None:
            return
        page = self._replica.page
        page.set("lost", former.lost)
        if former.lost:
            _log.warning(
                "the life before died with %d messages under way: %d to %d of run %s",
                former.lost,
                former.next - former.base - former.lost,
                former.next - former.base - 1,
                former.run or "(none)",
            )
        if former.run:
            reason = "the source died in mid-run"
            stop = Stop({"reason": reason, "totals": former.totals})
            self._perform(self._source.close_former(former, self._replica.codec.encode(stop)))
            note_open_run(self._replica.page_path, None)

    def _note_progress(self) -> None:
        """Keep on the status page what the next life would have to know."""
        ledger, page = self._source.ledger, self._replica.page
        page.set("frontier", ledger.frontier)
        page.set("next", ledger.next)
        found = self._source.open_run
        if found != self._open_run:
            self._open_run = found
            run = None if found is None else OpenRun(found[0], self._source.epoch, found[1])
            note_open_run(self._replica.page_path, run)

    def _is_over(self) -> bool:
        """Whether the listener will hand over nothing more."""
        if self._listening is None:
            return self._replica.signals.asked
        return self._listening.ended

    def _is_final(self) -> bool:
        """Whether the stages below shall end as well: the input is over, or all are orphans.

        A listener that was told to stop, or failed, may come back.
        """
        signals = self._replica.signals
        failed = self._listening is not None and self._listening.error is not None
        return signals.orphaned or (not signals.asked and not failed)

    def _send_pending(self, now: float) -> None:
        while not self._source.blocked:
            intake = self._gateway.take()
            if intake is None:
                return
            self._sent += len(intake.items) if intake.kind is Kind.EVENTS else 0
            self._replica.page.add("bytes_out", intake.size)
            self._perform(self._source.accept(intake, now))

    def _take_what_came(self, now: float) -> None:
        deadline = self._source.deadline
        timeout_s = REPORT_S if deadline is None else min(REPORT_S, max(0.0, deadline - now))
        if not self._source.blocked and not self._gateway.fall_asleep():
            timeout_s = 0.0
        self._replica.enter(Phase.BLOCKED if self._source.blocked else Phase.IDLE)
        for event in self._links.poll(timeout_s):
            now = self._replica.clock.monotonic()
            if isinstance(event, RecordCame):
                self._replica.note(event.record)
                self._perform(self._source.record(event.record, now))
            elif isinstance(event, LinkBroke):
                self._perform(self._source.disconnected(event.replica, event.link, now))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Release):
                self._gateway.release(action.messages, action.size)
                self._replica.payloads.give_back(action.items)
                if self._listening is not None:
                    self._listening.acknowledge(action.tokens)
            else:
                # Before it leaves: what arrives has to be known to the next life.
                self._note_progress()
                self._links.perform((action,))

    def _report(self) -> None:
        self._note_progress()
        page, gateway = self._replica.page, self._gateway
        page.set("received", gateway.received)
        page.set("errors", self._replica.rejected)
        page.set("bytes_in", gateway.bytes_in)
        page.set("dropped", gateway.dropped)
        page.set("sent", self._sent)
        page.set("in_flight", self._source.ledger.next - self._source.ledger.frontier)
        page.set("inline", self._replica.payloads.inline)
        page.set("redelivered", self._source.redelivered)
