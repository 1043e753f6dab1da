"""Stages of the chains that tests run, as a user would write them beside a chain file.

`chains.ChainFolder` copies this file to each chain's folder, as `own_stages`. Files that stages
write are in that folder too. A gate is a file there: it is open once it exists.
"""

import json
import os
import threading
import time
import zlib
from pathlib import Path

from arroyo import ArroyoError, Event, Listener, Message, Operator, Publisher, Start, Stop

GATE_POLL_S = 0.005


def wait_for(gate, meanwhile=lambda: None):
    """Wait until a gate is open; `meanwhile` is called again and again."""
    while not Path(gate).exists():
        meanwhile()
        threading.Event().wait(GATE_POLL_S)


class Reading(Message):
    """A message type of one's own."""

    index: int
    values: tuple[float, ...] = ()


class Count(Listener):
    """Runs of numbered messages; `index` counts on over the runs.

    events
        per run; none: until it is stopped
    size_bytes, buffer
        payload, in a new object each (`new`), or one bytearray that is written again and again
    kind
        `event`, or `reading` for a type of our own
    start, stop
        whether a run has its Start and Stop
    pause_at
        before this index it waits for the gate
    every_s
        a pause after each message
    group
        so many values take turns in the metadata's `group`
    deaf
        `stop()` does nothing
    handed
        file for the number of messages that were taken, when it ends
    """

    def __init__(
        self,
        operator,
        events=None,
        runs=1,
        size_bytes=0,
        buffer="new",
        kind="event",
        start=True,
        stop=True,
        pause_at=None,
        every_s=0.0,
        group=3,
        deaf=False,
        handed=None,
    ):
        super().__init__(operator)
        self.events = events
        self.runs = runs
        self.size_bytes = size_bytes
        self.buffer = bytearray(size_bytes) if buffer == "same" else None
        self.kind = kind
        self.has_start, self.has_stop = start, stop
        self.pause_at = pause_at
        self.every_s = every_s
        self.group = group
        self.deaf = deaf
        self.handed = handed
        self.index = 0
        self.stopping = threading.Event()

    def start(self):
        for run in range(self.runs):
            if self.has_start:
                self.operator.process(Start({"run": run}))
            first = self.index
            while not self.stopping.is_set() and (
                self.events is None or self.index < first + self.events
            ):
                if self.index == self.pause_at and not self.waits_for("gate"):
                    break
                self.operator.process(self.message(self.index))
                self.index += 1
                if self.every_s:
                    self.stopping.wait(self.every_s)
            # An instrument that is stopped in mid-run says no Stop.
            if self.has_stop and not self.stopping.is_set():
                self.operator.process(Stop({"run": run}))
        if self.handed:
            Path(self.handed).write_text(str(self.index))

    def waits_for(self, gate):
        while not Path(gate).exists():
            if self.stopping.wait(GATE_POLL_S):
                return False
        return True

    def message(self, index):
        if self.kind == "reading":
            return Reading(index, (index / 2,))
        metadata = {"index": index, "group": index % self.group}
        if self.buffer is None:
            payload = bytes([index % 251]) * self.size_bytes
        else:
            payload = self.buffer
            payload[:] = bytes([index % 251]) * self.size_bytes
        metadata["crc"] = zlib.crc32(payload)
        return Event(metadata, payload)

    def stop(self):
        if not self.deaf:
            self.stopping.set()


class Bursts(Listener):
    """Many events at once and then a single one, `rounds` times; each says when it was made."""

    def __init__(self, operator, rounds):
        super().__init__(operator)
        self.rounds = rounds
        self.stopping = threading.Event()

    def start(self):
        for _ in range(self.rounds):
            for _ in range(100):
                self.hand_over(single=False)
            # So soon after a burst, the source waits for more to come.
            self.stopping.wait(0.0003)
            self.hand_over(single=True)
            self.stopping.wait(0.3)

    def hand_over(self, single):
        self.operator.process(Event({"single": single, "made_ns": time.monotonic_ns()}))

    def stop(self):
        self.stopping.set()


class NeverStarts(Count):
    def start(self):
        raise RuntimeError("the detector said no")


