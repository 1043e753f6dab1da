"""`Router`: carries messages through a whole chain within one thread, without sockets.

The same calls, the same encoding and the same rules for Start and Stop as between processes: what
works here works there. A message goes all the way down before the next one is taken, so order and
completeness need no protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from arroyo.codec import Encoded, Kind, MessageCodec, Reason, join
from arroyo.config.graph import Chain
from arroyo.errors import UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.messages import Message, Origin, Stop
from arroyo.protocol.relay.relay import Output
from arroyo.protocol.source.input import InputBatch, MakeStop
from arroyo.protocol.values.run_totals import RunTotals, with_totals

from .assembly import path_table
from .user_code.calls import OperatorCall, PublisherCall
from .user_code.fold_call import FoldCall

Call = OperatorCall | PublisherCall

T = TypeVar("T")


def give_up(error: UnavailableError, attempt: int) -> None:
    """Wait for nothing that is away."""
    raise error


class _Run(msgspec.Struct):
    """A run of a listener, or of a fold, and what became of its messages."""

    name: str
    implicit: bool = False
    sent: int = 0
    ends: Counter[int] = msgspec.field(default_factory=Counter)

    def totals(self, *, complete: bool) -> RunTotals:
        return RunTotals.of(self.sent, self.ends, complete=complete)


class SourceRoute:
    """What one listener hands over, on its way down.

    Parameters
    ----------
    name, epoch
        The listener's replica, and which life of it.
    router
        The chain.
    new_run
        Makes a run's name.
    early_stop
        Makes the Stop of a run that the listener did not close.
    """

    def __init__(
        self,
        name: ReplicaName,
        epoch: int,
        router: Router,
        new_run: Callable[[], str],
        early_stop: Callable[[str], MakeStop],
    ) -> None:
        self._name = name
        self._epoch = epoch
        self._router = router
        self._new_run = new_run
        self._early_stop = early_stop
        self._run: _Run | None = None
        self.carried = 0
        """Events that went all the way."""

    def take(self, intake: InputBatch) -> None:
        """Carry it through the chain."""
        if intake.kind == Kind.START:
            self.close("another Start came before the Stop")
            self._run = _Run(self._new_run())
            self._control(intake.items[0])
        elif intake.kind == Kind.STOP:
            make_stop = intake.make_stop
            assert make_stop is not None
            self._stop(make_stop, complete=True)
        else:
            for item in intake.items:
                self._event(item)

    def close(self, reason: str) -> None:
        """Close a run that is open; of one that opened itself only folds hear."""
        if self._run is None:
            return
        if self._run.implicit:
            stop = self._early_stop("")(self._run.totals(complete=True))
            self._router.control(self._name.stage, stop, self._origin, announced=True)
            self._run = None
        else:
            self._stop(self._early_stop(reason), complete=False)

    def _event(self, item: Encoded) -> None:
        if self._run is None:
            self._run = _Run(self._new_run(), implicit=True)
        origin = Origin(self._run.name, str(self._name), self._epoch, self._run.sent)
        self._run.sent += 1
        self._run.ends.update(self._router.event(self._name.stage, item, origin))
        self.carried += 1

    def _stop(self, make_stop: MakeStop, *, complete: bool) -> None:
        self._run = self._run or _Run(self._new_run(), implicit=True)
        self._control(make_stop(self._run.totals(complete=complete)))
        self._run = None

    @property
    def _origin(self) -> Origin:
        assert self._run is not None
        return Origin(self._run.name, str(self._name), self._epoch, -1)

    def _control(self, item: Encoded) -> None:
        self._router.control(self._name.stage, item, self._origin)


def edges_of(chain: Chain) -> dict[str, list[tuple[str, int]]]:
    """Return the links of a chain as a `Router` wants them."""
    paths = path_table(chain)
    return {
        stage.name: [
            (below.name, paths.edge(stage.name, below.name) if link == "push-pull" else 0)
            for below, link in chain.downstream(stage.name)
        ]
        for level in chain.levels
        for stage in level
    }


class Router:
    """Knows every operator and publisher of a chain, and what is below what.

    Parameters
    ----------
    calls
        For each operator and publisher its calls.
    codec
        Of the chain: each stage gets a copy of its own, as it would from a socket.
    edges
        For each stage those below it and the path number of the link, from the sources down.
    wait
        Waits before a call is tried again that failed for something outside; gets the error and
        how often it was tried again. It raises where that has no sense any more.
    """

    def __init__(
        self,
        calls: Mapping[str, Call],
        codec: MessageCodec,
        edges: Mapping[str, Sequence[tuple[str, int]]],
        wait: Callable[[UnavailableError, int], None] = give_up,
    ) -> None:
        self._calls = calls
        self._wait = wait
        self.counts: dict[str, Counter[str]] = {stage: Counter() for stage in edges}
        """For each stage what it has received, sent, filtered, skipped and quarantined."""
        self._codec = codec
        self._below = edges
        self._folded: dict[tuple[str, str], _Run] = {}
        """What each fold has made of each run, by run and fold."""

    def event(self, stage: str, item: Encoded, origin: Origin) -> set[Reason]:
        """Carry an event from `stage` down; returns why parts of it ended on the way, if any."""
        ends: set[Reason] = set()
        self.counts[stage]["sent"] += 1
        for below, edge in self._below[stage]:
            place = origin._replace(path=origin.path + edge)
            call, counts = self._calls[below], self.counts[below]
            counts["received"] += 1
            if isinstance(call, FoldCall):
                ends |= self._fold(below, call, item, place)
                continue
            outcome = self._try(call.event, item, place)
            if outcome is None:
                counts["sent"] += 1
                continue
            results = outcome.items if isinstance(outcome, Output) else (outcome,)
            reason = outcome.reason if isinstance(outcome, Output) else None
            if reason is not None:
                ends.add(reason)
                counts[reason.name.lower()] += 1
            count = len(results)
            for index, result in enumerate(results):
                part = place.fragment if count == 1 else (*place.fragment, (index, count))
                ends |= self.event(below, result, place._replace(fragment=part))
        return ends

    def take_back(self, stage: str, ends: Iterable[Reason]) -> None:
        """Messages that a publisher had sent were refused, and have ended like this."""
        for reason in ends:
            self.counts[stage]["sent"] -= 1
            self.counts[stage][reason.name.lower()] += 1

    def _try(self, do: Callable[[Message], T], item: Encoded, origin: Origin) -> T:
        """Have a message worked on, as often as it takes until what it needs is there."""
        attempt = 0
        while True:
            self._in_hand = item, origin
            try:
                return do(self._decode(item, origin))
            except UnavailableError as error:
                self._wait(error, attempt)
                attempt += 1

    def as_it_came(self) -> Message:
        """Return the message in hand anew; the stage's code may have changed the one it got."""
        return self._decode(*self._in_hand)

    def _fold(self, fold: str, call: FoldCall, item: Encoded, origin: Origin) -> set[Reason]:
        """Have an event folded; returns why it ended there, if it is not in any output."""
        run = origin.source, origin.run
        (folded,) = self._try(lambda message: call.folded(run, (message,)), item, origin)
        self._give_out(fold, folded.output.items, origin)
        reason = folded.output.reason
        if reason is not None:
            self.counts[fold][reason.name.lower()] += 1
        return set() if reason in (None, Reason.FILTERED) else {reason}

    def _give_out(self, fold: str, items: Sequence[Encoded], origin: Origin) -> None:
        """Carry down what a fold has made; it is a source of its own."""
        place = origin.run, str(ReplicaName(fold, 0))
        run = self._folded.setdefault(place, _Run(origin.run))
        for item in items:
            sequence = run.sent
            run.sent += 1
            run.ends.update(self.event(fold, item, Origin(*place, origin.epoch, sequence)))

    def control(
        self, source: str, item: Encoded, origin: Origin, *, announced: bool = False
    ) -> None:
        """Carry a Start or Stop to every stage below `source`, once for each source it is of.

        `announced`: a Stop that does not come, but folds give out what they hold.
        """
        told = {source: {origin.source: item}}
        for stage in self._below:
            above = [
                told[name]
                for name, links in self._below.items()
                if name in told and any(below == stage for below, _ in links)
            ]
            items = {name: each for items in above for name, each in items.items()}
            if not items or stage == source:
                continue
            told[stage] = {}
            for name, each in items.items():
                place = origin._replace(source=name)
                fold = isinstance(self._calls[stage], FoldCall)
                made: Encoded | None = each
                if fold or not announced:
                    made = self._control(stage, each, place)
                if made is not None:
                    told[stage][str(ReplicaName(stage, 0)) if fold else name] = made

    def _control(self, stage: str, item: Encoded, origin: Origin) -> Encoded | None:
        call = self._calls[stage]
        message = self._decode(item, origin)
        if not isinstance(call, FoldCall) or not isinstance(message, Stop):
            outcome = self._try(call.control, item, origin)
            return None if isinstance(outcome, Output) else outcome
        place = origin.source, origin.run
        output, stop = self._try(lambda each: call.stop(place, each), item, origin)
        self._give_out(stage, output.items, origin)
        run = self._folded.pop((origin.run, str(ReplicaName(stage, 0))))
        totals = run.totals(complete=True)
        totals.note_inputs(message.data.get("totals"))
        return self._codec.encode(with_totals(stop, totals))

    def _decode(self, item: Encoded, origin: Origin) -> Message:
        body, detached, payloads = join([item])
        messages: Sequence[Message] = self._codec.decode(body, detached, payloads)
        messages[0]._origin = origin
        return messages[0]
