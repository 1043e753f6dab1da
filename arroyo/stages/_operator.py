"""`Operator`: the base class of stages that work on messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from arroyo.messages import Message, Start, Stop

from ._awaiter import NOTHING
from ._base import AllocatingStage, WaitingStage
from ._lists import call_single, find_call, find_list_method
from ._publisher import Publisher

if TYPE_CHECKING:
    from ._standalone import StandaloneDelivery

Results: TypeAlias = Message | Iterable[Message] | None
"""Results of `process()`."""


class Operator(AllocatingStage, WaitingStage, ABC):
    """Works on messages and hands results to any number of publishers.

    All methods are called from one thread: `open()` once, `process()` for each message,
    `close()` once. Each may be async; then all are awaited on one event loop.
    `process()` gets Start and Stop as well; whatever it returns for them, exactly one Start and one
    Stop go on. The same input must give the same number of outputs, since a message may
    be processed again after a crash.
    Subclasses need not call ``super().__init__()``.

    An operator may define ``process_batch(messages)``, for code that is faster with many messages
    at once. Then that is called in place of `process()`, with a list of Events of one run, in their
    order; it returns a list with one result for each: a message, a list of messages, or None. How
    long the list is depends on how many messages wait, and may be 1. `process()` gets Start and
    Stop only, and need not be defined. If `process_batch()` raises, it is called again with each
    message alone.
    """

    folds: ClassVar[bool] = False
    """Whether many inputs become one output.

    An output of `process()` then stands for all inputs of the run that came before it and are not
    in an earlier output. For a Stop it may return Events as well, made of the rest. It keeps its
    inputs, payloads included, as long as it needs them; after a crash it gets them again.
    An operator that needs some inputs for later outputs defines ``held()``, which returns the
    messages that it still needs; all others are finished when the output has arrived. Each replica
    is a source to the stages below: ``origin.source`` is its name, and ``origin.sequence`` counts
    its outputs in the run.

    After a crash an output that had not arrived everywhere is made again. With
    ``order = "source"`` it is the same output, under the same `message.key`, so an idempotent
    publisher has each input once. Otherwise inputs come in another order, and some may be in an
    output that was published before the crash as well as in a newer one.
    """

    max_inputs: ClassVar[int] = 0
    """Most inputs of a run that are held for one output; they have to fit into the window.

    An operator that holds more ends with an error.
    0: any number, as for a sum over a whole run. Then inputs are finished when they are processed,
    and the intermediate result is lost if the process dies.
    """

    _publishers: list[Publisher]
    _in_chain: bool = False
    _has_delivered: bool = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.process is Operator.process and find_list_method(cls, "process") is not None:
            cls.process = _process_single  # type: ignore[method-assign]

    @property
    def publishers(self) -> list[Publisher]:
        """Publishers that get the results of this operator, in the order they were added."""
        try:
            return self._publishers
        except AttributeError:
            self._publishers = []
            return self._publishers

    def add_publisher(self, publisher: Publisher) -> None:
        """Publish to `publisher` as well from now on; adding it again does nothing.

        Without a chain nothing else is needed: from now on `process()` also hands its results to
        the publishers, so ``MyListener(operator).start()`` runs as it is.
        """
        if publisher not in self.publishers:
            self.publishers.append(publisher)
        if not self._in_chain and self._delivery is None:
            from ._standalone import StandaloneDelivery  # here, since a chain has no use for it

            vars(self)["process"] = StandaloneDelivery(self, self.publishers)
            self._has_delivered = True

    def remove_publisher(self, publisher: Publisher) -> None:
        """Publish to `publisher` no more.

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

        It leaves when `process()` returns, as a result of the message in hand. So in a chain, call
        it in the thread of `process()` before that returns, or in tasks and threads that an async
        `process()` starts by asyncio.

        Raises
        ------
        StageError
            No `process()` runs in this thread: the result would be another message's.
        """
        if (delivery := self._delivery) is not None:
            delivery.publish(message)
            return NOTHING
        for publisher in self.publishers:
            find_call(publisher, "publish")(message)
        return NOTHING

    @property
    def _delivery(self) -> StandaloneDelivery | None:
        # Not before it has to be: `vars` makes all attributes of users' code slower for good.
        if not self._has_delivered or (found := vars(self).get("process")) is None:
            return None
        from ._standalone import StandaloneDelivery

        return found if isinstance(found, StandaloneDelivery) else None

    def _deliver_no_more(self) -> None:
        if self._delivery is not None:
            del vars(self)["process"]

    def _enter_chain(self, publisher: Publisher) -> None:
        """Let a chain call `process()` and take its results from now on.

        `publisher` gets messages that the operator publishes itself.
        """
        self._in_chain = True
        self._deliver_no_more()
        self.add_publisher(publisher)

    def open(self) -> None:
        """Prepare: read calibrations, allocate. Called before READY; raise to refuse the start."""

    @abstractmethod
    def process(self, message: Message) -> Results | Awaitable[Results] | AsyncIterable[Message]:
        """Work on one message; the results go to every publisher."""

    def close(self) -> None:
        """Release everything. Called once, also after an error."""


def _process_single(self: Any, message: Message) -> Any:
    """Work on one message by `process_batch()`; a Start or Stop goes on as it is."""
    if isinstance(message, Start | Stop):
        return message
    return call_single(self.process_batch, "process")(message)
