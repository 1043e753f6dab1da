"""`RelayRole`: an operator or a publisher, as the loop of its replica sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from arroyo.codec import Batch, Encoded, Kind
from arroyo.messages import Message
from arroyo.protocol.values.actions import Action
from arroyo.protocol.values.deliveries import Outcome, Work
from arroyo.runner.assembly.relays import make_relay
from arroyo.runner.assembly.topology import key_field
from arroyo.runner.quarantine.requeue_route import RequeueRoute
from arroyo.runner.quarantine.returned_run import ReturnedRun
from arroyo.runner.user_code.publisher_call import PublisherCall
from arroyo.runner.user_code.results import SKIPPED
from arroyo.shared_memory.kept_views import Loan
from arroyo.stages import Operator, Publisher

from .role import Equipment

if TYPE_CHECKING:
    from arroyo.protocol.relay.relay import Relay
    from arroyo.runner.user_code.operator_call import OperatorCall


class RelayRole:
    """Makes of each message what goes on in its place; where a publisher is, nothing does.

    `pass_on`: returns what goes on of a Start or Stop that the code does not hear.
    """

    def __init__(
        self,
        equipment: Equipment,
        call: OperatorCall | PublisherCall,
        pass_on: Callable[[Message], Encoded | None],
    ) -> None:
        replica = equipment.replica
        self.call = call
        self.route = RequeueRoute(replica.chain, replica.name.stage, replica.codec.encode)
        """Tells which messages from quarantine are for this stage."""
        self._equipment = equipment
        self._pass_on = pass_on
        self._publishes = replica.stage.role == "publisher"
        self._returned_run = ReturnedRun(replica.codec, call.control)

    @property
    def flushing(self) -> PublisherCall | None:
        """What to flush now and then; None: there is no `flush()`. Known after `open()`."""
        call = self.call
        return call if isinstance(call, PublisherCall) and call.flushes else None

    def make_machine(self) -> Relay:
        """Make the state machine, once the stage's code has opened."""
        replica = self._equipment.replica
        return make_relay(
            replica.chain,
            replica.name,
            incarnation=replica.incarnation,
            flushes=self.flushing is not None,
            suspect=replica.take_suspect(),
            history=replica.history,
        )

    # The stage's code

    def work_on(self, batch: Batch, work: Sequence[Work], results: Any) -> Sequence[Outcome]:
        """Have the code work on events; return what comes of them, which `results` has as well."""
        self._equipment.take_up(batch, work)
        return self.call.events(work, results)

    def hear(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        """Have the code hear of a Start or Stop; only folds do something about one to come."""
        if batch.kind == Kind.CLOSING:
            return [self._pass_on(message) for _, _, message in work]
        return [self.call.control(each) for each in self._equipment.take_controls(batch, work)]

    def do_without(self, batch: Batch, message: Message) -> Outcome:
        """Return what becomes of a message that the chain goes on without."""
        return SKIPPED if batch.kind == Kind.EVENTS else self._pass_on(message)

    # Messages from quarantine

    def let_pass(self, batch: Batch, work: Sequence[Work]) -> Sequence[Outcome]:
        """Return what becomes of messages that are not meant for this stage."""
        return self.route.outcomes(batch, work)

    def place_returned(self, batch: Batch) -> tuple[Batch, ReturnedRun | None]:
        """Return a batch as the code gets it, and the run that it hears around it, if it does."""
        return batch, self._returned_run

    # What follows

    def count(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        """Count messages that are done with, and what has come of them."""
        self._equipment.counters.take_up(batch, len(outcomes))
        self._equipment.counters.give_out(outcomes, publishes=self._publishes)

    def let_go(self, batch: Batch, loans: Sequence[Loan]) -> None:
        """Take shared memory from the code that it was lent for messages that are done with.

        Nothing but the code holds it any more: what it keeps becomes its own.
        """
        self._equipment.kept_views.preserve(loans)

    def note_sent(self) -> None:
        """What came of some messages has gone on; their acknowledgements have not."""

    def carry_out(self, actions: Iterable[Action]) -> Iterable[Action]:
        """Carry out those actions that only this role has; give back the others, in order."""
        return actions

    def due(self, now: float) -> Iterable[Sequence[Action]]:
        """Yield what has to be done now and then."""
        return ()

    def close(self) -> None:
        """Close what `make_machine` has opened."""


def make_operator_role(equipment: Equipment, operator: Operator) -> RelayRole:
    """Make the role of an operator: a Start or Stop that it does not hear goes on as it came."""
    call = make_operator_call(equipment, operator)
    return RelayRole(equipment, call, equipment.replica.codec.encode)


def make_publisher_role(equipment: Equipment, publisher: Publisher) -> RelayRole:
    """Make the role of a publisher, where paths end."""
    call = PublisherCall(
        equipment.replica.stage,
        publisher,
        equipment.current_message,
        quarantine=equipment.quarantine,
        restore=equipment.reader.restore,
    )
    return RelayRole(equipment, call, lambda _: None)


def make_operator_call(equipment: Equipment, operator: Operator) -> OperatorCall:
    """Make what calls `process()`; a publisher's process need not load it."""
    from arroyo.runner.user_code.operator_call import OperatorCall

    replica = equipment.replica
    return OperatorCall(
        replica.stage,
        operator,
        replica.codec,
        equipment.current_message,
        key_field=key_field(replica.chain, replica.name.stage),
        quarantine=equipment.quarantine,
        restore=equipment.reader.restore,
    )
