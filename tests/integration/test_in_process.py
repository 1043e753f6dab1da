"""A chain in one process that is stopped from outside."""

import signal

import pytest
from chains import indices, listener, operator, publisher, totals, wait_until

WORK, WRITE = operator("work", "Pass", ["count"]), publisher("write", ["work"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_stop_signal_ends_the_listener_and_finishes_what_it_has_handed_over(make_chain, number):
    chain = make_chain(listener("count", keys="window = 1000", handed="handed"), WORK, WRITE)
    program = chain.supervise("--in-process")
    chain.wait_for_lines(3000)
    program.send(number)
    assert program.wait() == 0, program.text
    handed = int((chain.folder / "handed").read_text())
    assert indices(chain.lines()) == list(range(handed))
    assert totals(chain.lines())["sent"] == handed


def test_a_second_one_stops_it_now(make_chain):
    hang = operator("work", "Hang", ["count"], at=2)
    chain = make_chain(listener("count"), hang, WRITE)
    program = chain.supervise("--in-process")
    wait_until((chain.folder / "hanging").exists, chain.text)
    program.send(signal.SIGINT)
    program.send(signal.SIGTERM)
    assert program.wait() == 130
    assert "Traceback" not in program.text
