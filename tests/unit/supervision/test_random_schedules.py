"""The state machine against processes that do anything at any time."""

import signal

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.restart_policy import RETRY_FAILED_S
from arroyo.supervision.decisions.state_machine import ChainMachine
from arroyo.supervision.decisions.stop_schedule import ABANDON_AFTER_S, KILL_AFTER_S

LIMIT = 2
STOP_TIMEOUT_S = 10.0
SUPERVISION = Supervision(max_restarts=2, chain_max_restarts=6, stop_timeout_s=STOP_TIMEOUT_S)
CHAINS = [
    make_chain(LINE, SUPERVISION, integrate={"replicas": 2}),
    make_chain({"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c", "b")}, SUPERVISION),
    make_chain({"a": (), "b": ("a",)}, SUPERVISION, a={"restart": "always"}, b={"replicas": 3}),
    make_chain({"a": (), "b": ("a",)}, SUPERVISION, b={"restart": "never"}),
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
                case ev.Spawn(name):
                    assert name not in self.alive, "two processes of one replica"
                    if name in self.failed_at:
                        assert self.now >= self.failed_at.pop(name) + RETRY_FAILED_S
                    self.alive[name] = "importing"
                    assert self.importing <= LIMIT, "too many import at once"
                case ev.Signal(name, number):
                    assert name in self.alive, "a signal to nobody"
                    assert number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)
                    if number == signal.SIGUSR1:
                        assert self.alive[name] == "ready", "it would die of it"
                case ev.GaveUp(name, _, retry_s):
                    self.failed_at[name] = self.now if retry_s else float("inf")
                case ev.Finish(exit_code):
                    self.exit_code = exit_code

    @property
    def importing(self):
        return list(self.alive.values()).count("importing")

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
            self.do(ev.Judged(name, condition, for_s))

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
        self.do(ev.StopRequested("SIGINT"))

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
            states = {replica.state for replica in self.machine.replicas}
            assert self.exit_code is not None or State.FAILED in states

    @running
    @invariant()
    def an_end_without_trouble_is_a_good_end(self):
        if self.exit_code == 0:
            assert not self.alive
            assert not self.failed_at


Schedules.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestSchedules = Schedules.TestCase
