"""Stages that keep account: what a source has handed over, what each sink has published.

`campaign` copies this file to the chain's folder. Every line of an account is written with one
write, so a kill at any moment leaves whole lines. `oracle` reads the accounts and judges.
"""

import ctypes
import errno
import os
import random
import resource
import struct
import threading
import time
import zlib
from pathlib import Path

import msgspec

from arroyo import Event, Listener, Operator, Publisher, Start, Stop
from arroyo.errors import UnavailableError

ENOUGH = "enough"
"""File that ends all sources, in mid-run but with a Stop."""
HEAD_BYTES = 8
EFFECT = struct.Struct("<QQQ")
"""What the idempotent sink keeps of a message: its index plus one, checksum, life."""


class Handed(msgspec.Struct, array_like=True):
    """A line of a source's account, written when `process()` has returned; or its orderly end."""

    life: int
    kind: str
    run: int = 0
    index: int = 0
    crc: int = 0


class Published(msgspec.Struct, array_like=True):
    """A line of a sink's account."""

    life: int
    kind: str
    source: str
    run: str
    path: int
    key: str
    source_life: int = 0
    source_run: int = 0
    index: int = 0
    parts: tuple[int, ...] = ()
    crc: int = 0
    totals: dict | None = None
    epoch: int = 0
    inputs: tuple[tuple[int, int], ...] = ()
    """Index and checksum of each event that was folded into this one."""


class Account:
    """A file that lines are added to; a line that finds no room is taken back."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.encoder = msgspec.json.Encoder()

    def write(self, line):
        data = self.encoder.encode(line) + b"\n"
        try:
            written = os.write(self.file, data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            written = 0
        if written < len(data):
            os.ftruncate(self.file, os.fstat(self.file).st_size - written)
            raise UnavailableError("the disk is full; make room on it")

    def close(self):
        os.close(self.file)


class Source(Listener):
    """Runs of numbered events, in bursts, until there have been enough.

    events
        per run
    runs
        none: until the file `ENOUGH` is there
    rate_hz
        0: as fast as the chain takes them
    """

    BURST_S = 0.1

    def __init__(self, operator, path, size_bytes, events, runs=None, rate_hz=0.0):
        super().__init__(operator)
        self.path = path
        self.events, self.runs, self.rate_hz = events, runs, rate_hz
        self.block = random.Random(0).randbytes(max(0, size_bytes - HEAD_BYTES))
        self.stopping = threading.Event()
        self.index = 0

    def open(self):
        self.account = Account(self.path)
        self.life = os.getpid()

    def start(self):
        self.began = time.monotonic()
        run = 0
        while run != self.runs and not self.is_over():
            self.operator.process(Start(self.label(run)))
            self.account.write(Handed(self.life, "Start", run))
            last = self.index + self.events
            while self.index < last and not self.is_over():
                self.hand_over_burst(run, last)
            if self.stopping.is_set():
                break
            self.operator.process(Stop(self.label(run)))
            self.account.write(Handed(self.life, "Stop", run))
            run += 1
        self.account.write(Handed(self.life, "End"))

    def hand_over_burst(self, run, last):
        count = max(1, round(self.rate_hz * self.BURST_S)) if self.rate_hz else 100
        for index in range(self.index, min(self.index + count, last)):
            payload = index.to_bytes(HEAD_BYTES, "little") + self.block
            crc = zlib.crc32(payload)
            metadata = {"index": index, "parts": [], **self.label(run)}
            self.hand_over(Event(metadata, payload), Handed(self.life, "Event", run, index, crc))
            self.index += 1
        if self.rate_hz:
            due = self.began + self.index / self.rate_hz
            self.stopping.wait(max(0.0, due - time.monotonic()))

    def hand_over(self, event, line):
        self.operator.process(event)
        self.account.write(line)

    def label(self, run):
        return {"life": self.life, "run": run}

    def is_over(self):
        return self.stopping.is_set() or Path(ENOUGH).exists()

    def stop(self):
        self.stopping.set()

    def close(self):
        self.account.close()


class ReplayableSource(Source):
    """Begins again with what nobody has acknowledged: all its lives are one to the oracle."""

    replayable = True

    def open(self):
        super().open()
        self.life = 1
        path = self.state_directory / "acknowledged"
        self.acknowledged = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.index = int.from_bytes(os.read(self.acknowledged, HEAD_BYTES), "little")
        lines = msgspec.json.Decoder(Handed).decode_lines(Path(self.path).read_bytes())
        self.handed_before = max(
            (line.index + 1 for line in lines if line.kind == "Event"), default=0
        )

    def hand_over(self, event, line):
        # Noted first: it may be acknowledged before a death, and then nobody hands it over again.
        self.account.write(line)
        self.operator.process(event, token=line.index)

    def is_over(self):
        # What a former life has handed over is in the input, whenever there has been enough.
        if self.index < self.handed_before:
            return self.stopping.is_set()
        return super().is_over()

    def acknowledge(self, token):
        os.pwrite(self.acknowledged, (token + 1).to_bytes(HEAD_BYTES, "little"), 0)

    def close(self):
        os.close(self.acknowledged)
        super().close()


class Work(Operator):
    """Keeps each `keeps`-th event, in so many parts; meets the fate that `fate` asks it to."""

    def __init__(self, name, keeps=1, parts=1, sleep_s=0.0, spin_s=0.0):
        self.name = name
        self.keeps, self.parts = keeps, parts
        self.sleep_s, self.spin_s = sleep_s, spin_s

    def process(self, message):
        if not isinstance(message, Event):
            return message
        meet_fate(self.name)
        if self.sleep_s:
            time.sleep(self.sleep_s)  # stands for work, as the loop below does
        until = time.perf_counter() + self.spin_s if self.spin_s else 0.0
        while until and time.perf_counter() < until:
            pass
        metadata = message.metadata
        if metadata["index"] % self.keeps:
            return None
        if self.parts == 1:
            return Event(metadata | {"by": self.name}, message.payload)
        return [
            Event(metadata | {"parts": [*metadata["parts"], part]}, message.payload)
            for part in range(self.parts)
        ]


class Fold(Operator):
    """Makes one event of so many, which has the first one's payload; of what is left as well."""

    folds = True
    max_inputs = 16

    def __init__(self, name, inputs):
        self.name, self.inputs = name, inputs
        self.waiting = {}

    def process(self, message):
        if isinstance(message, Start):
            return message
        run = message.origin.source, message.origin.run
        held = self.waiting.setdefault(run, [])
        if isinstance(message, Stop):
            del self.waiting[run]
            return [self.fold(held), message] if held else message
        meet_fate(self.name)
        held.append(message)
        return self.fold(held) if len(held) == self.inputs else None

    @staticmethod
    def fold(held):
        first = held[0]
        inputs = [(each.metadata["index"], zlib.crc32(each.payload)) for each in held]
        event = Event(first.metadata | {"inputs": inputs}, first.payload)
        held.clear()
        return event


