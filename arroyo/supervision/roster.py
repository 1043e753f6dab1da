"""All replicas of a chain, and what follows for one from the state of the others. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from arroyo.config.graph import Chain
from arroyo.identifiers import ReplicaName

from .events import State
from .replica import Replica


class Roster:
    """The replicas of a chain, from the sources down."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._replicas = {
            name: Replica(name, chain.stages[name.stage], chain.supervision.within_s)
            for name in chain.replicas
        }
        self.stopping = False
        """Whether the chain is being stopped: then what is FAILED does not come back."""

    def __getitem__(self, name: ReplicaName) -> Replica:
        return self._replicas[name]

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas.values())

    @property
    def living(self) -> list[Replica]:
        """Those that have a process."""
        return [replica for replica in self if replica.alive]

    @property
    def sinks_first(self) -> list[Replica]:
        """All of them, in the order to start in."""
        return list(reversed(self._replicas.values()))

    @property
    def importing(self) -> int:
        """How many processes have not been READY yet."""
        return sum(replica.is_importing for replica in self)

    def members(self, stage: str) -> list[Replica]:
        """Replicas of one stage."""
        return [self[name] for name in self._chain.stages[stage].names]

    def below(self, replica: Replica) -> list[Replica]:
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
        for level in self._chain.levels:
            for stage in level:
                failed_is_over = self.stopping or (
                    stage.role != "listener" and all(over[source.stage] for source in stage.inputs)
                )
                over[stage.name] = all(
                    replica.is_at_rest
                    or (failed_is_over and replica.state is State.FAILED and not replica.alive)
                    for replica in self.members(stage.name)
                )
        return over

    @property
    def is_over(self) -> bool:
        """Whether the whole chain has ended for good."""
        return all(self.stages_over().values())

    def stages_cut_off(self) -> set[str]:
        """Name the stages, other than listeners, that nothing above can send to any more."""
        over = self.stages_over()
        return {
            stage.name
            for stage in self._chain.stages.values()
            if stage.inputs and all(over[link.stage] for link in stage.inputs)
        }

    def is_cut_off(self, replica: Replica) -> bool:
        """Whether nothing above it can send any more."""
        return replica.name.stage in self.stages_cut_off()

    def may_finish(self, replica: Replica) -> bool:
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
        states = {replica.state for replica in self}
        if self.is_over and states == {State.STOPPED}:
            return State.STOPPED
        if self.stopping:
            return State.DRAINING
        if states <= {State.READY, State.DRAINING, State.STOPPED} and was_ready:
            return State.READY if State.READY in states else State.DRAINING
        if states == {State.FAILED}:
            return State.FAILED
        return State.DEGRADED if was_ready or State.FAILED in states else State.STARTING