class Pass(Operator):
    """Hands on what it gets, with its own name in the metadata's `by`.

    `held_at`: before this index, and all beyond it, it waits for the gate.
    """

    def __init__(self, name="pass", every_s=0.0, held_at=None):
        self.name = name
        self.every_s = every_s
        self.held_at = held_at

    def process(self, message):
        if not isinstance(message, Event):
            return message
        if self.held_at is not None and message.metadata["index"] >= self.held_at:
            wait_for("gate")
        if self.every_s:
            threading.Event().wait(self.every_s)
        return Event({**message.metadata, "by": f"{self.name}.{os.getpid()}"}, message.payload)


class Tuned(Pass):
    """Hands on what it gets, with what its parameter was before and after the work on it."""

    level = 0

    def set_parameters(self, parameters):
        if parameters["level"] < 0:
            raise ValueError("a level is not negative")
        self.level = parameters["level"]

    def process(self, message):
        before = self.level
        result = super().process(message)
        if isinstance(message, Event):
            return Event({**result.metadata, "level": [before, self.level]})
        return result


class Slow(Pass):
    """Hands on an array as it is, and leaves a byte in the file `worked` for each."""

    def process(self, message):
        super().process(message)
        if isinstance(message, Event):
            with Path("worked").open("ab") as file:
                file.write(b".")
        return message


class Gate(Operator):
    """Waits for the gate at the file `at`, and leaves the file `waiting` meanwhile."""

    def __init__(self, at):
        self.at = at

    def process(self, message):
        if isinstance(message, Event) and message.metadata["filename"] == self.at:
            Path("waiting").touch()
            wait_for("gate")
        return message


class AsyncPass(Pass):
    async def process(self, message):
        return super().process(message)


class Untouched(Operator):
    def process(self, message):
        return message


class PublishLate(Pass):
    """Publishes each message again from a thread that comes too late: in the next one's time.

    The file `refused` gets a line for each error that it met there.
    """

    late = None

    def process(self, message):
        if self.late is not None:
            self._run(self.late)
        self.late = message if isinstance(message, Event) else None
        return super().process(message)

    def _run(self, message):
        thread = threading.Thread(target=self._publish, args=[message], name="late")
        thread.start()
        thread.join()

    def _publish(self, message):
        try:
            self.publish(message)
        except ArroyoError as error:
            with Path("refused").open("a") as file:
                file.write(f"{error}\n")


class Filter(Operator):
    """Keeps events whose index has a remainder of 0."""

    def __init__(self, modulus):
        self.modulus = modulus

    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] % self.modulus:
            return None
        return message


class Split(Operator):
    """Makes `parts` of each event: yielded, returned as a list, or published."""

    def __init__(self, parts, way="yield"):
        self.parts = parts
        self.way = way

    def process(self, message):
        if not isinstance(message, Event):
            return message
        results = [Event({**message.metadata, "part": part}) for part in range(self.parts)]
        if self.way == "yield":
            return (each for each in results)
        if self.way == "publish":
            for each in results:
                self.publish(each)
            return None
        return results


class Replace(Operator):
    """Gives another Start and Stop for each."""

    def process(self, message):
        if isinstance(message, Start | Stop):
            return type(message)({**message.data, "replaced": True})
        return message


class Swallow(Operator):
    """Gives nothing for Start and Stop."""

    def process(self, message):
        return message if isinstance(message, Event) else None


class Fussy(Operator):
    """Raises for each index that is 3 more than a multiple of 10, the first `times` times."""

    def __init__(self, times=1000):
        self.times = times
        self.tries = {}

    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] % 10 == 3:
            index = message.metadata["index"]
            self.tries[index] = self.tries.get(index, 0) + 1
            if self.tries[index] <= self.times:
                raise ValueError(f"no {index}, please")
        return message


class Lists(Operator):
    """Hands on what it gets, with its own name and the length of its list; has no `process()`."""

    every_s = 0.0

    def process_batch(self, messages):
        if self.every_s:
            threading.Event().wait(self.every_s)
        length = len(messages)
        return [Event({**each.metadata, "length": length}, each.payload) for each in messages]


class MixedLists(Lists):
    """Nothing for odd indices, and two of each that is a multiple of 4."""

    def process_batch(self, messages):
        results = super().process_batch(messages)
        for place, each in enumerate(messages):
            index = each.metadata["index"]
            results[place] = None if index % 2 else [each, each] if index % 4 == 0 else each
        return results


class FussyLists(Lists):
    """Raises where the index of one is 3 more than a multiple of 10; it changes all in place."""

    def process_batch(self, messages):
        for each in messages:
            each.metadata["calls"] = each.metadata.get("calls", 0) + 1
        for each in messages:
            if each.metadata["index"] % 10 == 3:
                raise ValueError(f"no {each.metadata['index']}, please")
        return messages


