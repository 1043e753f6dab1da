"""A stage's process without sockets and signals: its neighbours are a script.

`ScriptedContext` stands for `StageContext`: with a real status page, folders and codec, and
`ScriptedLinks` in place of sockets. Its time passes only where the shell would wait.
"""

import threading
from collections import deque

from arroyo.codec import Ack, Batch, Bye, Credit, End, Hello, Kind, Open, join
from arroyo.config.folders import Folders
from arroyo.config.graph import Chain, Input, Stage
from arroyo.control.notify import Notifier
from arroyo.identifiers import ReplicaName
from arroyo.links.link_events import BackRecordReceived, DataReceived
from arroyo.protocol.values.actions import Transmit
from arroyo.protocol.values.history import History
from arroyo.runner.process.stage_context import StageContext
from arroyo.runner.relay.relay_process import RelayProcess
from arroyo.telemetry.status_page import read_status_page
from arroyo.testing import FakeClock

WAIT_S = 0.02
"""A poll without news really waits for so long at most, so that the stage's threads get on."""


class ScriptedLinks:
    """Keeps what a shell sends, and hands it what a neighbour answers.

    Parameters
    ----------
    clock
        Moves forward where a poll finds nothing.
    neighbour
        Called with each action; returns the events that follow.
    """

    def __init__(self, clock, neighbour):
        self.actions = []
        self.came = deque()
        self.before_poll = lambda: None
        self._clock = clock
        self._neighbour = neighbour
        self._woken = threading.Event()

    def wake(self):
        self._woken.set()

    def perform(self, actions):
        for action in actions:
            self.actions.append(action)
            self.came.extend(self._neighbour(action))

    def poll(self, timeout_s, *, deaf=False):
        if deaf:
            return
        self.before_poll()
        if not self.came and not self._woken.wait(min(timeout_s, WAIT_S)):
            self._clock.advance(timeout_s)
        self._woken.clear()
        while self.came:
            yield self.came.popleft()


class ScriptedSignals:
    """Asks a stage to stop when a test says so."""

    asked = orphaned = False

    def stop(self):
        self.asked = True

    def note_orphaned(self):
        self.asked = self.orphaned = True


class ScriptedContext(StageContext):
    """A replica of a chain, in the folders of a test; a context manager, as the real one."""

    def __init__(self, chain, name, neighbour):
        folders = Folders.at(str(chain.folder / "run"), str(chain.folder / "state"))
        folders.create()
        super().__init__(chain, ReplicaName(name, 0), folders, Notifier(), None, history=History())
        self.clock = FakeClock()
        self.links = ScriptedLinks(self.clock, neighbour)
        self.signals = ScriptedSignals()
        self.said = []
        self.suspect = None
        """What its last life has died of."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.payloads.close()
        self.page.close()

    def take_suspect(self):
        return self.suspect

    def report_ready(self, status):
        self.said.append(status)

    def report_stopping(self):
        self.said.append("draining")

    @property
    def counts(self):
        """What stands on its status page."""
        return read_status_page(self.page_path)


class Below:
    """The one replica below a source: says Hello, and finishes what it gets.

    `there`: whether it answers at all; `batches`: what has come.
    """

    def __init__(self, name="sink", *, there=True):
        self.name = ReplicaName(name, 0)
        self.there = there
        self.batches = []
        self.ends = []

    def __call__(self, action):
        if isinstance(action, Transmit) and self.there:
            return [
                BackRecordReceived(record) for record in self.answer(action.record, action.items)
            ]
        return []

    def answer(self, record, items):
        if isinstance(record, Open):
            yield Hello(1, *self.name, 1)
        elif isinstance(record, End):
            self.ends.append(record.final)
        elif isinstance(record, Batch):
            self.batches.append((record, list(items)))
            yield Credit(*self.name, record.link, record.number + 1, 0.001)
            if record.kind is not Kind.CLOSING:
                yield Ack(*self.name, record.source, record.epoch, record.path, record.ranges)

    def messages(self, codec):
        """Return all messages that came, in their order."""
        return [
            message
            for record, items in self.batches
            if record.kind is not Kind.CLOSING and items
            for message in codec.decode(*join(items))
        ]


class Above:
    """The one source above a stage, with the batches that it sends; leaves where it is asked to."""

    def __init__(self, codec, name="src"):
        self.name = ReplicaName(name, 0)
        self.replies = []
        self._codec = codec
        self._number = self._next = 0

    def __call__(self, action):
        record = getattr(action, "record", None)
        self.replies.append(record)
        return [self.end()] if isinstance(record, Bye) else []

    def open(self):
        return DataReceived(Open(1, *self.name, 1, 1), ())

    def end(self, *, final=False):
        return DataReceived(End(str(self.name), 1, final), ())

    def batch(self, *messages, kind=Kind.EVENTS, run="r", base=0):
        """Return the next batch, of these messages; those of a run after its Start at 0."""
        first, self._next = self._next, self._next + len(messages)
        body, detached, payloads = join([self._codec.encode(message) for message in messages])
        record = Batch(
            str(self.name),
            1,
            self._number,
            kind,
            run,
            str(self.name),
            1,
            base,
            0,
            0,
            implicit=not run,
            ranges=((first, self._next),),
            detached=detached,
        )
        self._number += 1
        return DataReceived(record, (bytes(body), *payloads))

    def told(self, kind):
        """Return the records of a kind that the stage has sent up."""
        return [record for record in self.replies if isinstance(record, kind)]


def line_of(folder, *stages):
    """Make a chain of stages one below the other: ``role, name, class`` and keys of each."""
    made = {}
    for role, name, target, keys in stages:
        inputs = (Input(list(made)[-1]),) if made else ()
        made[name] = Stage(name, role, target, inputs=inputs, **keys)
    return Chain("line", folder, folder / "chain.toml", made)


def run_stage(chain, name, made, feed, *, script=lambda context: None, suspect=None, pages=None):
    """Run the process of an operator or publisher between scripted neighbours.

    Parameters
    ----------
    made
        The stage's object.
    feed
        Called with what is above; yields what comes, one thing before each look at the links.
    script
        Called with the context before each look.
    suspect
        What its last life has died of.
    pages
        Gets its status page at the end, also where that is an error.

    Returns
    -------
    Its context, with what stood on its page as ``found`` and what it sent on as ``messages``;
    what is above; what is below.
    """
    below, above = Below(), None

    def answer(action):
        return [*above(action), *below(action)]

    with ScriptedContext(chain, name, answer) as context:
        above = Above(context.codec)
        left = iter([above.open(), *feed(above)])

        def before_poll():
            context.links.came.extend([each] if (each := next(left, None)) else [])
            script(context)

        context.links.before_poll = before_poll
        context.suspect = suspect
        try:
            list(RelayProcess(context, made).steps())
        finally:
            context.found = context.counts
            if pages is not None:
                pages.append(context.found)
        context.messages = below.messages(context.codec)
        return context, above, below
