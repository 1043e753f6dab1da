"""An operator's or publisher's replica: one thread that takes, works, sends and acknowledges.

While the stage's code works, another one does what can't wait; see `attendant`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from arroyo.codec import Ack, Batch, Credit, End, Hello, Kind, Reason
from arroyo.errors import ArroyoError, DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.links.events import AboveCame, DataReceived, LinkBroke, RecordCame, SubscriptionStands
from arroyo.messages import Message, Origin
from arroyo.protocol.receiving.receipts import Receipts
from arroyo.protocol.relay.relay import Delivery, Outcome, Relay, Work
from arroyo.protocol.values.actions import Action, Reply
from arroyo.protocol.values.batches import count_of
from arroyo.protocol.values.deliveries import origins_of
from arroyo.runner.assembly import key_field, make_relay
from arroyo.runner.quarantine.requeue_route import RequeueRoute
from arroyo.runner.quarantine.returned_run import ReturnedRun
from arroyo.runner.quarantine.writer import QuarantineWriter
from arroyo.runner.user_code.calls import SKIPPED, OperatorCall, PublisherCall
from arroyo.runner.user_code.reading import BatchReader
from arroyo.shared_memory.lending import Lending, Loan
from arroyo.shared_memory.reader import StaleSlabError
from arroyo.stages import AllocatingStage, WaitingStage
from arroyo.telemetry.latencies import Latencies
from arroyo.telemetry.status_words import Phase

from .attendant import Attendant, Unattended
from .batch_in_hand import BatchInHand
from .counters import Counters
from .flush_plan import FlushPlan
from .running_clock import RunningClock
from .stage_context import StageContext, Wait
from .stale_batches import StaleBatches
from .under_way import Advice, UnderWay

_log = logging.getLogger(__name__)

LEAVE_S = 2.0
"""A stage that leaves waits so long for replicas above that don't answer, counted from the last
thing that came."""
ORPHAN_LEAVE_S = 4.0
"""The same for a stage whose supervisor has died, which waits for the sources to end."""
REPORT_S = 0.2
LOOK_S = 0.002
"""While results wait for a batch that takes long, it is looked at so often."""
DOUBT_LOOK_S = 0.001
MANY = 64
"""A batch of fewer messages is worked on one by one where others have to have their turns."""
IDLE_LOOK_S = 0.05
"""How often the links are looked after while the stage's code stays with one message."""
_WORD = (1 << 64) - 1


