"""`arroyo events` beside a chain that runs, of which a process dies."""

import json
import signal

from chains import kill, listener, operator, publisher

THREE = (
    listener("count", events=300, every_s=0.001, pause_at=150),
    operator("work", "Fussy", ["count"]),
    publisher("write", ["work"]),
)


def test_what_happens_is_followed_and_can_be_read_afterwards(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    follower = chain.start("arroyo", "events", "numbers", "-f")
    follower.wait_for("chain-ready")
    pid = chain.pids()["work.0"]
    kill(pid)
    follower.wait_for("work.0 was killed (SIGKILL)")
    chain.wait_until_ready()
    chain.open_gate()
    assert supervisor.wait() == 65
    follower.wait_for("chain numbers ended with exit code 65")
    follower.send(signal.SIGINT)
    assert follower.wait() == 130
    found = [json.loads(line) for line in chain.command("events", "numbers", "--json").splitlines()]
    assert [each["event"] for each in found] == [line.split()[0] for line in follower.lines if line]
    of_work = [each for each in found if each["stage"] == "work.0"]
    assert [each["event"] for each in of_work if each["event"] != "quarantined"] == [
        *("started", "ready", "restarting", "started", "ready", "finished")
    ]
    (restarting,) = [each for each in of_work if each["event"] == "restarting"]
    assert restarting["exit"]["signal"] == "SIGKILL"
    assert of_work[0]["process"] == pid
    assert sum(each.get("count", 0) for each in of_work) == 30
    assert found[-1]["exit_code"] == 65