class Sink(Publisher):
    """Writes an account of all that it publishes; the same twice is there twice."""

    def __init__(self, name, path):
        self.name, self.path = name, path

    def open(self):
        self.account = Account(self.path)
        self.life = os.getpid()

    def publish(self, message):
        origin = message.origin
        line = Published(
            self.life,
            type(message).__name__,
            origin.source,
            origin.run,
            origin.path,
            message.key,
            epoch=origin.epoch,
        )
        told = message.metadata if isinstance(message, Event) else message.data
        line.source_life, line.source_run = told.get("life", 0), told.get("run", 0)
        if isinstance(message, Event):
            meet_fate(self.name)
            line.index, line.parts = told["index"], tuple(told["parts"])
            line.crc = zlib.crc32(message.payload)
            line.inputs = tuple(map(tuple, told.get("inputs", ())))
            self.keep(line)
        elif isinstance(message, Stop):
            line.totals = told["totals"]
        self.account.write(line)

    def keep(self, line):
        """Nothing is kept but the account."""

    def close(self):
        self.account.close()


class IdempotentSink(Sink):
    """Also keeps each event in the place that its key names, where the same twice is there once."""

    idempotent = True
    OPEN_FILES = 64

    def open(self):
        super().open()
        self.folder = Path(f"{self.name}.effects")
        self.folder.mkdir(exist_ok=True)
        self.files = {}

    def keep(self, line):
        name, sequence = place_of(line.key)
        if name not in self.files:
            if len(self.files) >= self.OPEN_FILES:
                os.close(self.files.pop(next(iter(self.files))))
            self.files[name] = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
        effect = EFFECT.pack(line.index + 1, line.crc, line.source_life)
        os.pwrite(self.files[name], effect, sequence * EFFECT.size)

    def close(self):
        for file in self.files.values():
            os.close(file)
        super().close()


def place_of(key):
    """Give the file and the row that a key names: fragment and path go into the file's name."""
    source, run, place = key.split("/")
    place, _, path = place.partition("@")
    sequence, _, parts = place.partition(".")
    return f"{source}~{run}~{parts}~{path}", int(sequence)


def meet_fate(stage):
    """Do what the file `STAGE.fate` says: one replica, once. Nearly always there is none."""
    mine = f"{stage}.fate.{os.getpid()}"
    try:
        os.rename(f"{stage}.fate", mine)
    except FileNotFoundError:
        return
    FATES[Path(mine).read_text()]()


def hang_in_python():
    while True:
        pass


def hang_in_c():
    """Sleep without letting go of the interpreter's lock; a signal ends a sleep."""
    while True:
        ctypes.PyDLL(None).sleep(3600)


def run_out_of_memory():
    """Allocate until a limit of 64 MiB more than now is reached."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


FATES = {
    "python": hang_in_python,
    "c": hang_in_c,
    "memory": run_out_of_memory,
}
