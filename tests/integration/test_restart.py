"""`arroyo restart` of stages that work."""

import pytest
from chains import indices, listener, operator, publisher, totals

from arroyo.control.requests import request
from arroyo.errors import UsageError

EVENTS = 2000
WORKERS = "work.0", "work.1"
THREE = (
    listener("count", events=EVENTS, every_s=0.0005, pause_at=EVENTS - 1),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"]),
)


def test_a_restart_under_load_loses_and_doubles_nothing(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    before = chain.pids()
    assert chain.command("restart", "numbers", "work").endswith("restarted work.1, work.0\n")
    assert all(chain.pids()[name] != before[name] for name in WORKERS)
    supervisor.wait_for("restarting, on a restart command (pid ", 2)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    assert sorted(indices(lines)) == list(range(EVENTS))
    assert totals(lines)["complete"]


def test_the_supervisor_refuses_a_stage_that_it_has_not(make_chain):
    chain = make_chain(*THREE)
    chain.supervise()
    chain.wait_until_ready()
    with pytest.raises(UsageError, match="no stage or replica 'wrok'; did you mean 'work'"):
        request(chain.run_directory.control, "restart", "wrok")
