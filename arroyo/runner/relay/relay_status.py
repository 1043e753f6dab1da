"""`RelayStatus`: what the status page says of a replica that has stages above."""

from __future__ import annotations

from .role import Equipment, Machine, Role

STATUS_S = 0.2
"""How often it is written."""


class RelayStatus:
    """Writes the counters of one replica to its status page, now and then."""

    def __init__(self, equipment: Equipment, role: Role, machine: Machine) -> None:
        self._equipment = equipment
        self._role = role
        self._machine = machine
        self._due = 0.0

    def write_if_due(self, now: float) -> None:
        """Write if the last time is long enough ago."""
        if now >= self._due:
            self._due = now + STATUS_S
            self.write()
            self._equipment.replica.tap.look()

    def write(self) -> None:
        """Write what is so now."""
        replica, receiver = self._equipment.replica, self._machine.receiver
        page = replica.page
        failed = self._equipment.reader.unreadable + self._role.call.errors
        page.set("errors", failed + replica.rejected)
        inputs = [source.stage for source in replica.stage.inputs]
        self._equipment.counters.write(page, inputs)
        page.set("rejected", replica.rejected)
        page.set("dropped", receiver.dropped)
        page.set("inline", replica.payloads.inline)
        page.set("in_flight", self._machine.in_flight)
        page.set("redelivered", receiver.redelivered)
