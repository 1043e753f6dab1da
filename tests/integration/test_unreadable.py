"""Bodies that can't be read: their messages end in quarantine, and nobody waits for them."""

from chains import listener, publisher, totals

STAGES = """
from typing import Annotated

import msgspec

from arroyo import Listener, Message, Start, Stop


class Odd(Message):
    index: Annotated[int, msgspec.Meta(lt=90)]  # looked at where it is decoded
    values: tuple[float, ...] = ()


class Count(Listener):
    def start(self):
        self.operator.process(Start({}))
        for index in range(80):
            self.operator.process(Odd(index if index % 10 else 90))
        self.operator.process(Stop({}))

    def stop(self):
        pass
"""


def test_a_stage_that_restores_order_goes_on_behind_messages_that_can_not_be_read(make_chain):
    chain = make_chain(
        # A small window, so that not all travel together.
        listener("count", "odd:Count", keys="window = 8"),
        publisher("write", ["count"], keys='order = "source"'),
        keys='messages = ["odd:Odd"]',
    )
    (chain.folder / "odd.py").write_text(STAGES)
    supervisor = chain.supervise()
    assert supervisor.wait(20) == 0, chain.text()
    lines = chain.lines()
    came = [line["index"] for line in lines if line["type"] == "Odd"]
    assert came[-1] == 79
    assert len(came) + totals(lines)["quarantined"] == 80
