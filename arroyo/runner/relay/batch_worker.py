"""`BatchWorker`: has a stage's code work through batches, and sends on what comes of them.

A batch goes on whole where the code is quick. Where it is slow, parts of it go on earlier: the code
is left between two messages for it, or the link thread sends them on while the code stays with one
message (decision 24). Where several stages share a thread, batches are worked on in small parts, so
that the others have their turns (decision 30).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from arroyo.codec import Batch, Kind
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.deliveries import Outcome, Work
from arroyo.shared_memory.kept_views import Loan
from arroyo.telemetry.latencies import Latencies

from .batch_progress import Advice, BatchProgress
from .current_batch import CurrentBatch
from .pace import make_pace
from .retrying_caller import RetryingCaller
from .role import Equipment, Machine, Role
from .running_clock import RunningClock

MANY = 64
"""A batch of fewer messages is worked on one by one where others have to have their turns."""


class BatchWorker:
    """Works on one batch at a time.

    Parameters
    ----------
    running
        The clock by which a batch is slow; made in the thread that calls the code.
    look_after
        Does what is due between two parts of a batch.
    write_status
        Shows on the status page what has gone on: a stage that is killed in the midst of a batch
        leaves that to the account at the end.
    """

    def __init__(
        self,
        equipment: Equipment,
        role: Role,
        machine: Machine,
        current_batch: CurrentBatch,
        caller: RetryingCaller,
        *,
        latencies: Latencies,
        running: RunningClock,
        perform: Callable[[Iterable[Action]], None],
        look_after: Callable[[], None],
        write_status: Callable[[], None],
    ) -> None:
        replica = self._replica = equipment.replica
        self._current_message = equipment.current_message
        self._role = role
        self._machine = machine
        self._current_batch = current_batch
        self._caller = caller
        self._latencies = latencies
        self._running = running
        self._perform = perform
        self._look_after = look_after
        self._write_status = write_status
        self._hand_since = replica.page.word("hand_since_ns")
        self._begun_ns = 0
        self._way: BatchProgress | None = None
        """The batch, while the code works on it."""
        self._pace = make_pace(takes_lists=role.call.takes_lists)

    @property
    def message_s(self) -> float:
        """How long one message takes, in s, as those above are told."""
        return self._pace.message_s

    def work_off(self, batch: Batch, work: Sequence[Work]) -> None:
        """Have the stage's code work, and send on what comes of it; what can wait comes after."""
        count, begun_ns = len(work), self._replica.now_ns()
        self._begun_ns = begun_ns
        if batch.returned is None:
            way, outcomes = self._work_through(batch, work, begun_ns)
        else:
            batch, way, outcomes = self._work_on_returned(batch, work, begun_ns)
        done_ns = self._replica.now_ns()
        self._replica.history.now = done_ns / 1e9
        if batch.kind == Kind.EVENTS and count:
            self._pace.note(count, (done_ns - begun_ns) / 1e9)
        if way is not None:
            batch, work = way.batch, way.work
        # Not after an error: who asks why the stage ended finds the message still in hand.
        self._replica.page.put_down()
        batch = self._onward(batch)
        whole = way is None or not way.gone
        self._settle_loans(batch, self._current_batch.put_down_all(len(work), whole=whole))
        self._perform(self._machine.finish(batch, work, outcomes, self.message_s))
        if way is not None:
            self._role.count(batch, outcomes)
        self._latencies.note(batch, len(work), begun_ns, done_ns)
        self._role.note_sent()

    def _onward(self, batch: Batch) -> Batch:
        """From here on what came back from quarantine goes all ways."""
        if batch.enters and batch.enters == self._replica.name.stage:
            return msgspec.structs.replace(batch, enters="")
        return batch

    def _settle_loans(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Give back what was lent of messages that are done, before anything of them leaves."""
        if loans:
            self._role.let_go(batch, loans)
        self._replica.payloads.release()

    # The stage's code

    def _work_through(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[BatchProgress | None, Sequence[Outcome]]:
        """Have the stage's code work on everything; returns the last part, as `_work_on` does."""
        way, outcomes = self._work_on(batch, work, now_ns)
        while way is not None and len(outcomes) < len(way.work):
            if outcomes:
                self._hand_on(way, outcomes)
            self._replica.give_way()
            self._look_after()
            way, outcomes = self._work_on(way.batch, way.work, self._replica.now_ns())
        return way, outcomes

    def _work_on(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[BatchProgress | None, Sequence[Outcome]]:
        """Have the stage's code work; returns what came of it and has not gone on.

        That is less than there is work where the code was left, so that results go on. The first
        of the two has the rest of the batch, or nothing where a batch is not worked on in parts.
        """
        self._hand_since[0] = now_ns
        role, caller = self._role, self._caller
        if batch.kind != Kind.EVENTS or (batch.enters and self._passes_by(batch)):
            return None, caller.call(
                lambda each: self._treat(batch, each),
                work,
                lambda message: role.do_without(batch, message),
            )
        self._current_message.due.clear()
        results = role.call.make_results()
        way = self._way = BatchProgress(batch, work, results, self._running.read_roughly())
        takes_turns = self._replica.shares_thread and not role.call.takes_lists
        part = work[: 1 + (len(work) // MANY) ** 2] if takes_turns else work
        outcomes = caller.call(
            lambda each: role.work_on(batch, each, results),
            part,
            lambda message: role.do_without(batch, message),
            results,
        )
        self._way = None  # or two batches would be in memory when the next one is decoded
        return way, (outcomes[way.gone :] if way.gone else outcomes)

    def _passes_by(self, batch: Batch) -> bool:
        """Return True if it came back from quarantine, and is not for the code of this stage."""
        return self._role.route.concerns(batch)

    def _treat(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        return (self._role.let_pass if batch.kind == Kind.EVENTS else self._role.hear)(batch, work)

    def _work_on_returned(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[Batch, BatchProgress | None, Sequence[Outcome]]:
        """Work on a message from quarantine, within its run where the stage hears of that."""
        batch, run = self._role.place_returned(batch)
        if run is None or not work or (batch.enters and self._passes_by(batch)):
            return batch, *self._work_through(batch, work, now_ns)
        with self._caller.link_thread:
            batch = run.begin(batch)
        way, outcomes = self._work_through(batch, work, now_ns)
        with self._caller.link_thread:
            batch = run.end(batch if way is None else way.batch)
        if way is not None:
            way.batch = batch
        return batch, way, outcomes

    # While the code works

    @property
    def has_results_waiting(self) -> bool:
        """Whether results of the batch that is worked on have not gone on."""
        return self._way is not None and self._way.waiting > 0

    def look(self, now: float) -> Advice:
        """Send on results that have waited for long enough; to be called in the link thread.

        Returns what there was to do; `Advice.TAKE` also where the code works on no events.
        """
        way = self._way
        if way is None:
            return Advice.TAKE
        advice = way.look(self._running.read())
        if advice in (Advice.CUT, Advice.TAKE):
            self._current_message.due.append(True)
        if advice in (Advice.CUT, Advice.LEAVE):
            self._hand_since[0] = int(now * 1e9)
        elif advice is Advice.TAKE and (outcomes := way.so_far()):
            self._hand_on(way, outcomes)
        return advice

    def _hand_on(self, way: BatchProgress, outcomes: Sequence[Outcome]) -> None:
        """Send on what came of the first messages of a batch that is under way."""
        now_ns = self._replica.now_ns()
        self._replica.history.now = now_ns / 1e9
        done = way.work[: len(outcomes)]
        self._settle_loans(way.batch, self._current_batch.put_down_first(len(done)))
        actions, left = self._machine.hand_on(self._onward(way.batch), done, outcomes)
        self._perform(actions)
        self._role.count(way.batch, outcomes)
        self._latencies.note(way.batch, len(done), self._begun_ns, now_ns)
        way.note_gone(len(done), left, self._running.read())
        self._role.note_sent()
        self._write_status()
