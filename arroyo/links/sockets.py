"""`Links`: all sockets of one replica. It carries out actions and reports what came.

Used from one thread, except `wake`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import zmq

from arroyo.codec import PROTOCOL_VERSION, Batch, DataRecord, Open, encode_record, join, slabs_of
from arroyo.errors import DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Broadcast, Connect, Reply, Transmit

from .addresses import Addresses
from .link_events import LinkBroken, LinkEvent, SenderConnected
from .record_reader import RecordReader
from .socket_context import SocketContext

FLUSH_S = 2.0
"""How long closing waits until what was sent has left, in s."""


class Links:
    """Sockets of one replica.

    Parameters
    ----------
    receives, sends, publishes
        Which sockets it needs: for push-pull links from above, for links below, for pub-sub links
        below.
    above, below, reject
        As in `RecordReader`.
    subscriptions
        Replicas above that send by pub-sub.

    Raises
    ------
    ConfigurationError, UnavailableError
        An address can't be bound.
    """

    def __init__(
        self,
        name: ReplicaName,
        addresses: Addresses,
        *,
        receives: bool,
        sends: bool,
        publishes: bool,
        above: Iterable[ReplicaName],
        below: Iterable[ReplicaName],
        subscriptions: Sequence[ReplicaName],
        reject: Callable[[DecodeError], None],
    ) -> None:
        self._name = name
        self._addresses = addresses
        self._reader = RecordReader(above, below, reject)
        self._context = SocketContext()
        self._down: dict[ReplicaName, PushSocket] = {}
        self._up: dict[ReplicaName, PushSocket] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._all, self._deaf = zmq.Poller(), zmq.Poller()
        self._watch(self._wake)
        self._inputs: list[zmq.Socket[bytes]] = []
        self._carrying: set[Any] = set()
        """Sockets that receive records: nearly always no others are ready."""
        self._back: zmq.Socket[bytes] | None = None
        self._publication: zmq.Socket[bytes] | None = None
        with contextlib.ExitStack() as failing:
            failing.callback(os.close, self._wake)
            failing.callback(self._context.close, 0)
            if sends:
                self._back = self._context.bind(zmq.PULL, addresses.back(name))
                self._watch(self._back)
            if receives:
                self._inputs.append(self._context.bind(zmq.PULL, addresses.data(name)))
            if publishes:
                self._publication = self._context.bind(zmq.XPUB, addresses.publication(name))
                self._publication.setsockopt(zmq.XPUB_VERBOSE, 1)
                self._watch(self._publication)
            failing.pop_all()
        if subscriptions:
            above_addresses = list(map(addresses.publication, subscriptions))
            self._inputs.append(self._context.subscribe(str(name), above_addresses))
        for socket in self._inputs:
            self._all.register(socket, zmq.POLLIN)
        self._carrying.update(self._inputs, (self._back,))

    # From any thread

    def wake(self) -> None:
        """Make `poll` return. From any thread, and from a signal handler."""
        with contextlib.suppress(
            OSError, ValueError
        ):  # `poll` will return anyway, or the links are closed
            os.eventfd_write(self._wake, 1)

    # Sending

    def perform(self, actions: Sequence[Action] | Iterator[Action]) -> None:
        """Carry out the actions that concern sockets, and pass over others."""
        for action in actions:
            if isinstance(action, Transmit):
                self._send(self._down[action.to].socket, action.record, action.items)
            elif isinstance(action, Reply):
                self._up_to(action.to).send(encode_record(action.record))
            elif isinstance(action, Broadcast) and self._publication is not None:
                self._send(self._publication, action.record, action.items)
            elif isinstance(action, Connect):
                self._connect(action)

    def _send(self, socket: zmq.Socket[bytes], record: DataRecord, items: Sequence[Any]) -> None:
        if not isinstance(record, Batch):
            socket.send(encode_record(record))
            return
        body, detached, payloads = join(items)
        slabs = slabs_of(items)
        record = msgspec.structs.replace(
            record, detached=detached, slabs=slabs, sent_ns=time.monotonic_ns()
        )
        socket.send(encode_record(record), zmq.SNDMORE)
        socket.send(body, zmq.SNDMORE if payloads else 0)
        for index, payload in enumerate(payloads, 1):
            socket.send(payload, zmq.SNDMORE if index < len(payloads) else 0, copy=False)

    def _connect(self, action: Connect) -> None:
        if (before := self._down.pop(action.to, None)) is not None:
            self._all.unregister(before.monitor)
            self._deaf.unregister(before.monitor)
            before.close(0)
        self._down[action.to] = self._push_to(self._addresses.data(action.to), action.link)

    def _push_to(self, address: str, link: int = 0) -> PushSocket:
        push = PushSocket(self._context.socket(zmq.PUSH), link)
        self._watch(push.monitor)
        push.socket.connect(address)
        return push

    def _up_to(self, name: ReplicaName) -> zmq.Socket[bytes]:
        if name not in self._up:
            self._up[name] = self._push_to(self._addresses.back(name))
        return self._up[name].socket

    # Receiving

    def poll(self, timeout_s: float | None, *, deaf: bool = False) -> Iterator[LinkEvent]:
        """Wait for something and yield what came, records from below first.

        A caller that can't take more data stops iterating; the rest comes next time.

        `timeout_s`: the longest wait; None: as long as it takes.
        `deaf`: leave data in the sockets.
        """
        poller = self._deaf if deaf else self._all
        ready = dict(poller.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)))
        if not ready:
            return
        if self._wake in ready:
            os.eventfd_read(self._wake)
        if self._publication is not None and self._publication in ready:
            self._greet_subscribers(self._publication)
        if self._back is not None and self._back in ready:
            yield from self._reader.read_back(self._back)
        if not self._carrying.issuperset(ready):
            yield from self._connections(ready)
        for socket in self._inputs:
            if socket in ready:
                yield from self._reader.read_data(socket)

    def _connections(self, ready: Mapping[Any, int]) -> Iterator[LinkEvent]:
        for name, push in list(self._down.items()):
            if push.monitor in ready and zmq.EVENT_DISCONNECTED in push.take_events():
                yield LinkBroken(name, push.link)
        for name, push in self._up.items():
            if push.monitor in ready and zmq.EVENT_HANDSHAKE_SUCCEEDED in push.take_events():
                yield SenderConnected(name)

    def _greet_subscribers(self, publication: zmq.Socket[bytes]) -> None:
        """Send each new subscriber a record, by which it knows that its subscription stands."""
        with contextlib.suppress(zmq.Again):
            while True:
                subscription = publication.recv(zmq.NOBLOCK)
                if subscription[:1] == b"\x01" and len(subscription) > 1:
                    greeting = Open(PROTOCOL_VERSION, *self._name, incarnation=0, link=0)
                    publication.send(encode_record(greeting))

    def _watch(self, source: zmq.Socket[bytes] | int) -> None:
        self._all.register(source, zmq.POLLIN)
        self._deaf.register(source, zmq.POLLIN)

    def close(self, *, flush: bool = True) -> None:
        """Close everything; with `flush`, what was sent may take up to FLUSH_S to leave."""
        linger = int(FLUSH_S * 1000) if flush else 0
        for push in (*self._down.values(), *self._up.values()):
            push.close(linger)
        for socket in self._inputs:
            socket.close(linger=0)  # else it would wait for a publisher that never came
        for socket in filter(None, (self._back, self._publication)):
            socket.close(linger=linger)
        self._context.close(linger)
        # The thread of a listener that has not ended yet may still call `wake`.
        descriptor, self._wake = self._wake, -1
        os.close(descriptor)


_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED).to_bytes(2, sys.byteorder)


class PushSocket:
    """A PUSH socket and its monitor.

    `link`: number of the link that it carries; 0 for records that go up.
    """

    def __init__(self, socket: zmq.Socket[bytes], link: int = 0) -> None:
        self.socket = socket
        self.link = link
        self.monitor: zmq.Socket[bytes] = socket.get_monitor_socket(_WATCHED)
        self.connected = False

    def take_events(self) -> set[int]:
        """Return which events the monitor has seen since the last call: connected, disconnected."""
        seen = set()
        with contextlib.suppress(zmq.Again):
            while True:
                event, *_ = self.monitor.recv_multipart(zmq.NOBLOCK)
                seen.add(int.from_bytes(event[:2], sys.byteorder))
                self.connected = event[:2] != _DISCONNECTED
        return seen

    def close(self, linger_ms: int) -> None:
        """Close it; a peer that is connected has `linger_ms` to take what was sent."""
        self.take_events()
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms if self.connected else 0)
