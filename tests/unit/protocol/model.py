"""A whole chain in memory: every replica a state machine, every connection a queue, no clock.

`World` runs one random schedule. What a connection may do is what ZeroMQ may do: it keeps the
order of what it carries, waits for a receiver that is not there, and loses what a dead process
held, from any point on. Whether the promises held is said by `promises.check`.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from arroyo.codec import (
    Ack,
    Batch,
    End,
    Kind,
    Open,
    Reason,
    Suspect,
    decode_back,
    decode_data,
    encode_record,
)
from arroyo.config.graph import Chain, Input, Stage
from arroyo.identifiers import ReplicaName
from arroyo.messages import Origin
from arroyo.protocol.fold.fold import Fold, Folded
from arroyo.protocol.fold.state import FoldState, NoteFold
from arroyo.protocol.receiving.delayed_replies import DelayedReplies
from arroyo.protocol.relay.relay import Relay
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import (
    Broadcast,
    Connect,
    Persist,
    PutInQuarantine,
    Release,
    Reply,
    Transmit,
)
from arroyo.protocol.values.deliveries import Output
from arroyo.protocol.values.history import History
from arroyo.runner.assembly.folds import make_fold
from arroyo.runner.assembly.relays import make_relay
from arroyo.runner.assembly.sources import make_source
from arroyo.runner.assembly.topology import key_field

STEP_S = 0.004
"""One step takes up to this long, so that a grace is worth a dozen steps."""
PATIENCE_S = 10.0
"""Nothing but the source's last resort waits longer than this."""
FOLD = 3
"""A fold makes one output of so many inputs, and of what is left at the Stop."""
TOLD = 60
"""Of a schedule that failed each replica's last transitions are shown, so many at most."""
SUBSCRIBER_RECORDS = 4
"""What a pub-sub link holds for a slow subscriber."""


class BrokenPromiseError(AssertionError):
    """The machines did what they must never do."""


class DeadlyError(Exception):
    """A message has ended the process that worked on it."""

    def __init__(self, sequence: int) -> None:
        super().__init__(sequence)
        self.sequence = sequence


# Chains, and what their stages do


def listener(name: str, **options: Any) -> Stage:
    return Stage(name, "listener", "m:C", **options)


def operator(name: str, *inputs: str, **options: Any) -> Stage:
    return Stage(name, "operator", "m:C", inputs=_inputs(inputs), **options)


def publisher(name: str, *inputs: str, **options: Any) -> Stage:
    return Stage(name, "publisher", "m:C", inputs=_inputs(inputs), **options)


def chain(*stages: Stage) -> Chain:
    folder = Path("/")
    return Chain("model", folder, folder / "chain.toml", {stage.name: stage for stage in stages})


def _inputs(names: tuple[str, ...]) -> tuple[Input, ...]:
    """A name that begins with ~ is fed by pub-sub."""
    return tuple(
        Input(name.lstrip("~"), "pub-sub" if "~" in name else "push-pull") for name in names
    )


def work_on(stage: str, item: tuple[Any, ...]) -> tuple[list[Any], Reason | None]:
    """What the operator `stage` makes of an item; it does what its name says."""
    number = item[1] if isinstance(item[1], int) else len(item[1])
    if stage.startswith("filter") and number % 3 == 1:
        return [], Reason.FILTERED
    if stage.startswith("skip") and number % 4 == 2:
        return [], Reason.SKIPPED
    if stage.startswith("fatal") and number % 3 == 1:
        return [], Reason.QUARANTINED
    if stage.startswith("sieve") and item[-1] == 1:
        return [], Reason.FILTERED
    if stage.startswith("split"):
        return [(*item, part) for part in range(number % 4)], None
    return [item], None


def folds(stage: Stage) -> bool:
    return stage.name.startswith("fold")


def holds(stage: Stage) -> bool:
    """Whether a fold has a bound; one without gives out only its totals, at the end of a run."""
    return not stage.name.startswith("fold_total")


def key_of(item: tuple[Any, ...]) -> int:
    return sum(item[1:]) * 7


