"""The model's chains with inputs that can't be read again, and deaths of their sources."""

from __future__ import annotations

from typing import Any

from unit.protocol.model import BrokenPromiseError, Node, World

from arroyo.codec import Kind
from arroyo.identifiers import ReplicaName
from arroyo.protocol.runs import FormerRun
from arroyo.protocol.source import Source

DEATH_AT_AN_ACTION = 0.02


class DyingWorld(World):
    """A world in which sources die too; what was under way then is lost, its run is closed."""

    def __init__(self, *args: Any, source_kills: int) -> None:
        super().__init__(*args)
        self.faults["source_kill"] = source_kills
        self.left: dict[ReplicaName, FormerRun] = {}
        """What the next life would find."""
        self.greeted: set[ReplicaName] = set()
        self.closing: dict[ReplicaName, str] = {}
        self.closed: set[tuple[str, str]] = set()
        """Source and name of each former run whose Stop everybody has acknowledged."""

    def _make_source(self, node: Node) -> Source:
        self.greeted.discard(node.name)
        self.closing.pop(node.name, None)
        return super()._make_source(node)

    def _start(self, name: ReplicaName) -> None:
        super()._start(name)
        for node in self.nodes.values() if self.nodes[name].stage.role == "listener" else ():
            sources = self.chain.sources_above(node.stage.name)
            if node.machine is not None and name in [each for s in sources for each in s.names]:
                # The connection back is made anew, so it hears of everybody.
                self._do(node, node.machine.greet(name))

    def _feed(self, node: Node) -> None:
        if node.name in self.greeted:
            super()._feed(node)
            return
        self.greeted.add(node.name)
        former = self.left.get(node.name)
        if former is not None:
            stop = ("stop", "the source died in mid-run", former.totals)
            start = ("start", former.run)
            self.closing[node.name] = former.run
            self._do(node, node.machine.close_former(former, start, stop, self.now))

    def _source_kill(self) -> bool:
        victims = [
            node
            for node in self.nodes.values()
            if node.machine is not None and node.stage.role == "listener" and not node.done
        ]
        if victims:
            self._bury(self.random.choice(victims))
        return bool(victims)

    def _do(self, node: Node, actions: Any) -> None:
        if node.stage.role != "listener":
            super()._do(node, actions)
            return
        for action in actions:
            self._note(node)
            if self.faults["source_kill"] and self.random.random() < DEATH_AT_AN_ACTION:
                self.faults["source_kill"] -= 1
                self._bury(node)
                return
            super()._do(node, [action])
        self._note(node)

    def _note(self, node: Node) -> None:
        """What is noted before anything leaves."""
        source, ledger = node.machine, node.machine.ledger
        sent = source.closes_former or ledger.next > 0
        if node.name in self.closing and sent and not source.closes_former:
            self.closed.add((str(node.name), self.closing.pop(node.name)))
            self.left.pop(node.name, None)
        if source.open_run is not None:
            run, base = source.open_run
            self.left[node.name] = FormerRun(run, source.epoch, base, ledger.next, ledger.frontier)
        elif node.name not in self.closing and node.name in self.greeted:
            self.left.pop(node.name, None)


def check(world: DyingWorld) -> None:
    """Each replica of a sink has got Start and Stop of each run that was closed."""
    for node in world.nodes.values():
        if node.stage.role != "publisher" or "~" in str(node.stage.inputs):
            continue
        told = {
            kind: {entry[1:3] for entry in node.journal if entry[0] == kind}
            for kind in (Kind.START, Kind.STOP)
        }
        for kind, runs in told.items():
            missing = world.closed - runs
            if missing:
                raise BrokenPromiseError(f"{node.name} has got no {kind.name} of {missing}")
