"""The answers for a reload, by a state machine without processes."""

import pytest
from fake_checks import FakeChecks
from msgspec.structs import replace
from supervised_histories import History

from arroyo.control.request_server import Asked
from arroyo.errors import UsageError
from arroyo.supervision.reloads import Reloads
from arroyo.supervision.watching.chain_checks import Checked

ME, OTHER = "pid 7, uid 1000", "pid 8, uid 1000"


class Supervisor:
    """A chain of three stages, all READY, and what its chain file says now."""

    def __init__(self):
        self.history = History().all_ready()
        self.checks = FakeChecks(self.history.chain)
        self.reloads = Reloads(self.history.machine, self.history.do, self.checks)

    def edit(self, **changes):
        chain = self.history.chain
        stage = replace(chain.stages["integrate"], **changes)
        self.checks.found = Checked(replace(chain, stages={**chain.stages, "integrate": stage}))

    def plan(self, by=ME):
        return self.reloads.plan(Asked("", 0, by))["plan"]

    def reload(self, plan, by=ME):
        return self.reloads.reload(Asked(plan, 0, by))

    def tell(self):
        return self.reloads.tell(Asked("", 0, ME))


@pytest.fixture
def supervisor():
    return Supervisor()


def test_a_plan_is_made_and_then_carried_out(supervisor):
    supervisor.edit(options={"factor": 2}, backoff_s=2.0)
    plan = supervisor.plan()
    told = supervisor.tell()
    assert told["state"] == "planned"
    assert told["live"] == ("stages.integrate.backoff_s",)
    assert told["restart"] == ("stages.integrate.options.factor",)
    assert told["stages"] == ("integrate",)
    assert supervisor.history.signals == [], "a plan changes nothing"
    supervisor.reload(plan)
    assert supervisor.tell()["state"] == "reloading"
    supervisor.history.end("integrate.0")
    supervisor.history.ready("integrate.0")
    assert supervisor.tell()["state"] == "reloaded"
    supervisor.plan()
    told = supervisor.tell()
    assert (told["state"], told["live"], told["restart"]) == ("planned", (), ())


def test_a_roll_back_says_why(supervisor):
    supervisor.edit(options={"factor": 2})
    supervisor.reload(supervisor.plan())
    supervisor.history.end("integrate.0")
    supervisor.history.end("integrate.0", 78)
    assert supervisor.tell()["state"] == "rolling-back"
    supervisor.history.ready("integrate.0")
    told = supervisor.tell()
    assert told["state"] == "rolled-back"
    assert told["reason"].startswith("integrate.0 exited with 78")


def test_a_file_with_mistakes_is_not_carried_out(supervisor):
    supervisor.checks.found = Checked(None, ("chain.toml:3: wrong",))
    plan = supervisor.plan()
    assert supervisor.tell()["mistakes"] == ("chain.toml:3: wrong",)
    assert supervisor.tell()["state"] == "mistaken"
    with pytest.raises(UsageError):
        supervisor.reload(plan)


def test_what_needs_the_chain_anew_is_refused(supervisor):
    supervisor.edit(replicas=2, options={"factor": 2})
    plan = supervisor.plan()
    with pytest.raises(UsageError, match=r"stages.integrate.replicas can't be changed"):
        supervisor.reload(plan)
    assert supervisor.tell()["state"] == "planned"
    assert supervisor.history.signals == []


def test_of_two_clients_at_once_the_second_is_told_who_the_first_is(supervisor):
    supervisor.checks.waits = True
    plan = supervisor.plan()
    assert supervisor.tell()["state"] == "checking"
    with pytest.raises(UsageError, match=f"a reload is under way, for {ME}"):
        supervisor.plan(by=OTHER)
    supervisor.edit(options={"factor": 2})
    supervisor.checks.end()
    supervisor.checks.waits = False
    supervisor.reload(plan)
    with pytest.raises(UsageError, match="a reload is under way"):
        supervisor.plan(by=OTHER)


def test_a_plan_that_nobody_carries_out_is_in_nobodys_way(supervisor):
    supervisor.edit(options={"factor": 2})
    first = supervisor.plan()
    second = supervisor.plan(by=OTHER)
    with pytest.raises(UsageError, match="another plan meanwhile"):
        supervisor.reload(first)
    supervisor.reload(second, by=OTHER)
    assert supervisor.history.signals


def test_nothing_is_reloaded_in_a_chain_that_is_being_stopped(supervisor):
    supervisor.history.stop()
    with pytest.raises(UsageError, match="the chain is being stopped"):
        supervisor.plan()
