"""`arroyo ps` beside chains that run."""

import json

from chains import kill, listener, operator, publisher, wait_until

THREE = (
    listener("count", events=300, pause_at=150),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"]),
)


def numbers_of(chain):
    (row,) = (
        row
        for row in json.loads(chain.command("ps", "--all", "--json"))
        if row["chain"] == "numbers"
    )
    return row


def test_a_running_chain_is_listed_with_its_restarts(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    before = chain.pids()["work.1"]
    kill(before)
    wait_until(lambda: chain.pids().get("work.1", before) != before, chain.text)
    chain.wait_until_ready()
    row = numbers_of(chain)
    assert (row["state"], row["pid"], row["restarts"]) == ("READY", supervisor.pid, 1)
    assert (row["stages"], row["stages_ready"]) == (3, 3)
    assert row["file"] == str(chain.path)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert numbers_of(chain)["state"] == "STOPPED"
