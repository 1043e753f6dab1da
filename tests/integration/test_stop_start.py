"""`arroyo stop`, `start` and `drain` of chains that work."""

import pytest
from chains import indices, listener, operator, publisher, totals, wait_until

MANY = 100_000


def endless(replicas=1):
    """A chain that works until it is stopped; `handed` has how many messages there were."""
    return (
        listener("count", every_s=0.001, handed="handed"),
        operator("work", "Pass", ["count"], keys=f"replicas = {replicas}"),
        publisher("write", ["work"]),
    )


def has_all_once(chain):
    """Whether each message that the source has handed over was written, and once."""
    handed = int((chain.folder / "handed").read_text())
    return sorted(indices(chain.lines())) == list(range(handed))


def test_a_stage_that_is_stopped_and_started_in_mid_run_loses_and_doubles_nothing(make_chain):
    chain = make_chain(*endless(replicas=2))
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    assert chain.command("stop", "numbers", "work").startswith("stopped work.1, work.0;")
    assert not {"work.0", "work.1"} & chain.pids().keys()
    shown = chain.command("status", "numbers")
    assert "chain numbers: DEGRADED" in shown
    assert "work.0 is stopped, by a stop command (pid " in shown
    written = chain.count()
    assert chain.command("start", "numbers").startswith("starting work.1, work.0;")
    chain.wait_for_lines(written + 100)
    chain.wait_until_ready()
    assert {row["restarts"] for row in chain.status().values()} == {0}
    chain.command("stop", "numbers")
    assert supervisor.wait() == 0, chain.text()
    assert has_all_once(chain)
    assert totals(chain.lines())["lost"] == 0


def test_what_passes_a_stopped_stage_by_pub_sub_is_counted_when_it_is_back(make_chain):
    chain = make_chain(
        listener("count", every_s=0.001),
        publisher("write", ["count"]),
        publisher("look", [{"stage": "count", "link": "pub-sub"}], path="look.jsonl"),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(100, "look.jsonl")
    chain.command("stop", "numbers", "look")
    before = len(indices(chain.lines("look.jsonl")))
    chain.wait_for_lines(chain.count() + 100)
    chain.command("start", "numbers", "look")
    wait_until(lambda: chain.status()["look.0"]["dropped"], chain.text)
    dropped = chain.status()["look.0"]["dropped"]
    chain.command("stop", "numbers")
    assert supervisor.wait() == 0, chain.text()
    seen = indices(chain.lines("look.jsonl"))
    assert dropped == seen[before] - seen[before - 1] - 1 >= 100
    assert seen[before:] == list(range(seen[before], seen[-1] + 1))


def test_a_stage_that_is_scaled_in_mid_run_loses_and_doubles_nothing(make_chain):
    chain = make_chain(*endless(replicas=4))
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    for number in (1, 4, 2):
        told = chain.command("scale", "numbers", "work", str(number))
        assert told.startswith(f"work: {', '.join(f'work.{each}' for each in range(number))}")
        assert len([name for name in chain.pids() if name.startswith("work")]) <= number
        chain.wait_for_lines(chain.count() + 100)
    assert "chain numbers: READY" in chain.command("status", "numbers")
    chain.command("stop", "numbers")
    assert supervisor.wait() == 0, chain.text()
    assert has_all_once(chain)
    assert totals(chain.lines())["lost"] == 0


def test_a_long_run_that_is_scaled_in_its_midst_comes_whole_and_once(make_chain):
    chain = make_chain(
        listener("count", events=MANY, every_s=0.0001),
        operator("work", "Pass", ["count"], keys="replicas = 4"),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(1_000)
    for number in (1, 4, 2):
        chain.command("scale", "numbers", "work", str(number))
        chain.wait_for_lines(chain.count() + 1_000)
    assert chain.count() < MANY
    assert supervisor.wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(MANY))
    found = totals(chain.lines())
    assert (found["sent"], found["lost"], found["complete"]) == (MANY, 0, True)


def test_a_drained_chain_has_finished_all_it_took_and_goes_on(make_chain):
    chain = make_chain(*endless())
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    assert chain.command("drain", "numbers").startswith("drained; count.0 goes on with:")
    assert chain.states() == {"count.0": "STOPPED", "work.0": "READY", "write.0": "READY"}
    assert has_all_once(chain)
    written = chain.count()
    chain.command("start", "numbers", "count")
    chain.wait_for_lines(written + 100)
    assert chain.command("stop", "numbers").startswith("chain numbers ended well after")
    assert supervisor.wait() == 0


def test_a_source_starts_though_a_replica_below_is_stopped(make_chain):
    chain = make_chain(*endless(replicas=2))
    supervisor = chain.supervise()
    chain.wait_for_lines(10)
    chain.command("stop", "numbers", "work.1")
    written = chain.count()
    chain.command("restart", "numbers", "count")
    wait_until(lambda: len({line["run"] for line in chain.lines()}) == 2, chain.text)
    chain.wait_for_lines(written + 100)
    assert chain.command("stop", "numbers").startswith("chain numbers ended well after")
    assert supervisor.wait() == 0


def test_what_waits_for_a_stopped_stage_can_be_finished_while_the_chain_stops(make_chain):
    chain = make_chain(*endless())
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    chain.command("stop", "numbers", "work")
    stop = chain.start("arroyo", "stop", "numbers")
    stop.wait_for("arroyo start numbers work.0")
    chain.command("start", "numbers", "work")
    assert stop.wait() == supervisor.wait() == 0, chain.text()
    assert has_all_once(chain)


def test_a_stop_ends_with_the_exit_code_of_the_chain(make_chain):
    chain = make_chain(
        listener("count", every_s=0.001),
        operator("work", "Fussy", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(20)
    stop = chain.start("arroyo", "stop", "numbers")
    assert stop.wait() == supervisor.wait() == 65
    assert "in quarantine" in stop.text


def test_the_last_of_two_opposite_orders_wins_and_the_other_one_hears_of_it(make_chain):
    chain = make_chain(listener("count", events=50), publisher("write", ["count"], "WaitAtStop"))
    supervisor = chain.supervise()
    wait_until((chain.folder / "waiting").exists, chain.text)
    stop = chain.start("arroyo", "stop", "numbers", "write")
    supervisor.wait_for("write.0: stopping, on a stop command")
    assert chain.command("start", "numbers", "write").startswith("starting write.0;")
    assert stop.wait() == 75
    assert "somebody has had it started again meanwhile" in stop.text
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(50))


NEEDS = """
from pathlib import Path

from arroyo import Operator


class Needs(Operator):
    def open(self):
        if not Path("calibration").exists():
            raise RuntimeError("no calibration today")

    def process(self, message):
        return message
"""


@pytest.mark.logs_errors("no calibration today")
def test_a_stage_that_has_failed_is_found_put_right_and_started(make_chain):
    chain = make_chain(
        listener("count", events=50),
        operator("work", "needs:Needs", ["count"], keys='restart = "never"'),
        publisher("write", ["work"]),
    )
    (chain.folder / "needs.py").write_text(NEEDS)
    supervisor = chain.supervise()
    supervisor.wait_for("FAILED")
    assert "work.0 exited with" in chain.command("status", "numbers")
    assert "no calibration today" in chain.command("logs", "numbers", "work", "--level", "ERROR")
    (chain.folder / "calibration").touch()
    assert chain.command("start", "numbers", "work").startswith("starting work.0;")
    assert supervisor.wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(50))
