"""The model's chains with inputs that can be read again, and deaths of their sources.

An input is a stream: everything in it has a token, Start and Stop too, and what was not
acknowledged is handed over again, in the same order, though perhaps in other batches. Some know
each token that was acknowledged, others only the last one, as a log that has one offset.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any

import msgspec
from unit.protocol.model import BrokenPromiseError, Node
from unit.protocol.mortal import MortalWorld

from arroyo.codec import Kind, Suspect
from arroyo.identifiers import ReplicaName
from arroyo.protocol.recovery.journal import JournalState, NoteEntry, ProcessDied
from arroyo.protocol.source.input import InputBatch
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Release
from arroyo.runner.assembly.sources import make_source

DEATH_AT_AN_ACTION = 0.01


class ReplayingWorld(MortalWorld):
    """A world in which sources die too, between any two of their actions, and lose nothing."""

    def __init__(self, *args: Any, source_kills: int) -> None:
        super().__init__(*args, source_kills=source_kills)
        self.memories: dict[ReplicaName, JournalState] = {}
        self.acknowledged: dict[ReplicaName, list[Any]] = {}
        self.has_offset = bool(self.random.getrandbits(1))
        self.offset: dict[ReplicaName, int] = {}
        self.resumed: set[ReplicaName] = set()
        for node in self.nodes.values():
            for number, intake in enumerate(self.scripts.get(str(node.name), ())):
                if intake.kind != Kind.EVENTS:
                    intake.tokens = (f"control {number}",)

    def _make_source(self, node: Node) -> Source:
        memory = self.memories.setdefault(node.name, JournalState(epoch=node.incarnation))
        node.script = self._what_is_left(node)
        self.resumed.discard(node.name)
        return make_source(
            self.chain,
            node.name,
            epoch=memory.epoch,
            # The next life reads it from a file.
            memory=msgspec.msgpack.decode(msgspec.msgpack.encode(memory), type=JournalState),
            incarnation=node.incarnation,
            new_run=self._new_run,
            make_early_stop=lambda reason: lambda totals: ("stop", reason, totals.as_data()),
            history=node.history,
        )

    def _what_is_left(self, node: Node) -> deque[InputBatch]:
        done = self.acknowledged.setdefault(node.name, [])
        if self.has_offset:
            done = self._order(node)[: self.offset.get(node.name, 0)]
        left: deque[InputBatch] = deque()
        for intake in self.scripts[str(node.name)]:
            at = [index for index, token in enumerate(intake.tokens) if token not in done]
            while at:
                part = [at.pop(0) for _ in range(min(len(at), self.random.randint(1, 3)))]
                items = [intake.items[index] for index in part] if intake.items else ()
                tokens = [intake.tokens[index] for index in part]
                keys = intake.keys and [intake.keys[index] for index in part]
                stop = intake.make_stop
                left.append(InputBatch(intake.kind, items, tokens, len(part), keys, stop))
        return left

    def _bury(self, node: Node) -> None:
        super()._bury(node)
        if node.stage.role == "listener":
            # What the dead had sent to the dead is in no connection any more.
            self.heard = [heard for heard in self.heard if heard[0] != node.name]
            for pipe in self.pipes:
                if pipe.receiver == node.name and pipe.closed:
                    self.untold += sum(isinstance(each, Suspect) for each in pipe.queue)
                    pipe.queue.clear()

    def _feed(self, node: Node) -> None:
        if node.name not in self.resumed:
            self.resumed.add(node.name)
            self._do(node, node.machine.begin(self.now))
        else:
            super()._feed(node)

    def _dies_now(self) -> bool:
        if not self.faults["source_kill"] or self.random.random() > DEATH_AT_AN_ACTION:
            return False
        self.faults["source_kill"] -= 1
        return True

    def _act(self, node: Node, action: Any) -> bool:
        if node.stage.role != "listener":
            return super()._act(node, action)
        if self._dies_now():
            # Whoever told it may be dead before the next life could hear it.
            self.untold += isinstance(action, NoteEntry) and isinstance(action.entry, ProcessDied)
            self._bury(node)
            return False
        if isinstance(action, NoteEntry):
            self.memories[node.name].apply(action.entry)
            return True
        if isinstance(action, Release):
            tokens = action.tokens
            if self._dies_now():
                self._acknowledge(node, tokens[: self.random.randint(0, len(tokens))])
                self._bury(node)
                return False
            self._acknowledge(node, tokens)
        return super()._act(node, action)

    def _acknowledge(self, node: Node, tokens: Any) -> None:
        known = self.acknowledged[node.name]
        # A note makes lists of tuples.
        read = [tuple(token) if isinstance(token, list) else token for token in tokens]
        known += [token for token in dict.fromkeys(read) if token not in {None, *known}]
        order = self._order(node)
        if known != order[: len(known)]:
            raise BrokenPromiseError(f"{node.name} has acknowledged {known}, not {order}")
        for token in read:
            if token is not None:
                self.offset[node.name] = order.index(token) + 1

    def _order(self, node: Node) -> list[Any]:
        script = self.scripts[str(node.name)]
        return list(itertools.chain.from_iterable(intake.tokens for intake in script))
