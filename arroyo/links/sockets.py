"""`Links`: all sockets of one replica. It carries out actions and reports what came.

Push-pull sockets have no high-water mark: the window and the credits bound what is under way, so
no send ever waits. Pub-sub sockets have one and drop beyond it. Used from one thread, except
`wake`.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq

from arroyo.codec import (
    PROTOCOL_VERSION,
    BackRecord,
    Batch,
    DataRecord,
    Open,
    decode_back,
    decode_data,
    encode_record,
    join,
    slabs_of,
)
from arroyo.errors import ArroyoError, DecodeError, UnavailableError, fault_of
from arroyo.identifiers import ReplicaName
from arroyo.protocol.values.actions import Action, Broadcast, Connect, Reply, Transmit

from .addresses import Addresses
from .events import (
    AboveCame,
    DataReceived,
    LinkBroke,
    LinkEvent,
    RecordCame,
    SubscriptionStands,
)

MAX_FRAME_BYTES = 4 * 1024**3
"""A peer that announces a larger frame is cut off."""
PUBLICATION_MESSAGES = 1000
"""Batches that wait for one slow subscriber before it loses some."""
RECORDS_AT_ONCE = 64
"""So many records are taken before time and signals are looked at again."""
FLUSH_S = 2.0
"""How long closing waits until what was sent has left, in s."""

_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class _Push:
    """A sending socket with one peer, and what its monitor tells of that one."""

    def __init__(self, socket: zmq.Socket[bytes], link: int = 0) -> None:
        self.socket = socket
        self.link = link
        self.monitor: zmq.Socket[bytes] = socket.get_monitor_socket(_WATCHED)
        self.connected = False

    def take_news(self) -> set[int]:
        """Return which events have come since the last time: connected, disconnected or both."""
        news = set()
        with contextlib.suppress(zmq.Again):
            while True:
                event, *_ = self.monitor.recv_multipart(zmq.NOBLOCK)
                news.add(int.from_bytes(event[:2], sys.byteorder))
                self.connected = event[:2] != _DISCONNECTED
        return news

    def close(self, linger_ms: int) -> None:
        """Close it; what was sent may take so long to leave, if there is anybody to take it."""
        self.take_news()
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms if self.connected else 0)


_DISCONNECTED = int(zmq.EVENT_DISCONNECTED).to_bytes(2, sys.byteorder)


class Links:
    """Sockets of one replica.

    Parameters
    ----------
    name
        The replica.
    addresses
        Of the whole chain.
    receives, sends, publishes
        Which sockets it needs: for push-pull from above, for anything below, for pub-sub below.
    above, below
        Replicas whose records are taken: neighbours that send data, and all that answer. Records
        of others are rejected, since answering a stranger needs an address that it doesn't have.
    subscriptions
        Replicas above that send by pub-sub.
    reject
        Called with the error for each frame that is no record, and each record of a stranger.

    Raises
    ------
    ConfigurationError
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
        self._above = frozenset(map(str, above))
        self._below = frozenset(below)
        self._reject = reject
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pushes: dict[ReplicaName, _Push] = {}
        self._backs: dict[ReplicaName, _Push] = {}
        self._bound: list[str] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._all, self._deaf = zmq.Poller(), zmq.Poller()
        self._watch(self._wake)
        self._inputs: list[zmq.Socket[bytes]] = []
        self._carrying: set[Any] = set()
        """Sockets that records come in by, which are nearly all that is ever ready."""
        self._back: zmq.Socket[bytes] | None = None
        self._publication: zmq.Socket[bytes] | None = None
        try:
            if sends:
                self._back = self._bind(zmq.PULL, addresses.back(name))
                self._watch(self._back)
            if receives:
                self._inputs.append(self._bind(zmq.PULL, addresses.data(name)))
            if publishes:
                self._publication = self._bind(zmq.XPUB, addresses.publication(name))
                self._publication.setsockopt(zmq.XPUB_VERBOSE, 1)
                self._watch(self._publication)
        except BaseException:
            self._context.destroy(linger=0)
            os.close(self._wake)
            raise
        if subscriptions:
            self._inputs.append(self._subscribe(subscriptions))
        for socket in self._inputs:
            self._all.register(socket, zmq.POLLIN)
        self._carrying.update(self._inputs, (self._back,))

    # From any thread

    def wake(self) -> None:
        """Make `poll` return. May be called from any thread, and from a signal handler."""
        with contextlib.suppress(OSError, ValueError):  # it is awake, or has ended
            os.eventfd_write(self._wake, 1)

    # Sending

    def perform(self, actions: Sequence[Action] | Iterator[Action]) -> None:
        """Carry out what concerns sockets; other actions are not for this class."""
        for action in actions:
            if isinstance(action, Transmit):
                self._send(self._pushes[action.to].socket, action.record, action.items)
            elif isinstance(action, Reply):
                self._back_to(action.to).send(encode_record(action.record))
            elif isinstance(action, Broadcast) and self._publication is not None:
                self._send(self._publication, action.record, action.items)
            elif isinstance(action, Connect):
                self._connect(action)

    def _send(self, socket: zmq.Socket[bytes], record: DataRecord, items: Sequence[object]) -> None:
        if not isinstance(record, Batch):
            socket.send(encode_record(record))
            return
        body, detached, payloads = join(items)  # type: ignore[arg-type]
        slabs = slabs_of(items)  # type: ignore[arg-type]
        record = msgspec.structs.replace(
            record, detached=detached, slabs=slabs, sent_ns=time.monotonic_ns()
        )
        socket.send(encode_record(record), zmq.SNDMORE)
        socket.send(body, zmq.SNDMORE if payloads else 0)
        for index, payload in enumerate(payloads, 1):
            socket.send(payload, zmq.SNDMORE if index < len(payloads) else 0, copy=False)

    def _connect(self, action: Connect) -> None:
        if action.to in self._pushes:
            self._drop_push(action.to)
        address = self._addresses.data(action.to)
        self._pushes[action.to] = self._push_to(address, action.link)

    def _push_to(self, address: str, link: int = 0) -> _Push:
        push = _Push(self._socket(zmq.PUSH), link)
        self._watch(push.monitor)
        push.socket.connect(address)
        return push

    def _drop_push(self, name: ReplicaName) -> None:
        push = self._pushes.pop(name)
        self._all.unregister(push.monitor)
        self._deaf.unregister(push.monitor)
        push.close(0)

    def _back_to(self, name: ReplicaName) -> zmq.Socket[bytes]:
        if name not in self._backs:
            address = self._addresses.back(name)
            self._backs[name] = self._push_to(address)
        return self._backs[name].socket

    # Receiving

    def poll(self, timeout_s: float | None, *, deaf: bool = False) -> Iterator[LinkEvent]:
        """Wait for something and yield what came, back records first.

        Whoever can't go on taking data stops iterating; what is left comes next time.

        Parameters
        ----------
        timeout_s
            None: as long as it takes.
        deaf
            Leave data where it is.
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
            yield from self._take_records(self._back)
        if not self._carrying.issuperset(ready):
            yield from self._take_news(ready)
        for socket in self._inputs:
            if socket in ready:
                yield from self._take_data(socket)

    def _take_news(self, ready: Mapping[Any, int]) -> Iterator[LinkEvent]:
        for name, push in list(self._pushes.items()):
            if push.monitor in ready and zmq.EVENT_DISCONNECTED in push.take_news():
                yield LinkBroke(name, push.link)
        for name, push in self._backs.items():
            if push.monitor in ready and zmq.EVENT_HANDSHAKE_SUCCEEDED in push.take_news():
                yield AboveCame(name)

    def _greet_subscribers(self, publication: zmq.Socket[bytes]) -> None:
        """Let a new subscriber hear something, so that it knows that its subscription stands."""
        with contextlib.suppress(zmq.Again):
            while True:
                subscription = publication.recv(zmq.NOBLOCK)
                if subscription[:1] == b"\x01" and len(subscription) > 1:
                    greeting = Open(PROTOCOL_VERSION, *self._name, incarnation=0, link=0)
                    publication.send(encode_record(greeting))

    def _take_records(self, socket: zmq.Socket[bytes]) -> Iterator[LinkEvent]:
        for _ in range(RECORDS_AT_ONCE):
            try:
                header = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                record = decode_back(header)
                if (record.stage, record.replica) not in self._below:
                    raise _stranger(record, f"{record.stage}.{record.replica}", "below")
            except DecodeError as error:
                self._reject(error)
            else:
                yield RecordCame(record)

    def _take_data(self, socket: zmq.Socket[bytes]) -> Iterator[LinkEvent]:
        for _ in range(RECORDS_AT_ONCE):
            try:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            header = frame.buffer
            frames: list[bytes | memoryview] = []
            while frame.more:
                frame = socket.recv(copy=False)
                frames.append(frame.buffer.toreadonly())
            try:
                record = decode_data(header)
                if isinstance(record, Batch) and not frames:
                    raise DecodeError("a batch came without its body")
                if (sender := _sender_of(record)) not in self._above:
                    raise _stranger(record, sender, "above")
            except DecodeError as error:
                self._reject(error)
            else:
                if isinstance(record, Open) and socket.type == zmq.SUB:
                    yield SubscriptionStands(ReplicaName(record.stage, record.replica))
                else:
                    yield DataReceived(record, frames)

    # Sockets

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        high_water = PUBLICATION_MESSAGES if kind in (zmq.XPUB, zmq.SUB) else 0
        socket.set_hwm(high_water)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 50)
        socket.setsockopt(zmq.LINGER, 0)
        return socket

    def _bind(self, kind: int, address: str) -> zmq.Socket[bytes]:
        socket = self._socket(kind)
        if address.startswith("tcp:"):
            # A peer that vanished without a word; on ipc the kernel tells at once.
            socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
            socket.setsockopt(zmq.HEARTBEAT_TTL, 6000)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close()
            raise _unbound(address, error) from error
        self._bound.append(address)
        return socket

    def _subscribe(self, replicas: Sequence[ReplicaName]) -> zmq.Socket[bytes]:
        socket = self._socket(zmq.SUB)
        # Everything first, then the name, which tells that everything has been subscribed to.
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.setsockopt(zmq.SUBSCRIBE, str(self._name).encode())
        for name in replicas:
            socket.connect(self._addresses.publication(name))
        return socket

    def _watch(self, source: zmq.Socket[bytes] | int) -> None:
        self._all.register(source, zmq.POLLIN)
        self._deaf.register(source, zmq.POLLIN)

    def close(self, *, flush: bool = True) -> None:
        """Close everything; with `flush`, what was sent may take up to FLUSH_S to leave."""
        linger = int(FLUSH_S * 1000) if flush else 0
        for push in (*self._pushes.values(), *self._backs.values()):
            push.close(linger)
        for socket in self._inputs:
            socket.close(linger=0)  # a subscription that finds no publisher would be waited for
        for socket in filter(None, (self._back, self._publication)):
            socket.close(linger=linger)
        # With what was made and not noted, as a socket whose connecting failed: `term` would wait
        # for that for ever.
        self._context.destroy(linger=linger)
        # ZMQ leaves its socket files where they are. The next life can't have bound them yet: the
        # replica's lock is let go of after this.
        for address in self._bound:
            if address.startswith("ipc://"):
                Path(address.removeprefix("ipc://")).unlink(missing_ok=True)
        # A listener's thread that has not ended yet may still call `wake`.
        descriptor, self._wake = self._wake, -1
        os.close(descriptor)


def _sender_of(record: DataRecord) -> str:
    return f"{record.stage}.{record.replica}" if isinstance(record, Open) else record.sender


def _stranger(record: DataRecord | BackRecord, name: str, side: str) -> DecodeError:
    return DecodeError(
        f"{type(record).__name__} of {name:.80}, which is no stage {side} this one; does another "
        "chain use this address?"
    )


def _unbound(address: str, error: zmq.ZMQError) -> ArroyoError:
    cause = OSError(error.errno, error.strerror)
    advice = "is another program using it? Change `listen` or end that program"
    if fault_of(cause) is UnavailableError:
        advice = "it is tried again"
    return fault_of(cause)(f"{address} can't be bound: {error.strerror}; {advice}")