@contextmanager
def telling(world: World, schedule: str) -> Iterator[None]:
    """Add to an error which schedule it was in, and what each replica did last."""
    try:
        yield
    except Exception as error:
        error.add_note(schedule)
        for node in world.nodes.values():
            error.add_note(f"--- {node.name}")
            error.add_note("\n".join(node.history.lines()[-TOLD:]))
        raise


# Connections and replicas


@dataclass(slots=True, eq=False)
class Pipe:
    """One connection; `link` is set for those down to a replica by push-pull."""

    sender: ReplicaName
    receiver: ReplicaName
    back: bool
    link: int | None = None
    queue: deque[Any] = field(default_factory=deque)
    closed: bool = False
    """The sender has no more to do with it; what is in it may still arrive."""


@dataclass(slots=True, eq=False)
class Node:
    """One replica over all its lives."""

    name: ReplicaName
    stage: Stage
    flushes: bool = False
    machine: Any = None
    incarnation: int = 0
    deaths: int = 0
    suspect: Suspect | None = None
    down: dict[ReplicaName, Pipe] = field(default_factory=dict)
    up: dict[ReplicaName, Pipe] = field(default_factory=dict)
    cast: dict[ReplicaName, Pipe] = field(default_factory=dict)
    opened: set[tuple[str, str]] = field(default_factory=set)
    closed: set[tuple[str, str]] = field(default_factory=set)
    script: deque[InputBatch] = field(default_factory=deque)
    finishing: bool = False
    ending: bool = False
    final: bool = False
    done: bool = False
    journal: list[tuple[Any, ...]] = field(default_factory=list)
    """What a publisher has published for good."""
    unflushed: list[tuple[Any, ...]] = field(default_factory=list)
    begun: int = 0
    """The first so many of them are what the flush is for that is in flight."""
    held: dict[tuple[str, str], list[tuple[Origin, Any]]] = field(default_factory=dict)
    """What a fold holds, by source and run."""
    memory: FoldState = field(default_factory=FoldState)
    """What a fold leaves for its next life."""
    history: History = field(default_factory=History)
    """Of all its lives."""

    def forget_unflushed(self) -> None:
        self.unflushed.clear()
        self.begun = 0

    def publish(self, count: int) -> None:
        """The first so many of the unflushed are published for good."""
        self.journal += self.unflushed[:count]
        del self.unflushed[:count]
        self.begun = 0


@dataclass(frozen=True)
class Faults:
    """What goes wrong in a schedule: so many of each, at random moments."""

    kills: int = 0
    gaps: int = 0
    repeats: int = 0
    leaves: int = 0


