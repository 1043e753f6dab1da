"""What the model's chains have in common in which sources die too, as other processes do."""

from __future__ import annotations

from typing import Any

from unit.protocol.model import World

from arroyo.identifiers import ReplicaName


class MortalWorld(World):
    """A world in which so many sources die, each at a time that nobody has chosen."""

    def __init__(self, *args: Any, source_kills: int) -> None:
        super().__init__(*args)
        self.faults["source_kill"] = source_kills

    def _start(self, name: ReplicaName) -> None:
        super()._start(name)
        for node in self.nodes.values() if self.nodes[name].stage.role == "listener" else ():
            sources = self.chain.sources_above(node.stage.name)
            if node.machine is not None and name in [each for s in sources for each in s.names]:
                # The connection back is made anew, so it hears of everybody.
                self._do(node, node.machine.receiver.greet(name))

    def _source_kill(self) -> bool:
        victims = [
            node
            for node in self.nodes.values()
            if node.machine is not None and node.stage.role == "listener" and not node.done
        ]
        if victims:
            self._bury(self.random.choice(victims))
        return bool(victims)
