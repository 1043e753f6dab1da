"""`on_event` of a chain of which a stage dies."""

import json

from chains import listener, operator, publisher, wait_until

PAGE = """#!/bin/sh
cat >> paged
sleep 10
"""
HOOK = '[supervisor]\non_event = { command = ["./page"], events = ["restarting", "chain-ended"] }\n'
THREE = (
    listener("count", events=100, pause_at=50),
    operator("work", "Pass", ["count"]),
    publisher("write", ["work"]),
)


def test_a_death_is_paged_and_nothing_waits_for_the_pager(make_chain):
    chain = make_chain(*THREE, keys=HOOK)
    page = chain.folder / "page"
    page.write_text(PAGE)
    page.chmod(0o700)
    supervisor = chain.supervise()
    chain.wait_until_ready()
    chain.kill("work.0")
    wait_until(lambda: chain.count("paged") == 1, chain.text)
    chain.wait_until_ready()
    chain.open_gate()
    assert supervisor.wait() == 0, "though the pager is still at it"
    wait_until(lambda: chain.count("paged") == 2, chain.text)
    died, ended = map(json.loads, (chain.folder / "paged").read_text().splitlines())
    assert (died["event"], died["stage"], died["exit"]["signal"]) == (
        *("restarting", "work.0", "SIGKILL"),
    )
    assert ended["exit_code"] == 0
