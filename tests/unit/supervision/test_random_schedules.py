"""The state machine against processes that do anything at any time."""

import signal

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace
from supervised_histories import LINE, PROGRAM, make_chain

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.restart_policy import RETRY_FAILED_S
from arroyo.supervision.decisions.shutdown import ABANDON_AFTER_S, KILL_AFTER_S
from arroyo.supervision.decisions.state_machine import ChainMachine

LIMIT = 2
STOP_TIMEOUT_S = 10.0
SUPERVISION = Supervision(max_restarts=2, chain_max_restarts=6, stop_timeout_s=STOP_TIMEOUT_S)
CHAINS = [
    make_chain(LINE, SUPERVISION, integrate={"replicas": 2}),
    make_chain({"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c", "b")}, SUPERVISION),
    make_chain({"a": (), "b": ("a",)}, SUPERVISION, a={"restart": "always"}, b={"replicas": 3}),
    make_chain({"a": (), "b": ("a",)}, SUPERVISION, b={"restart": "never"}),
    make_chain({"a": (), "p": (), "b": ("a",)}, SUPERVISION, p=PROGRAM),
    make_chain(
        {"p": (), "a": (), "b": ("a",), "q": ()},
        SUPERVISION,
        p=PROGRAM | {"restart": "always"},
        q=PROGRAM | {"restart": "never"},
    ),
    make_chain(LINE, replace(SUPERVISION, on_failed="stop-chain"), integrate={"replicas": 2}),
    make_chain(LINE, replace(SUPERVISION, on_failed="exit"), integrate={"replicas": 2}),
]