class ShortLists(Lists):
    """Leaves out one result, where it gets more than one message."""

    def process_batch(self, messages):
        return messages[: max(1, len(messages) - 1)]


class AsyncLists(Lists):
    """Async, with a `process()` beside it that hears of Start and Stop."""

    async def process(self, message):
        return type(message)({**message.data, "replaced": True})

    async def process_batch(self, messages):
        return super().process_batch(messages)


class PublishInLists(Lists):
    def process_batch(self, messages):
        self.publish(messages[0])
        return messages


class SwapPayloads(Lists):
    """Gives each second message the payload of its neighbour, for which nothing goes on."""

    def process_batch(self, messages):
        results = [None] * len(messages)
        for place in range(0, len(messages) - 1, 2):
            other = messages[place + 1]
            results[place] = Event(dict(other.metadata), other.payload)
        return results


class KeepLists(Lists):
    """Keeps a view of each payload, and tells at the Stop whether all are what they were."""

    def open(self):
        self.kept = []

    def process(self, message):
        if isinstance(message, Stop):
            right = [zlib.crc32(view) == crc for view, crc in self.kept]
            return Stop({**message.data, "kept": len(right), "right": all(right)})
        return message

    def process_batch(self, messages):
        self.kept += [(each.payload, each.metadata["crc"]) for each in messages]
        return messages


class Hang(Operator):
    """Never comes back from the event of an index."""

    def __init__(self, at):
        self.at = at

    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == self.at:
            Path("hanging").touch()
            while True:
                # With signal.pause(), one that comes right before it would never be handled.
                threading.Event().wait(1.0)
        return message


class NeverOpens(Operator):
    def open(self):
        raise RuntimeError("no calibration today")

    def process(self, message):
        return message


class Gather(Operator):
    """Folds five events into one that lists their indices; at the Stop, what is left."""

    folds = True
    max_inputs = 4

    def open(self):
        self.inputs = {}

    def process(self, message):
        if isinstance(message, Start):
            return message
        inputs = self.inputs.setdefault(message.origin.run, [])
        if isinstance(message, Stop):
            return [*self.give_out(inputs), message]
        inputs.append(message)
        return self.give_out(inputs) if len(inputs) == 5 else None

    def give_out(self, inputs):
        if not inputs:
            return []
        indices = [message.metadata["index"] for message in inputs]
        crcs = [zlib.crc32(message.payload) for message in inputs]
        inputs.clear()
        return [Event({"index": indices[0], "indices": indices, "crcs": crcs})]


class GatherLists(Gather):
    """The same from lists: each output stands in the place of the input that completes it."""

    def process_batch(self, messages):
        return [super(GatherLists, self).process(each) for each in messages]


class GatherAndTell(Gather):
    """Tells in a file when it is opened and closed."""

    def open(self):
        super().open()
        self.tell("opened")

    def close(self):
        self.tell("closed")

    def tell(self, what):
        with Path("told").open("a") as file:
            file.write(f"{what}\n")


class GatherPairs(Gather):
    """Folds each event with the next one, so that it still needs the last after an output."""

    max_inputs = 2

    def held(self):
        return [message for inputs in self.inputs.values() for message in inputs]

    def process(self, message):
        if isinstance(message, Start):
            return message
        inputs = self.inputs.setdefault(message.origin.run, [])
        if isinstance(message, Stop):
            inputs.clear()
            return message
        inputs.append(message)
        if len(inputs) < 2:
            return None
        indices = [each.metadata["index"] for each in inputs]
        del inputs[0]
        return Event({"index": indices[0], "indices": indices})


class GatherAll(Gather):
    """Folds a whole run."""

    max_inputs = 0

    def process(self, message):
        inputs = self.inputs.setdefault(message.origin.run, [])
        if isinstance(message, Event):
            inputs.append(message.copy())
            return None
        return [*self.give_out(inputs), message] if isinstance(message, Stop) else message


class Hoarder(Gather):
    """Says that it holds two inputs at most, and never gives any out."""

    max_inputs = 2

    def process(self, message):
        return message if isinstance(message, Start | Stop) else None


class HoarderThatTells(Hoarder):
    """The same, and says which they are."""

    def held(self):
        return [message for inputs in self.inputs.values() for message in inputs]

    def process(self, message):
        if isinstance(message, Event):
            self.inputs.setdefault(message.origin.run, []).append(message)
        return super().process(message)