class RelayProcess:
    """Runs an operator or publisher from `open()` to `close()`."""

    _relay: Relay
    _call: OperatorCall | PublisherCall

    def __init__(self, replica: StageContext, made: Any) -> None:
        self._replica = replica
        self._made = made
        self._links = replica.links
        self._counters = Counters()
        self._lending = Lending(replica.payloads, replica.stage.target)
        self._stale = StaleBatches()
        self._flush_plan = FlushPlan()
        self._message_s = self._report_due = 0.0
        self._receipts = Receipts()
        self._way: UnderWay | None = None
        self._due: list[bool] = []
        """Not empty: the code is to be left before its next message, and what is there goes on."""
        self._begun_ns = 0
        self._failure: ArroyoError | None = None
        """What the next message has failed with; those before it go on first."""
        self._hand_since = replica.page.word("hand_since_ns")
        chain = replica.chain
        self._unheard = {
            above
            for source in replica.stage.inputs
            if source.link == "pub-sub"
            for above in chain.stages[source.stage].names
        }
        self._last_came = 0.0

    def turns(self) -> Generator[Wait, None, None]:
        """Run until all inputs have ended, or a signal says so, and everything is sent.

        Yields where it has nothing to do, before it waits at its links. To be closed where it
        shall end at once.

        Raises
        ------
        ArroyoError
            The stage refused to start, or failed for good.
        """
        replica = self._replica
        stage, made = replica.stage, self._made
        if isinstance(made, WaitingStage):
            made._on_waiting = replica.note_waiting
        if isinstance(made, AllocatingStage):
            made._on_allocate = replica.payloads.allocate
        replica.enter(Phase.OPEN)
        self._isolation = QuarantineWriter(
            replica.quarantine,
            replica.chain,
            replica.name,
            replica.codec,
            replica.clock,
            as_it_came=self._as_it_came,
        )
        self._isolation.counted = replica.page.word("quarantined")
        self._call = self._make_call(made)
        with contextlib.ExitStack() as closing:
            self._call.open()
            closing.callback(self._call.close)
            self._reader = BatchReader(replica.codec, self._isolation)
            self._hand = BatchInHand(self._reader, replica.payloads, self._lending)
            self._passing = RequeueRoute(replica.chain, stage.name, replica.codec.encode)
            self._prepare(made)
            closing.pop_all()
            closing.callback(self._close)  # which closes that too
            closing.callback(self._report)  # however it ends
            self._attendant = Unattended() if replica.shares_thread else Attendant(self._look)
            self._running = RunningClock()
            closing.callback(self._running.close)
            closing.callback(self._attendant.close)
            self._latencies = Latencies(
                replica.page.histogram("latency"),
                replica.page.histogram("hop"),
                flushes=self._flushes,
                comparable=replica.chain.on_one_host,
            )
            self._perform(self._relay.connect())
            replica.report_ready("working")
            yield from self._loop()
            self.flush()

    def _make_call(self, made: Any) -> OperatorCall | PublisherCall:
        """Make what calls the stage's code."""
        replica, stage = self._replica, self._replica.stage
        if stage.role == "operator":
            key = key_field(replica.chain, stage.name)
            return OperatorCall(stage, made, replica.codec, key, self._isolation)
        return PublisherCall(stage, made, self._isolation)

    def _prepare(self, made: Any) -> None:
        """Make the state machine."""
        replica = self._replica
        self._relay = make_relay(
            replica.chain,
            replica.name,
            incarnation=replica.incarnation,
            flushes=self._flushes,
            suspect=replica.take_suspect(),
            history=replica.history,
        )

    @property
    def _flushes(self) -> bool:
        return isinstance(self._call, PublisherCall) and self._call.flushes

    def _close(self) -> None:
        self._replica.enter(Phase.DRAIN)
        self._call.close()

    # The loop

    def _loop(self) -> Iterator[Wait]:
        replica, relay = self._replica, self._relay
        leaving = False
        self._last_came = replica.clock.monotonic()
        while not self._is_over(leaving):
            if replica.signals.asked and not leaving:
                leaving = True
                replica.report_stopping()
                if not replica.signals.orphaned:
                    self._perform(relay.leave())
                continue
            now = replica.clock.monotonic()
            self._tick(now)
            if self._flush_plan.is_due(now):
                self.flush()
            self._do_regularly(now)
            yield from self._wait(now)
        if not leaving:
            replica.report_stopping()
        self.flush()
        self.send_receipts()
        yield from self._drain(final=relay.inputs_finished)

    def _tick(self, now: float) -> None:
        actions, deliveries = self._relay.tick(now)
        self._perform(actions)
        for delivery in deliveries:
            self._deliver(delivery)

    def _is_over(self, leaving: bool) -> bool:
        if self._relay.blocked:
            return False
        if self._relay.inputs_finished:
            return True
        if not leaving:
            return False
        silent_s = self._replica.clock.monotonic() - self._last_came
        if self._replica.signals.orphaned:
            # The sources drain as well: wait for their End, but not for one that is dead.
            return silent_s > ORPHAN_LEAVE_S
        return self._relay.inputs_left or silent_s > LEAVE_S

    def _drain(self, *, final: bool) -> Iterator[Wait]:
        """Say End below, and wait until all that was sent has been taken up."""
        self._perform(self._relay.end(final=final))
        while not self._relay.ended:
            now = self._replica.clock.monotonic()
            if self._replica.signals.orphaned and now - self._last_came > ORPHAN_LEAVE_S:
                _log.warning("%d messages are not finished below", self._relay.in_flight)
                break
            self._tick(now)
            self._do_regularly(now)
            yield from self._wait(now)
        self._report()

    def _do_regularly(self, now: float) -> None:
        self._tell_what_is_due(now)

    def _tell_what_is_due(self, now: float) -> None:
        self._tell_loss(now)
        if self._receipts.is_due(now):
            self.send_receipts()
        if now >= self._report_due:
            self._report_due = now + REPORT_S
            self._report()

    def _wait(self, now: float) -> Iterator[Wait]:
        blocked = self._relay.blocked
        self._replica.enter(Phase.BLOCKED if blocked else Phase.IDLE)
        wait = Wait(self._time_left(now), deaf=blocked)
        yield wait
        self._take_what_came(wait)

    def _take_what_came(self, wait: Wait) -> None:
        relay = self._relay
        for event in self._links.poll(wait.timeout_s, deaf=wait.deaf):
            now = self._replica.clock.monotonic()
            if isinstance(event, DataReceived):
                self._last_came = now
                actions, deliveries = relay.record(event.record, event.frames, now)
                self._perform(actions)
                for delivery in deliveries:
                    self._deliver(delivery)
                if isinstance(event.record, End) or self._receipts.is_due(now):
                    # After the messages have gone on; and who leaves waits for the last credit.
                    self.send_receipts()
                if relay.blocked or self._replica.signals.asked:
                    return
            else:
                self._take_news(event, now)

    def _take_news(self, event: object, now: float) -> None:
        """Take anything but data."""
        if isinstance(event, RecordCame):
            self._replica.note(event.record)
            self._perform(self._relay.back(event.record, now))
        elif isinstance(event, LinkBroke):
            self._perform(self._relay.disconnected(event.replica, event.link))
        elif isinstance(event, AboveCame) and not self._replica.signals.asked:
            self._perform(self._relay.greet(event.replica))
        elif isinstance(event, SubscriptionStands):
            self._hear(event.replica)

    def _time_left(self, now: float) -> float:
        """Return how long nothing is due, in s."""
        until = now + REPORT_S
        for due in (self._relay.deadline, self._flush_plan.due, self._receipts.deadline):
            if due is not None and due < until:
                until = due
        return max(0.0, until - now)

    def _perform(self, actions: Iterable[Action]) -> None:
        """Carry actions out; nobody hears Hello from a stage that could still miss something."""
        for action in actions:
            if type(action) is Reply:
                if isinstance(action.record, Credit | Ack):
                    self._receipts.put(action.to, action.record, self._replica.clock.monotonic())
                    continue
                if self._unheard and isinstance(action.record, Hello):
                    continue
            self._links.perform((action,))

    def send_receipts(self) -> bool:
        """Say to those above what is taken and finished. False: there was nothing to say."""
        receipts = self._receipts.take()
        self._links.perform(receipts)
        return bool(receipts)

    def _hear(self, above: ReplicaName) -> None:
        """A subscription stands; with the last one of them, this stage is there for all."""
        if above not in self._unheard:
            self._perform(self._relay.greet(above))
            return
        self._unheard.discard(above)
        if not self._unheard:
            self._perform(self._relay.greet_all())

    # The work

    def _deliver(self, delivery: Delivery) -> None:
        batch = delivery.batch
        self._replica.enter(Phase.PROCESS)
        try:
            batch, work = self._read(delivery)
        except StaleSlabError as error:
            self._skip_stale(batch, error)
        except (DecodeError, ValueError) as error:
            batch, messages = self._reader.give_up(delivery.batch, delivery.content, error)
            self._replica.take_in_hand(batch)
            # What came early, and waited for these, has its turn now.
            self._work_off(batch, self._plan(batch, messages))
        else:
            came = delivery.batch
            count, size = count_of(came), sum(map(len, delivery.content))
            shared = sum(reference.length for _, reference in came.slabs)
            self._replica.payloads.take_up(came)
            self._replica.take_in_hand(batch)
            if batch.suspect:
                self._report()  # this process may die of it, and what it has done counts
            self._work_off(batch, work)
            self._receipts.note(count, size, shared)
            self._counters.bytes_in += size + shared
            self._stale.note_found()
        self._plan_flush()

    def _skip_stale(self, batch: Batch, error: StaleSlabError) -> None:
        """A batch has payloads that are gone: its sender died, or somebody has finished it."""
        if self._relay.knows(batch):
            # It was finished while it was under way, and is only to be acknowledged again.
            self._perform(self._relay.finish(batch, (), (), self._message_s))
            return
        self._stale.note(batch, error)
        self._perform(self._relay.skip(batch))
        self._tell_loss(self._replica.clock.monotonic())

    def _tell_loss(self, now: float) -> None:
        """Have the sources send again what was lost."""
        if self._stale.is_report_due(now):
            self._perform(self._relay.report_loss())

    def _read(self, delivery: Delivery) -> tuple[Batch, Sequence[Work]]:
        """Return the header, and what is to be worked on."""
        batch = delivery.batch
        body, *payloads = delivery.content
        places = batch.detached
        if batch.slabs:
            payloads += self._replica.payloads.views(batch, together=self._hand.goes_on_whole)
            places += tuple(position for position, _ in batch.slabs)
        batch, messages = self._reader.read(batch, body, places, payloads)
        return batch, self._plan(batch, messages)

    def _plan(self, batch: Batch, messages: Sequence[Message]) -> Sequence[Work]:
        """Return what is to be worked on; nothing else here keeps what was lent of it."""
        return self._hand.take_up(self._relay.plan(batch, messages))

    def _work_off(self, batch: Batch, work: Sequence[Work]) -> None:
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
            took_s = (done_ns - begun_ns) / 1e9 / count
            self._message_s += (took_s - self._message_s) / 4
        if way is not None:
            batch, work = way.batch, way.work
        # Not after an error: who asks why the stage ended finds the message still in hand.
        self._replica.page.put_down()
        if batch.enters:
            batch = self._onward(batch)
        whole = way is None or not way.gone
        self._settle_loans(batch, self._hand.put_down_all(len(work), whole=whole))
        self._perform(self._relay.finish(batch, work, outcomes, self._message_s))
        if way is not None:
            self._count(batch, outcomes)
        self._latencies.note(batch, len(work), begun_ns, done_ns)

    def _onward(self, batch: Batch) -> Batch:
        """From here on what came back from quarantine goes all ways."""
        if batch.enters == self._replica.name.stage:
            return msgspec.structs.replace(batch, enters="")
        return batch

    def _hand_on(self, way: UnderWay, outcomes: Sequence[Outcome]) -> None:
        """Send on what came of the first messages of a batch that is under way."""
        now_ns = self._replica.now_ns()
        self._replica.history.now = now_ns / 1e9
        done = way.work[: len(outcomes)]
        self._settle_loans(way.batch, self._hand.put_down_first(len(done)))
        actions, left = self._relay.hand_on(self._onward(way.batch), done, outcomes)
        self._perform(actions)
        self._count(way.batch, outcomes)
        self._latencies.note(way.batch, len(done), self._begun_ns, now_ns)
        way.note_gone(len(done), left, self._running.read())

    def _look(self, first: bool) -> float:
        """Do what can't wait until the stage's code returns; in the attendant's thread."""
        now = self._replica.clock.monotonic()
        way, stays = self._way, True
        if way is not None:
            advice = way.look(self._running.read())
            if advice is Advice.DOUBT:
                return DOUBT_LOOK_S
            stays = advice is Advice.TAKE
            if advice is not Advice.LEAVE:
                self._due.append(True)
            if not stays:
                self._hand_since[0] = int(now * 1e9)
            elif outcomes := way.so_far():
                self._hand_on(way, outcomes)
        if stays and not first:
            self._look_after(now)
        soon = self._relay.blocked or (way is not None and way.waiting > 0)
        next_s = LOOK_S if soon else IDLE_LOOK_S
        due = self._receipts.deadline
        return next_s if due is None else min(next_s, max(0.001, due - now))

    def _look_after(self, now: float) -> None:
        """Hear those below, and say what is due, in the midst of a batch."""
        for event in self._links.poll(0.0, deaf=True):
            self._take_news(event, now)
        self._tell_what_is_due(now)

    def _look_after_all(self) -> int:
        """The same between two messages, where the stage's code can be called; returns the time."""
        self._look_after(self._replica.clock.monotonic())
        self._plan_flush()
        if self._flush_plan.is_due(self._replica.clock.monotonic()):
            self.flush()
            self._replica.enter(Phase.PROCESS)
        return self._replica.now_ns()

    def _as_it_came(self, message: Message) -> Message:
        return self._reader.as_it_came(message)

    def _settle_loans(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Give back what was lent of messages that are done, before anything of them leaves."""
        if loans:
            self._let_go(batch, loans)
        self._replica.payloads.release()

    def _let_go(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Nothing but the stage's code holds these any more."""
        self._lending.settle(loans)

    def _work_through(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[UnderWay | None, Sequence[Outcome]]:
        """Have the stage's code work on everything; returns the last part, as `_work_on` does."""
        way, outcomes = self._work_on(batch, work, now_ns)
        while way is not None and len(outcomes) < len(way.work):
            if outcomes:
                self._hand_on(way, outcomes)
            self._replica.give_way()
            way, outcomes = self._work_on(way.batch, way.work, self._look_after_all())
        return way, outcomes

    def _work_on(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[UnderWay | None, Sequence[Outcome]]:
        """Have the stage's code work; returns what came of it and has not gone on.

        That is less than there is work where the code was left, so that results go on. The first
        of the two has the rest of the batch, or nothing where a batch is not worked on in parts.
        """
        self._hand_since[0] = now_ns
        self._way = None
        if batch.kind != Kind.EVENTS or (batch.enters and self._passing.concerns(batch)):
            return None, self._insist(lambda each: self._treat(batch, each), work, batch)
        self._due.clear()
        results = self._call.make_results()
        way = self._way = UnderWay(batch, work, results, self._running.read_roughly())
        part = work[: 1 + (len(work) // MANY) ** 2] if self._replica.shares_thread else work
        outcomes = self._insist(
            lambda each: self._call_code(batch, each, results), part, batch, results
        )
        self._way = None  # or two batches would be in memory when the next one is decoded
        return way, (outcomes[way.gone :] if way.gone else outcomes)

    def _insist(
        self,
        call: Callable[[Sequence[Work]], Any],
        work: Sequence[Work] = (),
        batch: Batch | None = None,
        results: Any = (),
    ) -> Any:
        """Call the stage's code, again if what it needs is away and the stage waits for that.

        Before a shared thread waits or fails, what came of the messages before goes on.
        """
        tried, failure = work, None
        if work:
            failure, self._failure = self._failure, None
        for attempt in itertools.count():
            try:
                if failure is None:
                    with self._attendant:
                        return call(tried)
            except ArroyoError as error:
                if results and self._replica.shares_thread:
                    self._failure = error
                    return results.so_far()
                failure = error
            if failure is not None and self._replica.endure(failure, attempt):
                break
            # The stage's code may have changed those that it got.
            tried, failure = [(*each[:2], self._as_it_came(each[2])) for each in work], None
        return [self._instead(batch, work[0][2])] if batch is not None else ()

    def _instead(self, batch: Batch, message: Message) -> Outcome:
        """Return what becomes of a message that the chain goes on without."""
        return SKIPPED if batch.kind == Kind.EVENTS else self._pass_on(message)

    def _treat(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        """Return what comes of a Start, a Stop, or what is for other stages than this one."""
        if batch.kind == Kind.EVENTS:
            return self._passing.outcomes(batch, work)
        if batch.kind == Kind.CLOSING:
            return [self._pass_on(message) for _, _, message in work]
        for _, _, message in work:
            message._origin = origins_of(batch)(batch.base - 1, ())
        self._isolation.note_control(batch, [message for _, _, message in work])
        return [self._call.control(message) for _, _, message in work]

    def _call_code(self, batch: Batch, work: Sequence[Work], results: Any) -> Sequence[Outcome]:
        """Return what comes of events, which `results` has meanwhile."""
        return self._call.events(self._hand_over(batch, work), results)

    def _count(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        self._counters.take_up(batch, len(outcomes))
        self._counters.give_out(outcomes, publishes=isinstance(self._call, PublisherCall))

    def _work_on_returned(
        self, batch: Batch, work: Sequence[Work], now_ns: int
    ) -> tuple[Batch, UnderWay | None, Sequence[Outcome]]:
        """Work on a message from quarantine, within its run."""
        if not work or (batch.enters and self._passing.concerns(batch)):
            return batch, *self._work_through(batch, work, now_ns)
        run = ReturnedRun(self._replica.codec, self._call)
        self._way = None
        with self._attendant:
            batch = run.begin(batch)
        way, outcomes = self._work_through(batch, work, now_ns)
        self._way = None
        with self._attendant:
            batch = run.end(batch if way is None else way.batch)
        if way is not None:
            way.batch = batch
        return batch, way, outcomes

    def _pass_on(self, message: Message) -> Outcome:
        """Announce a Stop further down; only folds have something to do when one is near."""
        return (
            self._replica.codec.encode(message) if self._replica.stage.role == "operator" else None
        )

    def _hand_over(self, batch: Batch, work: Sequence[Work]) -> Iterator[Message]:
        """Yield the messages, each marked as in hand and with its origin, until results are due."""
        make_origin, due = origins_of(batch), self._due
        hand_sequence, hand_part = self._replica.hand_sequence, self._replica.hand_part
        for sequence, fragment, message in work:
            if due:
                return
            hand_sequence[0] = sequence + 1
            if fragment:
                hand_part[0] = hash(fragment) & _WORD
            message._origin = (make_origin, sequence, fragment)
            yield message

    def _plan_flush(self) -> None:
        if self._flushes:
            self._flush_plan.note(self._replica.clock.monotonic(), self._counters.bytes_in)

    def flush(self) -> bool:
        """Flush what was published; only then are the messages finished. False: nothing was."""
        if self._flush_plan.due is None or not isinstance(self._call, PublisherCall):
            return False
        refused: Mapping[Origin, Reason] = {}
        if self._call.flushes:
            self._replica.enter(Phase.FLUSH)
            self._way = None
            call = self._call
            refused = dict(self._insist(lambda _: call.flush()))
            self._counters.take_back(refused.values())
        self._flush_plan.note_flushed(self._counters.bytes_in)
        self._latencies.flushed(self._replica.now_ns())
        self._perform(self._relay.flushed(refused))
        return True

    def _report(self) -> None:
        page, counters = self._replica.page, self._counters
        errors = self._reader.unreadable + self._call.errors + self._replica.rejected
        page.set("errors", errors)
        counters.write(page, [source.stage for source in self._replica.stage.inputs])
        page.set("rejected", self._replica.rejected)
        page.set("dropped", self._relay.dropped)
        page.set("inline", self._replica.payloads.inline)
        page.set("in_flight", self._relay.in_flight)
        page.set("redelivered", self._relay.redelivered)
