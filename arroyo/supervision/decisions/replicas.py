"""`Replicas`: all replicas of a chain, and what one can do by the state of the others. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from arroyo.config.graph import Chain, Stage, Supervision
from arroyo.identifiers import ReplicaName

from .events import State
from .replica import ReplicaState
from .totals import lossless_stages


class Replicas:
    """The replicas of a chain, from the sources down, and how far the chain has come."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        """The version of the chain with which processes start."""
        self.version = 0
        """Its number."""
        self._replicas = {
            name: ReplicaState(name, chain.stages[name.stage], chain.supervision.within_s)
            for name in chain.replicas
        }
        self._members = {
            stage.name: [self[name] for name in stage.names] for stage in chain.stages.values()
        }
        others = [stage.name for stage in chain.stages.values() if stage.role != "program"]
        self._above = {
            stage.name: others if stage.role == "program" else [each.stage for each in stage.inputs]
            for stage in chain.stages.values()
        }
        """The stages that have to be over before a stage can end: all others for a program."""
        self._programs = [self[name] for stage in chain.programs for name in stage.names]
        self._lossless = lossless_stages(chain)
        self.sinks_first = list(reversed(self._replicas.values()))
        """The order in which they start."""
        self.flowing = False
        """Whether a listener has been READY: messages may be in flight."""
        self.was_ready = False
        """Whether all replicas have been READY at one time."""
        self.stopping = False
        """Whether the chain is being stopped: then what is FAILED does not come back."""

    def use(self, chain: Chain) -> None:
        """Go on with another version of the chain, of which the graph is the same."""
        self.chain = chain
        self.version += 1
        for replica in self:
            replica.stage = chain.stages[replica.name.stage]
            replica.recent.within_s = chain.supervision.within_s

    @property
    def limits(self) -> Supervision:
        """How the chain is watched."""
        return self.chain.supervision

    def __getitem__(self, name: ReplicaName) -> ReplicaState:
        return self._replicas[name]

    def __iter__(self) -> Iterator[ReplicaState]:
        return iter(self._replicas.values())

    @property
    def living(self) -> list[ReplicaState]:
        """Replicas that have a process."""
        return [replica for replica in self if replica.alive]

    @property
    def importing(self) -> int:
        """Number of processes that have not been READY yet."""
        return sum(replica.is_importing for replica in self)

    @property
    def programs_are_up(self) -> bool:
        """Whether each program is READY, has finished, or is down for long."""
        return all(
            program.is_up or program.is_at_rest or program.is_down_for_long
            for program in self._programs
        )

    def members(self, stage: str) -> list[ReplicaState]:
        """Return the replicas of one stage."""
        return self._members[stage]

    def ready(self, stage: str) -> list[ReplicaName]:
        """Return the replicas of one stage that take orders."""
        up = (State.READY, State.DEGRADED)
        return [each.name for each in self.members(stage) if each.seen_state in up]

    def named(self, target: str) -> list[ReplicaState]:
        """Return the replicas of a stage, or the one ``STAGE.R``; all for ``""``, sinks first."""
        return [
            replica
            for replica in self.sinks_first
            if target in ("", replica.name.stage, str(replica.name))
        ]

    def below(self, replica: ReplicaState) -> list[ReplicaState]:
        """Return the replicas of the stages directly below."""
        links = self.chain.downstream(replica.name.stage)
        return [member for stage, _ in links for member in self.members(stage.name)]

    def stages_over(self) -> dict[str, bool]:
        """Return for each stage whether all its replicas have ended for good.

        A replica is over when it rests STOPPED. One that is FAILED, or that somebody has stopped,
        is over only when nothing above it can send any more; a listener of that kind only when the
        chain is being stopped, since what it reads from goes on.
        """
        over: dict[str, bool] = {}
        for _ in self._walk(over):
            pass
        return over

    @property
    def is_over(self) -> bool:
        """Whether the whole chain has ended for good."""
        return not any(replica.alive for replica in self) and all(self.stages_over().values())

    def cut_off(self) -> Iterator[ReplicaState]:
        """Yield the replicas, other than listeners, that nothing above can send to any more.

        From the sources down: if the caller ends one, that counts for those below.
        """
        if all(replica.alive for replica in self):
            return  # nearly always, and every look at the chain leads here
        over: dict[str, bool] = {}
        for stage in self._walk(over):
            if self._above[stage.name] and self._all_over(stage, over):
                yield from self.members(stage.name)

    def _walk(self, over: dict[str, bool]) -> Iterator[Stage]:
        """Yield the stages from the sources down, and note in `over` which are over."""
        for level in self.chain.levels:
            for stage in level:
                yield stage
                above_is_over = stage.role != "listener" and self._all_over(stage, over)
                over[stage.name] = self._is_over(stage.name, self.stopping or above_is_over)

    def _is_over(self, stage: str, down_is_over: bool) -> bool:
        # Every event leads here, so the loop ends at the first replica at work.
        for replica in self.members(stage):
            at_rest = replica.is_at_rest or (down_is_over and replica.state is State.FAILED)
            if replica.alive or not at_rest or (replica.held_by and not down_is_over):
                return False
        return True

    def _all_over(self, stage: Stage, over: Mapping[str, bool]) -> bool:
        """Return True if everything above `stage` is over."""
        return all(over[above] for above in self._above[stage.name])

    def is_cut_off(self, replica: ReplicaState) -> bool:
        """Return True if nothing above it can send any more."""
        return not replica.is_listener and self._all_over(replica.stage, self.stages_over())

    def may_finish(self, replica: ReplicaState) -> bool:
        """Return True if an exit with 0 means that its work is done."""
        if replica.is_listener or replica.is_program:
            return self.stopping or replica.stage.restart != "always"
        over = self.stages_over()
        return all(
            over[link.stage] or self._is_draining(link.stage) for link in replica.stage.inputs
        )

    def _is_draining(self, stage: str) -> bool:
        """Return True if each replica of the stage has ended or is about to.

        The stage below may be the first to end.
        """
        return all(
            (replica.state is State.DRAINING and not replica.told_to_end)
            or (replica.is_at_rest and not replica.held_by)
            for replica in self.members(stage)
        )

    @property
    def dispensable(self) -> tuple[ReplicaName, ...]:
        """Replicas that are down for long, and that a source need not wait for when it starts.

        Others of their stage work, or nothing that must not be lost goes there.
        """
        found: list[ReplicaName] = []
        for stage, members in self._members.items():
            down = [each.name for each in members if each.is_down_for_long]
            if len(down) < len(members) or stage not in self._lossless:
                found += down
        return tuple(found)

    @property
    def state(self) -> State:
        """State of the chain as a whole."""
        states = {replica.seen_state for replica in self}
        if self.is_over and states == {State.STOPPED}:
            return State.STOPPED
        if self.stopping:
            return State.DRAINING
        held = any(all(each.held_by for each in members) for members in self._members.values())
        if states <= {State.READY, State.DRAINING, State.STOPPED} and self.was_ready and not held:
            return State.READY if State.READY in states else State.DRAINING
        if states == {State.FAILED}:
            return State.FAILED
        starting = not self.was_ready and State.FAILED not in states and states != {State.STOPPED}
        return State.STARTING if starting else State.DEGRADED
