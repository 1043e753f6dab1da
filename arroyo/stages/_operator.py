"""`Operator`: the stage that works on messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import ClassVar, TypeAlias

from arroyo.messages import Message

from ._allocating import AllocatingStage
from ._by_hand import NOTHING, Delivery
from ._publisher import Publisher
from ._waiting import WaitingStage

Results: TypeAlias = Message | Iterable[Message] | None
"""What `process()` may return."""


class Operator(AllocatingStage, WaitingStage, ABC):
    """Works on messages and hands results to any number of publishers.

    All methods are called from one thread: `open()` once, `process()` for each message,
    `close()` once. Each may be async; then all are awaited on one event loop.
    Start and Stop pass through `process()` too; whatever it returns for them, exactly one Start
    and one Stop go on. The same input must give the same number of outputs, since a message may
    be processed again after a crash.
    Subclasses need not call ``super().__init__()``.
    """

    folds: ClassVar[bool] = False
    """Whether many inputs become one output.

    What `process()` gives out then stands for all inputs of the run that came before and are not
    in an earlier output. For a Stop it may give out Events as well, from what is left. It keeps
    its inputs, payloads included, as long as it needs them; after a crash it gets them again.
    One that needs some of them for later outputs defines ``held()``, which returns the messages
    that it still needs; all others are done with when what was given out has arrived. Each
    replica is a source to the stages below: ``origin.source`` is its name, and
    ``origin.sequence`` counts its outputs in the run.

    After a crash an output that had not arrived everywhere is made again. With
    ``order = "source"`` it is the same one, under the same `message.key`, so that an idempotent
    publisher has each input once. Without it inputs come in another order, and some may be in an
    output that was published before the crash as well as in a newer one.
    """

    max_inputs: ClassVar[int] = 0
    """At most this many inputs of a run are held for one output; it has to fit into the window.

    One that holds more ends with an error that says so.
    0: any number, as for a sum over a whole run. Then inputs are done with when they were
    processed, and what was made of them so far is lost if the process dies.
    """

    _publishers: list[Publisher]
    _in_chain: bool = False

    @property
    def publishers(self) -> list[Publisher]:
        """Those that get what this operator publishes, in the order they were added."""
        try:
            return self._publishers
        except AttributeError:
            self._publishers = []
            return self._publishers

    def add_publisher(self, publisher: Publisher) -> None:
        """Give `publisher` all that is published from now on; adding it again does nothing.

        Without a chain this is all that it takes: from now on `process()` also hands what it
        returns to the publishers. So ``MyListener(operator).start()`` runs by hand.
        """
        if publisher not in self.publishers:
            self.publishers.append(publisher)
        if not self._in_chain and self._delivery is None:
            vars(self)["process"] = Delivery(self, self.publishers)

    def remove_publisher(self, publisher: Publisher) -> None:
        """Stop giving anything to `publisher`.

        Raises
        ------
        ValueError
            It was not one of this operator's publishers.
        """
        if publisher not in self.publishers:
            raise ValueError(f"{publisher!r} is not a publisher of {self!r}")
        self.publishers.remove(publisher)
        if not self.publishers:
            self._deliver_no_more()

    def publish(self, message: Message) -> Awaitable[None]:
        """Hand `message` to every publisher; may be awaited, which changes nothing.

        It leaves when `process()` returns, as a result of the message that this works on. So in a
        chain it is called in the thread of `process()` and before that returns, or in tasks and
        threads that an async `process()` starts by asyncio.

        Raises
        ------
        StageError
            No `process()` runs in this thread: the result would be another message's.
        """
        if (delivery := self._delivery) is not None:
            delivery.publish(message)
            return NOTHING
        for publisher in self.publishers:
            publisher.publish(message)
        return NOTHING

    @property
    def _delivery(self) -> Delivery | None:
        found = vars(self).get("process")
        return found if isinstance(found, Delivery) else None

    def _deliver_no_more(self) -> None:
        if self._delivery is not None:
            del vars(self)["process"]

    def _enter_chain(self, publisher: Publisher) -> None:
        """From now on a chain calls `process()`, and takes what it returns.

        `publisher` gets what the operator publishes beside that.
        """
        self._in_chain = True
        self._deliver_no_more()
        self.add_publisher(publisher)

    def open(self) -> None:
        """Get ready: read calibrations, allocate. Called before READY; raise to refuse."""

    @abstractmethod
    def process(self, message: Message) -> Results | Awaitable[Results] | AsyncIterable[Message]:
        """Work on one message; what is returned goes to every publisher."""

    def close(self) -> None:
        """Let go of everything. Called once, also after an error."""
