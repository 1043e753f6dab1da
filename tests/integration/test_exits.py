"""Stages that leave in ways of their own, written as users write them."""

from chains import indices, listener, operator, publisher

LEAVES = """
import os
from arroyo import Event, Operator

class Leaves(Operator):
    def process(self, message):
        if isinstance(message, Event) and message.metadata["index"] == 13:
            os._exit(0)  # as exit(0) in C does, and STOP in Fortran
        return message
"""


def chain_with(make_chain, code, *tables, keys=""):
    """A chain with a module `own`, which a user wrote beside the chain file."""
    chain = make_chain(*tables, keys=keys)
    (chain.folder / "own.py").write_text(code)
    return chain


def test_an_exit_with_0_in_process_while_the_source_drains_is_no_end_of_the_work(make_chain):
    chain = chain_with(
        make_chain,
        LEAVES,
        listener("count", events=100),
        operator("work", "own:Leaves", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    code = supervisor.wait()
    assert set(indices(chain.lines())) == set(range(100)) - {13}, chain.text()
    assert code == 0, chain.text()
    assert "exit(0)" in supervisor.text
    assert len(chain.command("quarantine", "list", chain.path).splitlines()) >= 1
