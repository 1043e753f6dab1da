"""All replicas of a chain, and what follows for one from the state of the others. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from arroyo.config.graph import Chain, Stage
from arroyo.identifiers import ReplicaName

from .events import State
from .replica import ReplicaState


class Replicas:
    """The replicas of a chain, from the sources down."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._replicas = {
            name: ReplicaState(name, chain.stages[name.stage], chain.supervision.within_s)
            for name in chain.replicas
        }
        self._members = {
            stage.name: [self[name] for name in stage.names] for stage in chain.stages.values()
        }
        self.sinks_first = list(reversed(self._replicas.values()))
        """All of them, in the order to start in."""
        self.stopping = False
        """Whether the chain is being stopped: then what is FAILED does not come back."""

    def __getitem__(self, name: ReplicaName) -> ReplicaState:
        return self._replicas[name]

    def __iter__(self) -> Iterator[ReplicaState]:
        return iter(self._replicas.values())

    @property
    def living(self) -> list[ReplicaState]:
        """Those that have a process."""
        return [replica for replica in self if replica.alive]

    @property
    def importing(self) -> int:
        """How many processes have not been READY yet."""
        return sum(replica.is_importing for replica in self)

    def members(self, stage: str) -> list[ReplicaState]:
        """Replicas of one stage."""
        return self._members[stage]

    def below(self, replica: ReplicaState) -> list[ReplicaState]:
        """Replicas of the stages that get what `replica` sends."""
        links = self._chain.downstream(replica.name.stage)
        return [member for stage, _ in links for member in self.members(stage.name)]

    def stages_over(self) -> dict[str, bool]:
        """Tell for each stage whether all its replicas have ended for good.

        A replica is over when it rests STOPPED. One that is FAILED is over, too, when nothing
        above it can send any more; a FAILED listener only when the chain is being stopped, since
        what it reads from goes on.
        """
        over: dict[str, bool] = {}
        for _ in self._walk(over):
            pass
        return over

    @property
    def is_over(self) -> bool:
        """Whether the whole chain has ended for good."""
        return all(self.stages_over().values())

    def cut_off(self) -> Iterator[ReplicaState]:
        """Replicas, other than listeners, that nothing above can send to any more.

        From the sources down: what becomes of one in the meantime counts for those below.
        """
        over: dict[str, bool] = {}
        for stage in self._walk(over):
            if stage.inputs and _all_over(stage, over):
                yield from self.members(stage.name)

    def _walk(self, over: dict[str, bool]) -> Iterator[Stage]:
        """Yield the stages from the sources down, and note in `over` which are over."""
        for level in self._chain.levels:
            for stage in level:
                yield stage
                above_is_over = stage.role != "listener" and _all_over(stage, over)
                over[stage.name] = self._is_over(stage.name, self.stopping or above_is_over)

    def _is_over(self, stage: str, failed_is_over: bool) -> bool:
        # A loop that ends at the first one at work: every event leads here.
        for replica in self.members(stage):
            if replica.alive or not (
                replica.is_at_rest or (failed_is_over and replica.state is State.FAILED)
            ):
                return False
        return True

    def is_cut_off(self, replica: ReplicaState) -> bool:
        """Whether nothing above it can send any more."""
        return not replica.is_listener and _all_over(replica.stage, self.stages_over())

    def may_finish(self, replica: ReplicaState) -> bool:
        """Whether an exit with 0 means that its work is done."""
        if replica.is_listener:
            return self.stopping or replica.stage.restart != "always"
        over = self.stages_over()
        return all(
            over[link.stage] or self._is_draining(link.stage) for link in replica.stage.inputs
        )

    def _is_draining(self, stage: str) -> bool:
        """Whether each replica of the stage has ended or is about to.

        What is below it may be faster to end than it is itself.
        """
        return all(
            replica.state is State.DRAINING or replica.is_at_rest for replica in self.members(stage)
        )

    def state(self, was_ready: bool) -> State:
        """State of the chain as a whole; `was_ready`: every replica has been READY once."""
        states = {replica.seen_state for replica in self}
        if self.is_over and states == {State.STOPPED}:
            return State.STOPPED
        if self.stopping:
            return State.DRAINING
        if states <= {State.READY, State.DRAINING, State.STOPPED} and was_ready:
            return State.READY if State.READY in states else State.DRAINING
        if states == {State.FAILED}:
            return State.FAILED
        return State.DEGRADED if was_ready or State.FAILED in states else State.STARTING


def _all_over(stage: Stage, over: Mapping[str, bool]) -> bool:
    """Whether everything above `stage` is over."""
    return all(over[link.stage] for link in stage.inputs)