class Write(Publisher):
    """Writes a JSON line for each message, in one write, before it has published it."""

    def __init__(self, path, every_s=0.0):
        self.path = path
        self.every_s = every_s

    def open(self):
        self.file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        size_bytes = os.fstat(self.file).st_size
        if size_bytes and os.pread(self.file, 1, size_bytes - 1) != b"\n":
            # SIGKILL ends even a single write, where it crosses from one page to the next.
            os.write(self.file, b"\n")

    def publish(self, message):
        if self.every_s and isinstance(message, Event):
            threading.Event().wait(self.every_s)
        os.write(self.file, json.dumps(describe(message)).encode() + b"\n")

    def close(self):
        os.close(self.file)


class WriteDelays(Write):
    """Writes for each single event of `Bursts` how old it is, in s."""

    def publish(self, message):
        if message.metadata["single"]:
            delay_s = (time.monotonic_ns() - message.metadata["made_ns"]) / 1e9
            os.write(self.file, json.dumps({"delay_s": delay_s}).encode() + b"\n")


class WaitAtStop(Write):
    """Waits for the gate with each Stop in hand, and leaves the file `waiting` meanwhile."""

    def publish(self, message):
        if isinstance(message, Stop):
            Path("waiting").touch()
            wait_for("gate")
        super().publish(message)


class AsyncWrite(Write):
    async def publish(self, message):
        super().publish(message)


class FlushedWrite(Write):
    """Keeps lines until it is flushed."""

    def open(self):
        super().open()
        self.lines = []

    def publish(self, message):
        self.lines.append(json.dumps(describe(message)) + "\n")

    def flush(self):
        os.write(self.file, "".join(self.lines).encode())
        self.lines.clear()


class AsyncFlushedWrite(FlushedWrite):
    """Keeps lines until it is flushed; all its methods are async, as with a server's client."""

    async def open(self):
        super().open()

    async def publish(self, message):
        super().publish(message)

    async def flush(self):
        super().flush()

    async def close(self):
        super().flush()
        super().close()


class WriteLists(Write):
    """Writes a list in one go, with its length; hears of Start and Stop as well."""

    def publish_batch(self, messages):
        lines = [json.dumps(describe(each) | {"list": len(messages)}) for each in messages]
        os.write(self.file, "".join(f"{line}\n" for line in lines).encode())


class FlushedLists(FlushedWrite):
    """Keeps lines until it is flushed; async."""

    async def publish_batch(self, messages):
        for each in messages:
            self.publish(each)


class FussyWrite(WriteLists):
    """Raises where the index of one is 3 more than a multiple of 10, before it has written any."""

    def publish_batch(self, messages):
        for each in messages:
            if each.metadata["index"] % 10 == 3:
                raise ValueError(f"no {each.metadata['index']}, please")
        super().publish_batch(messages)


class BackgroundWrite(FlushedWrite):
    """Has a thread write its lines, some time later, and tells of that as a broker's client does.

    At the end it leaves the file `flushes`, with how many flushes there were of each kind.
    """

    def open(self):
        super().open()
        self.count = self.written = self.begun = self.waited = 0
        self.left = threading.Event()
        self.thread = threading.Thread(target=self.write_all)
        self.thread.start()

    def publish(self, message):
        super().publish(message)
        self.count += 1

    def write_all(self):
        while not self.left.wait(0.02):
            lines = list(self.lines)  # more may come meanwhile
            os.write(self.file, "".join(lines).encode())
            del self.lines[: len(lines)]
            self.written += len(lines)

    def begin_flush(self):
        self.begun += 1
        count = self.count
        return lambda: self.written >= count

    def flush(self):
        self.waited += 1
        while self.written < self.count:
            threading.Event().wait(GATE_POLL_S)

    def close(self):
        self.left.set()
        self.thread.join()
        Path("flushes").write_text(f"{self.begun} {self.waited}")
        super().close()


class YieldingWrite(Write):
    def publish(self, message):
        yield super().publish(message)


def describe(message):
    line = {"type": type(message).__name__, "key": message.key, **message.origin._asdict()}
    if isinstance(message, Event):
        payload = message.payload
        return line | {
            "metadata": message.metadata,
            "readonly": memoryview(payload).readonly,
            "crc": zlib.crc32(payload),
        }
    if isinstance(message, Start | Stop):
        return line | {"data": message.data}
    return line | {"index": message.index, "values": message.values}