class Schedules(RuleBasedStateMachine):
    """Processes live in `alive`; a stage's process ends whenever, and however, it likes."""

    def __init__(self):
        super().__init__()
        self.machine = None

    @rule(chain=st.sampled_from(CHAINS))
    @precondition(lambda self: self.machine is None)
    def begin(self, chain):
        self.chain = chain
        self.now = 0.0
        self.alive = {}
        self.failed_at = {}
        self.exit_code = None
        self.was_held = self.was_ordered = False
        self.started = set()
        self.stops = 0
        self.stop_at = None
        self.failures_in_stop = 0
        self.machine = ChainMachine(chain, LIMIT, lambda: 0.5, self.now)
        self.do(ev.Tick())

    def teardown(self):
        """Show with a schedule that failed what the machine heard and did last."""
        if self.machine is not None:
            note("\n".join(self.machine.history.lines()))

    running = precondition(lambda self: self.machine is not None)
    inhabited = precondition(lambda self: self.machine is not None and self.alive)

    def do(self, event):
        for action in self.machine.handle(event, self.now):
            assert self.exit_code is None, "nothing happens after the end"
            match action:
                case act.Spawn(name):
                    assert name not in self.alive, "two processes of one replica"
                    if name in self.failed_at:
                        assert self.now >= self.failed_at.pop(name) + RETRY_FAILED_S
                    if not self.is_program(name) and name not in self.started:
                        assert not self.wanted_programs, "it may need a program that is not up"
                    self.started.add(name)
                    self.alive[name] = "importing"
                    assert self.importing <= LIMIT, "too many import at once"
                case act.Signal(name, number):
                    assert name in self.alive, "a signal to nobody"
                    assert number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
                    if number == signal.SIGTERM and self.is_program(name) and not self.was_ordered:
                        others = [each for each in self.alive if not self.is_program(each)]
                        assert not others or self.stops > 1 or self.is_late, "others need it"
                    if number == signal.SIGUSR1:
                        assert self.alive[name] == "ready", "it would die of it"
                case act.UseVersion(chain):
                    self.chain = chain
                case act.RestartsOnRequest(name):
                    self.failed_at.pop(name, None)  # a reload tries again what has failed, too
                case act.GaveUp(name, _, retry_s):
                    self.failed_at[name] = self.now if retry_s else float("inf")
                case act.Finish(exit_code):
                    self.exit_code = exit_code

    @property
    def importing(self):
        return sum(
            how == "importing" and not self.is_program(name) for name, how in self.alive.items()
        )

    def is_program(self, name):
        return self.chain.stages[name.stage].role == "program"

    @property
    def wanted_programs(self):
        """Programs that are not up, though nobody has stopped them and none has failed for long."""
        return [
            replica.name
            for replica in self.machine.replicas
            if self.is_program(replica.name)
            and self.alive.get(replica.name) != "ready"
            and (replica.state is not State.STOPPED or replica.due_at is not None)
            and replica.state is not State.FAILED
        ]

    @property
    def is_late(self):
        return self.stop_at is not None and self.now >= self.stop_at + STOP_TIMEOUT_S

    @inhabited
    @rule(data=st.data())
    def becomes_ready(self, data):
        name = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive[name] = "ready"
        self.do(ev.Ready(name))

    @inhabited
    @rule(data=st.data(), status=st.sampled_from([0, 0, 0, 1, 64, 75, 78, -9, -11, -15]))
    def ends(self, data, status):
        name = data.draw(st.sampled_from(sorted(self.alive)))
        del self.alive[name]
        self.do(ev.ProcessEnded(name, status))

    @inhabited
    @rule(data=st.data())
    def could_not_be_made(self, data):
        name = data.draw(st.sampled_from(sorted(self.alive)))
        del self.alive[name]
        self.do(ev.StartFailed(name, "no descriptors"))

    @running
    @rule(data=st.data(), kind=st.sampled_from([ev.Stopping, ev.Ready]))
    def says_something_dead_or_alive(self, data, kind):
        name = data.draw(st.sampled_from(self.chain.replicas))
        if kind is ev.Ready and name in self.alive:
            self.alive[name] = "ready"
        self.do(kind(name))

    @inhabited
    @rule(data=st.data(), condition=st.sampled_from(Condition), for_s=st.floats(0, 100))
    def is_judged(self, data, condition, for_s):
        name = data.draw(st.sampled_from(sorted(self.alive)))
        if condition is not Condition.HUNG or self.alive[name] == "ready":
            self.do(ev.ConditionChanged(name, condition, for_s))

    @running
    @rule(data=st.data())
    def is_corrected(self, data):
        if awaited := self.machine.awaiting_correction:
            name = data.draw(st.sampled_from(awaited))
            self.failed_at.pop(name)
            self.do(ev.Corrected(name, "own.py"))

    @running
    @rule(data=st.data(), ago=st.floats(0, 5))
    def is_idle(self, data, ago):
        for name in self.machine.awaiting_end:
            assert name in self.alive
            self.do(ev.Idle(name, self.now - ago))

    @running
    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 3.0, 61.0, 301.0]))
    def time_passes(self, seconds):
        end = self.now + seconds
        for _ in range(1000):
            next_at = self.machine.next_at
            if next_at is None or next_at > end:
                break
            self.now = max(self.now, next_at)
            self.do(ev.Tick())
        else:
            raise AssertionError("a busy loop")
        self.now = end

    @running
    @rule()
    def a_stop_is_asked_for(self):
        if self.stop_at is None:
            self.stop_at = self.now
        self.stops += 1
        self.do(ev.StopRequested("SIGINT"))

    @running
    @rule(data=st.data())
    def a_restart_is_asked_for(self, data):
        stages = list(self.chain.stages)
        target = data.draw(st.sampled_from(["", *stages, *map(str, self.chain.replicas)]))
        stopping = self.machine.replicas.stopping
        if not stopping:
            for replica in self.machine.replicas.named(target):
                self.failed_at.pop(replica.name, None)
        self.was_ordered = True
        self.do(ev.RestartRequested(target, "a restart command"))
        assert self.machine.replicas.stopping == stopping

    @running
    @rule(data=st.data(), kind=st.sampled_from([ev.StageStopRequested, ev.StageStartRequested]))
    def a_stage_is_ordered_to_stop_or_start(self, data, kind):
        stages = list(self.chain.stages)
        target = data.draw(st.sampled_from([*stages, *map(str, self.chain.replicas)]))
        stopping = self.machine.replicas.stopping
        if not stopping:
            for replica in self.machine.replicas.named(target):
                self.failed_at.pop(replica.name, None)
        self.was_ordered = True
        self.do(kind(target, "a command"))
        self.was_held = self.was_held or kind is ev.StageStopRequested
        assert self.machine.replicas.stopping == stopping

    @running
    @rule(data=st.data())
    def a_reload_is_asked_for(self, data):
        stages = data.draw(st.lists(st.sampled_from(list(self.chain.stages)), unique=True))
        changed = {
            name: replace(stage, options={"version": self.machine.replicas.version + 1})
            for name, stage in self.chain.stages.items()
        }
        chain = replace(self.chain, stages=changed)
        self.was_ordered = True
        self.do(ev.ReloadRequested(chain, ("options",), tuple(stages), "a reload command"))

    @running
    @invariant()
    def a_reload_is_not_forgotten(self):
        """While one is under way, something of it is still to happen."""
        reloading = self.machine.reloading
        if self.exit_code is None and reloading.is_under_way:
            assert self.alive or self.machine.next_at is not None

    @running
    @invariant()
    def what_is_held_does_not_start(self):
        for replica in self.machine.replicas:
            if replica.held_by and not replica.alive and self.exit_code is None:
                assert replica.state is State.STOPPED
                assert replica.due_at is None

    @running
    @invariant()
    def one_at_a_time_is_restarted(self):
        if self.exit_code is not None:
            return  # what was left behind may have ended since
        restarting = [replica for replica in self.machine.replicas if replica.is_restarting]
        assert len(restarting) <= 1 or self.was_held, "what is stopped and started comes back too"
        assert all(replica.name in self.alive for replica in restarting)

    @running
    @invariant()
    def what_the_machine_believes_is_so(self):
        if self.exit_code is not None:
            return  # what was left behind is none of its business any more
        for replica in self.machine.replicas:
            name = replica.name
            assert replica.alive == (name in self.alive)
            if not replica.alive:
                assert replica.state in {State.STOPPED, State.BACKOFF, State.FAILED}
            if replica.state is State.READY:
                assert self.alive[name] == "ready"

    @running
    @invariant()
    def a_stop_ends(self):
        if self.stop_at is not None and self.exit_code is None:
            limit_s = STOP_TIMEOUT_S + KILL_AFTER_S + ABANDON_AFTER_S
            assert self.now <= self.stop_at + limit_s

    @running
    @invariant()
    def who_waits_is_waited_for(self):
        if self.exit_code is not None:
            return
        waiting = [
            replica.due_at for replica in self.machine.replicas if replica.state is State.BACKOFF
        ]
        if waiting and self.machine.replicas.importing < LIMIT:
            assert self.machine.next_at is not None
            assert self.machine.next_at <= min(waiting)

    @running
    @invariant()
    def a_chain_without_processes_or_plans_is_over(self):
        if not self.alive and self.machine.next_at is None:
            replicas = self.machine.replicas
            held = any(replica.held_by for replica in replicas)
            failed = any(replica.state is State.FAILED for replica in replicas)
            assert self.exit_code is not None or failed or held

    @running
    @invariant()
    def an_end_without_trouble_is_a_good_end(self):
        if self.exit_code == 0:
            assert not self.alive
            assert not self.failed_at


Schedules.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestSchedules = Schedules.TestCase