class World:
    """One chain and one random schedule; the same seed gives the same schedule."""

    def __init__(self, chain: Chain, script: str, seed: int, faults: Faults) -> None:
        self.chain = chain
        self.random = random.Random(seed)
        self.faults = {
            "kill": faults.kills,
            "gap": faults.gaps,
            "repeat": faults.repeats,
            "leave": faults.leaves,
        }
        self.on_the_wire = seed % 8 == 0
        self.now = 0.0
        self.last_resorts = 0
        self.nodes = {name: Node(name, chain.stages[name.stage]) for name in chain.replicas}
        self.pipes: list[Pipe] = []
        self.absent = list(self.nodes)
        self.notices: list[tuple[Node, int, ReplicaName, int]] = []
        self.events: dict[str, list[list[tuple[Any, ...]]]] = {}
        """Items of each source by the runs of its script."""
        self.scripts: dict[str, list[InputBatch]] = {}
        self.heard: list[Any] = []
        self.runs = 0
        self.untold = 0
        """Suspects that died with those that would have told of them."""
        self.fatal: Counter[Any] = Counter()
        """How many processes have died of each item."""
        self.isolated: set[tuple[str, int]] = set()
        """Source and sequence of what is in quarantine."""
        self.foul: set[Any] = set()
        """Items of those."""
        for node in self.nodes.values():
            if node.stage.role == "listener":
                self._write_script(node, script)
            else:
                node.flushes = node.stage.role == "publisher" and self.random.random() < 0.3

    # The script: S a Start, T a Stop, a digit so many events at once

    def _write_script(self, node: Node, script: str) -> None:
        runs = self.events[str(node.name)] = [[]]
        field_name = key_field(self.chain, node.name.stage)
        number = 0
        for sign in script:
            if sign == "S":
                runs.append([])
                intake = InputBatch(Kind.START, [("start", len(runs) - 1)], (None,), 1)
            elif sign == "T":
                make_stop = _stop_maker(len(runs) - 1)
                intake = InputBatch(Kind.STOP, (), (None,), 1, make_stop=make_stop)
                runs.append([])
            else:
                items = [(str(node.name), number + each) for each in range(int(sign))]
                number += len(items)
                runs[-1] += items
                keys = [key_of(item) for item in items] if field_name else None
                intake = InputBatch(Kind.EVENTS, items, items, len(items), keys)
            node.script.append(intake)
        self.scripts[str(node.name)] = list(node.script)

    # The schedule

    def run(self) -> None:
        """Run until every replica has ended."""
        for _ in range(100_000):
            if not self._step():
                return
        raise BrokenPromiseError("it never comes to an end")

    def _step(self) -> bool:
        self.now += self.random.random() * STEP_S
        self._tick()
        if self._fault():
            return True
        choices = self._choices()
        if choices:
            act, subject = self.random.choice(choices)
            act(subject)
            return True
        if all(node.done or not self._must_end(node) for node in self.nodes.values()):
            return False
        self._wait()
        return True

    def _must_end(self, node: Node) -> bool:
        """A subscriber may miss the End as it may miss anything."""
        return all(source.link == "push-pull" for source in node.stage.inputs) and all(
            self._must_end(self.nodes[above]) for above in self._above(node)
        )

    def _choices(self) -> list[Any]:
        choices: list[Any] = []
        self.pipes = [pipe for pipe in self.pipes if pipe.queue or not pipe.closed]
        for pipe in self.pipes:
            if pipe.queue and self._takes(pipe):
                choices.append((self._deliver, pipe))
        for node in self.nodes.values():
            if node.machine is None or node.done:
                continue
            if node.stage.role == "listener":
                if node.machine.ready and not node.finishing and not node.machine.blocked:
                    choices.append((self._feed, node))
            elif node.unflushed:
                choices.append((self._flush, node))
                if not node.begun:
                    choices.append((self._begin_flush, node))
        choices += [(self._start, name) for name in self.absent]
        choices += [(self._disconnect, notice) for notice in self.notices]
        return choices

    def _takes(self, pipe: Pipe) -> bool:
        machine = self.nodes[pipe.receiver].machine
        return machine is not None and (pipe.back or not machine.blocked)

    def _tick(self) -> None:
        for node in self.nodes.values():
            machine = node.machine
            deadline = None if machine is None else machine.deadline
            if deadline is None or self.now < deadline:
                continue
            if isinstance(machine, Source):
                self._do(node, machine.tick(self.now))
            else:
                actions, deliveries = machine.tick(self.now)
                self._do(node, actions)
                self._work(node, deliveries)

    def _wait(self) -> None:
        """Nothing is under way: wait for whoever has a deadline."""
        leaving = [
            node
            for node in self.nodes.values()
            if isinstance(node.machine, Relay | Fold) and node.finishing and not node.ending
        ]
        if leaving:
            # As the process does, it goes when nothing has come for a while.
            self._say_end(leaving[0], final=False)
            return
        deadlines = [
            node.machine.deadline
            for node in self.nodes.values()
            if node.machine is not None and node.machine.deadline is not None
        ]
        if not deadlines:
            left = [str(node.name) for node in self.nodes.values() if not node.done]
            raise BrokenPromiseError(f"{', '.join(left)} wait for ever")
        if min(deadlines) > self.now + PATIENCE_S:
            self.last_resorts += 1
            if self.last_resorts > 5:
                raise BrokenPromiseError("sending all again does not help")
        self.now = max(self.now, min(deadlines))

    # Faults

    def _fault(self) -> bool:
        kind = self.random.choice(list(self.faults))
        if not self.faults[kind] or self.random.random() > 0.08:
            return False
        self.faults[kind] -= 1
        return bool(getattr(self, f"_{kind}")())

    def _kill(self) -> bool:
        victims = [
            node
            for node in self.nodes.values()
            if node.machine is not None and node.stage.role != "listener" and not node.done
        ]
        if not victims:
            return False
        node = self.random.choice(victims)
        node.deaths += 1
        node.forget_unflushed()
        self._bury(node)
        return True

    def _die_of(self, node: Node, batch: Batch, sequence: int) -> None:
        """The process dies in the midst of a batch, and the supervisor sees of what."""
        node.deaths += 1
        node.forget_unflushed()
        node.suspect = Suspect(
            *node.name, 0, batch.source, batch.epoch, sequence, "died of a segmentation fault"
        )
        self._bury(node)

    def _bury(self, node: Node) -> None:
        node.machine = None
        node.held.clear()
        for pipe in self.pipes:
            if pipe.sender == node.name and not pipe.closed:
                self._lose(pipe, last=True)
                pipe.closed = True
            elif pipe.receiver == node.name:
                self._lose(pipe, last=False)
                if pipe.link is not None and not pipe.closed:
                    above = self.nodes[pipe.sender]
                    self.notices.append((above, above.incarnation, node.name, pipe.link))
        for above in self.nodes.values():
            cast = above.cast.pop(node.name, None)
            if cast is not None:
                cast.closed = True
                cast.queue.clear()
        self.absent.append(node.name)

    def _lose(self, pipe: Pipe, *, last: bool) -> None:
        for _ in range(self.random.randint(0, len(pipe.queue))):
            lost = pipe.queue.pop() if last else pipe.queue.popleft()
            self.untold += isinstance(lost, Suspect)

    def _gap(self) -> bool:
        """A batch vanishes; the next one on its link tells."""
        for pipe in self.random.sample(self.pipes, len(self.pipes)):
            batches = [
                index
                for index, each in enumerate(pipe.queue)
                if isinstance(each, Transmit) and isinstance(each.record, Batch)
            ]
            if len(batches) > 1:
                del pipe.queue[self.random.choice(batches[:-1])]
                return True
        return False

    def _repeat(self) -> bool:
        """A record comes twice, or much later again."""
        full = [pipe for pipe in self.pipes if pipe.queue]
        if self.heard and self.random.random() < 0.5:
            name, record = self.random.choice(self.heard)
            self._hear(self.nodes[name], record)
        elif full:
            pipe = self.random.choice(full)
            at = self.random.randrange(len(pipe.queue))
            pipe.queue.insert(at, pipe.queue[at])
        return True

    def _leave(self) -> bool:
        """A replica is stopped in good order; it starts again later."""
        nodes = [
            node
            for node in self.nodes.values()
            if isinstance(node.machine, Relay | Fold) and not node.done and not node.finishing
        ]
        if nodes:
            node = self.random.choice(nodes)
            node.finishing = True
            self._do(node, node.machine.receiver.leave())
            self._look_for_end(node)
        return bool(nodes)

    # Starting

    def _start(self, name: ReplicaName) -> None:
        self.absent.remove(name)
        node = self.nodes[name]
        node.incarnation += 1_000_000
        node.history.now = self.now
        node.history.note("incarnation {} begins", node.incarnation)
        node.finishing = node.ending = node.done = False
        node.down, node.cast = {}, {}
        node.opened, node.closed = set(), set()
        node.up = {}
        if node.stage.role == "listener":
            node.machine = self._make_source(node)
        elif folds(node.stage):
            node.machine = self._make_fold(node)
            node.memory = node.machine.memory
        else:
            node.machine = make_relay(
                self.chain,
                name,
                incarnation=node.incarnation,
                flushes=node.flushes,
                suspect=node.suspect
                and structs.replace(node.suspect, incarnation=node.incarnation),
                history=node.history,
            )
            node.suspect = None
        self._do(node, node.machine.connect())

    def _make_source(self, node: Node) -> Source:
        return make_source(
            self.chain,
            node.name,
            epoch=node.incarnation,
            incarnation=node.incarnation,
            new_run=self._new_run,
            make_early_stop=lambda reason: lambda totals: ("stop", reason, totals.as_data()),
            history=node.history,
        )

    def _make_fold(self, node: Node) -> Fold:
        return make_fold(
            self.chain,
            node.name,
            incarnation=node.incarnation,
            holds=holds(node.stage),
            memory=node.memory,
            make_early_stop=lambda reason: lambda totals: ("stop", reason, totals.as_data()),
            history=node.history,
        )

    def _new_run(self) -> str:
        self.runs += 1
        return f"run{self.runs}"

    def _disconnect(self, notice: tuple[Node, int, ReplicaName, int]) -> None:
        self.notices.remove(notice)
        above, incarnation, name, link = notice
        if above.machine is None or above.incarnation != incarnation:
            return
        if isinstance(above.machine, Source):
            self._do(above, above.machine.disconnected(name, link, self.now))
        else:
            self._do(above, above.machine.disconnected(name, link))
        self._look_for_end(above)

    # Records

    def _deliver(self, pipe: Pipe) -> None:
        record = pipe.queue.popleft()
        node = self.nodes[pipe.receiver]
        if pipe.back:
            self.heard.append((node.name, record))
            self._hear(node, record)
        else:
            relay = node.machine
            actions, deliveries = relay.record(record.record, record.items, self.now)
            self._do(node, actions)
            self._work(node, deliveries)

    def _hear(self, node: Node, record: Any) -> None:
        if node.machine is None:
            return
        if isinstance(node.machine, Source):
            self._do(node, node.machine.record(record, self.now))
        else:
            self._do(node, node.machine.back(record, self.now))
        self._look_for_end(node)

    def _feed(self, node: Node) -> None:
        if node.script:
            self._do(node, node.machine.accept(node.script.popleft(), self.now))
        else:
            node.finishing = True
            self._do(node, node.machine.finish(self.now))
        self._look_for_end(node)

    def _begin_flush(self, node: Node) -> None:
        node.begun = len(node.unflushed)
        node.machine.begin_flush()

    def _flush(self, node: Node) -> None:
        begun = node.begun > 0 and self.random.random() < 0.5
        node.publish(node.begun if begun else len(node.unflushed))
        self._do(node, node.machine.flushed(begun=begun))
        self._look_for_end(node)

    def _work(self, node: Node, deliveries: Any) -> None:
        relay = node.machine
        for delivery in deliveries:
            came = batch = delivery.batch
            work = relay.receiver.plan(came, delivery.content)
            try:
                while work and (part := self._cut(batch, work)):
                    outputs = self._work_on(node, batch, work[:part])
                    actions, batch = relay.hand_on(batch, work[:part], outputs)
                    work = work[part:]
                    self._do(node, actions)
                    if self._interrupt(node):
                        return
                outputs = self._work_on(node, batch, work)
            except DeadlyError as death:
                self._die_of(node, batch, death.sequence)
                return
            message_s = self.random.choice((0.0001, 0.004, 0.02))
            self._do(node, relay.finish(batch, work, outputs, message_s))
        self._look_for_end(node)

    def _work_on(self, node: Node, batch: Batch, work: Any) -> list[Any]:
        if isinstance(node.machine, Fold):
            return self._fold(node, batch, work)
        return [self._process(node, batch, each) for each in work]

    def _cut(self, batch: Batch, work: Any) -> int:
        """How much of the work is handed on before the stage works on the rest; 0: all at once."""
        if batch.kind != Kind.EVENTS or len(work) < 2 or self.random.random() < 0.5:
            return 0
        return self.random.randrange(1, len(work))

    def _interrupt(self, node: Node) -> bool:
        """What may happen in the midst of a batch: the process hears from below, or is killed."""
        backs = [pipe for pipe in self.pipes if pipe.back and pipe.receiver == node.name]
        for pipe in backs:
            if pipe.queue and self.random.random() < 0.5:
                record = pipe.queue.popleft()
                self.heard.append((node.name, record))
                self._do(node, node.machine.back(record, self.now))
        if not self.faults["kill"] or self.random.random() > 0.08:
            return False
        self.faults["kill"] -= 1
        node.deaths += 1
        node.forget_unflushed()
        self._bury(node)
        return True

    def _fold(self, node: Node, batch: Batch, work: Any) -> list[Any]:
        key = (batch.source, batch.run)
        outcomes: list[Any] = []
        for sequence, fragment, item in work:
            if batch.kind != Kind.CLOSING:
                self._watch(node, batch, key, (sequence, fragment, item))
            if batch.kind == Kind.START:
                outcomes.append(Output((item,), 1))
                continue
            held = node.held.setdefault(key, [])
            if batch.kind != Kind.EVENTS:
                outcomes.append(self._give_out(node, batch, item))
                continue
            place = sequence - batch.base
            origin = Origin(batch.run, batch.source, batch.epoch, place, batch.path, fragment)
            held.append((origin, item))
            outcomes.append(self._fold_one(node, batch, held))
        return outcomes

    def _fold_one(self, node: Node, batch: Batch, held: list[tuple[Origin, Any]]) -> Folded:
        output = Output((), reason=Reason.FILTERED)
        if len(held) >= FOLD and holds(node.stage):
            # One that says what it holds keeps the last input for the next output.
            kept = held[-1:] if node.stage.name.startswith("fold_some") else []
            given = tuple(item for _, item in held[: len(held) - len(kept)])
            output = Output((("fold", given),), 1)
            held[:] = kept
        if not node.stage.name.startswith("fold_some"):
            return Folded(output)
        return Folded(output, frozenset(origin for run in node.held.values() for origin, _ in run))

    def _give_out(self, node: Node, batch: Batch, stop: Any) -> Folded:
        key = (batch.source, batch.run)
        held = node.held.pop(key, [])
        output = Output()
        if held:
            output = Output((("fold", tuple(item for _, item in held)),), 1)
        return Folded(output, None, lambda totals: ("stop", stop[1], totals.as_data()))

    def _process(self, node: Node, batch: Batch, work: Any) -> Output:
        key = (batch.source, batch.run)
        if batch.kind == Kind.EVENTS:
            self._die_if_fatal(node, work)
        stage = node.stage
        if batch.kind == Kind.CLOSING:
            return Output((work[2],), 1) if stage.role == "operator" else Output()
        self._watch(node, batch, key, work)
        if stage.role == "operator":
            if batch.kind != Kind.EVENTS:
                return Output((work[2],), 1)
            items, reason = work_on(stage.name, work[2])
            keys = [key_of(item) for item in items] if key_field(self.chain, stage.name) else ()
            return Output(items, len(items), reason, keys)
        place = work[0] - batch.base
        entry = (Kind(batch.kind), *key, batch.path, work[0], work[1], work[2], place)
        reason = None
        if batch.kind == Kind.EVENTS:
            items, reason = work_on(stage.name, work[2])
        if reason is None:
            (node.unflushed if node.flushes else node.journal).append(entry)
        return Output(reason=reason)

    def _die_if_fatal(self, node: Node, work: Any) -> None:
        sequence, _, item = work
        if work_on(node.stage.name, item)[1] == Reason.QUARANTINED:
            self.fatal[item] += 1
            raise DeadlyError(sequence)

    def _watch(self, node: Node, batch: Batch, key: tuple[str, str], work: Any) -> None:
        """Start comes first and once, Stop last and once, in each life."""
        if batch.kind == Kind.START:
            if key in node.opened:
                raise BrokenPromiseError(f"{node.name} has got a second Start of {key}")
            node.opened.add(key)
        elif batch.kind == Kind.STOP:
            if key in node.closed:
                raise BrokenPromiseError(f"{node.name} has got a second Stop of {key}")
            node.closed.add(key)
        elif key in node.closed:
            raise BrokenPromiseError(f"{node.name} has got {work} of {key} after its Stop")
        if key not in node.opened and not batch.implicit:
            raise BrokenPromiseError(f"{node.name} has got {work} of {key} before its Start")

    def _look_for_end(self, node: Node) -> None:
        machine = node.machine
        if machine is None or node.done:
            return
        if isinstance(machine, Source):
            node.done = machine.ended
            return
        final = machine.receiver.inputs_finished
        over = final or (node.finishing and machine.receiver.inputs_left)
        if not node.ending and over and not machine.blocked and not node.unflushed:
            self._say_end(node, final=final)
        elif node.ending and machine.ended:
            self._leave_off(node)

    def _say_end(self, node: Node, *, final: bool) -> None:
        node.ending, node.final = True, final
        node.publish(len(node.unflushed))
        if node.stage.role == "publisher":
            self._do(node, node.machine.flushed())
        self._do(node, node.machine.end(final=final))
        if node.machine.ended:
            self._leave_off(node)

    def _leave_off(self, node: Node) -> None:
        if node.final:
            node.done = True
        else:
            self._bury_in_order(node)

    def _bury_in_order(self, node: Node) -> None:
        node.deaths += 1
        node.machine = None
        node.held.clear()
        for pipe in self.pipes:
            if pipe.sender == node.name:
                pipe.closed = True
            elif pipe.receiver == node.name and pipe.link is not None and not pipe.closed:
                above = self.nodes[pipe.sender]
                self.notices.append((above, above.incarnation, node.name, pipe.link))
        self.absent.append(node.name)

    # Actions

    def _do(self, node: Node, actions: list[Any]) -> None:
        asked: list[PutInQuarantine] = []
        for action in actions:
            if not self._act(node, action):
                return
            if isinstance(action, PutInQuarantine):
                asked.append(action)
        for action in asked:
            self.isolated.add((action.suspect.source, action.suspect.sequence))
            self.foul.add(action.item)
            self._do(node, node.machine.quarantined(action.suspect, kept=True))
            if node.machine is None:
                return

    def _act(self, node: Node, action: Any) -> bool:
        """Carry an action out; False where the replica died of it."""
        if self.on_the_wire and isinstance(action, Transmit | Broadcast | Reply):
            _travel(action.record)
        if isinstance(action, Transmit):
            node.down[action.to].queue.append(action)
        elif isinstance(action, Reply):
            self._reply(node, action)
        elif isinstance(action, Connect):
            self._connect(node, action)
        elif isinstance(action, Broadcast):
            self._broadcast(node, action)
        elif isinstance(action, NoteFold):
            node.memory = action.state
        elif not isinstance(action, Release | Persist | PutInQuarantine):
            raise BrokenPromiseError(f"{action} is no action")
        return True

    def _connect(self, node: Node, connect: Connect) -> None:
        former = node.down.get(connect.to)
        if former is not None:
            # What the system had taken up already may arrive yet.
            self._lose(former, last=True)
            former.closed = True
        pipe = node.down[connect.to] = Pipe(node.name, connect.to, back=False, link=connect.link)
        self.pipes.append(pipe)

    def _reply(self, node: Node, reply: Reply) -> None:
        """Acknowledgements may wait a little, and leave together."""
        queue = self._back_pipe(node, reply.to).queue
        waiting = queue[-1] if queue else None
        if (
            isinstance(reply.record, Ack)
            and isinstance(waiting, Ack)
            and self.random.random() < 0.5
        ):
            replies = DelayedReplies()
            for record in (queue.pop(), reply.record):
                replies.put(reply.to, record, self.now)
            queue.extend(each.record for each in replies.take())
        else:
            queue.append(reply.record)

    def _back_pipe(self, node: Node, to: ReplicaName) -> Pipe:
        if to not in node.up:
            node.up[to] = Pipe(node.name, to, back=True)
            self.pipes.append(node.up[to])
        return node.up[to]

    def _broadcast(self, node: Node, action: Broadcast) -> None:
        for stage, link in self.chain.downstream(node.name.stage):
            for name in stage.names if link == "pub-sub" else ():
                if self.nodes[name].machine is None:
                    continue
                if name not in node.cast:
                    node.cast[name] = Pipe(node.name, name, back=False)
                    self.pipes.append(node.cast[name])
                queue = node.cast[name].queue
                if len(queue) < SUBSCRIBER_RECORDS or isinstance(action.record, End):
                    queue.append(action)

    def _above(self, node: Node) -> list[ReplicaName]:
        return [
            name for source in node.stage.inputs for name in self.chain.stages[source.stage].names
        ]


def _travel(record: Any) -> None:
    """What the machines say has to pass the checks for what comes in."""
    decode = decode_data if isinstance(record, Open | Batch | End) else decode_back
    if decode(encode_record(record)) != record:
        raise BrokenPromiseError(f"{record} changes on its way")


def _stop_maker(run: int) -> Any:
    return lambda totals: ("stop", run, totals.as_data())
