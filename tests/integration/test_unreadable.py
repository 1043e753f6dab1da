"""Messages that a stage can't decode: each is quarantined alone, and the run goes on and ends."""

import json

from chains import listener, publisher, totals

STAGES = """
import os
from typing import Annotated

import msgspec

from arroyo import Listener, Message, Start, Stop

# The stages of the chain run different versions of these classes.
BOUND = int(os.environ.get("BOUND", "1000"))


class Odd(Message):
    index: Annotated[int, msgspec.Meta(lt=BOUND)]
    values: tuple[float, ...] = ()


class Sample(Start):
    name: Annotated[str, msgspec.Meta(max_length=BOUND)] = ""


class Over(Stop):
    name: Annotated[str, msgspec.Meta(max_length=BOUND)] = ""


class Count(Listener):
    def start(self):
        self.operator.process(Start({}))
        for index in range(80):
            self.operator.process(Odd(index if index % 10 else index + 90))
        self.operator.process(Stop({}))

    def stop(self):
        pass


class Named(Count):
    def start(self):
        for name in "silver", "gold":
            self.operator.process(Sample({"energy_keV": 10}, name * 40))
            for index in range(5):
                self.operator.process(Odd(index))
            self.operator.process(Over({"reason": "done"}, name * 40))
"""


def make(make_chain, source="Count", keys='order = "source"\n'):
    chain = make_chain(
        listener("count", f"odd:{source}"),
        publisher("write", ["count"], keys=f'{keys}env = {{ BOUND = "90" }}'),
        keys='messages = ["odd:Odd", "odd:Sample", "odd:Over"]',
    )
    (chain.folder / "odd.py").write_text(STAGES)
    return chain


def entries(chain):
    return json.loads(chain.command("quarantine", "list", chain.path, "--json"))


def test_only_the_messages_that_can_not_be_decoded_are_quarantined(make_chain):
    chain = make(make_chain)
    assert chain.supervise().wait() == 65, chain.text()
    lines = chain.lines()
    came = [line["index"] for line in lines if line["type"] == "Odd"]
    assert came == [index for index in range(80) if index % 10]
    assert totals(lines)["quarantined"] == 8
    found = entries(chain)
    assert [entry["sequence"] for entry in found] == list(range(0, 80, 10))
    assert {entry["type"] for entry in found} == {"Odd"}
    assert (
        found[0]["reason"] == "can't be read: an Odd is not as declared: index: expected int <= 89"
    )


def test_what_could_not_be_decoded_comes_back_once_the_class_is_mended(make_chain):
    chain = make(make_chain)
    assert chain.supervise().wait() == 65, chain.text()
    before = chain.count()
    chain.edit('BOUND = "90"', 'BOUND = "1000"')
    chain.command("quarantine", "requeue", chain.path, "--all")
    assert chain.supervise().wait() == 0, chain.text()
    again = [line["index"] for line in chain.lines()[before:] if line["type"] == "Odd"]
    bad = [index for index in again if index >= 90]
    assert sorted(bad) == sorted(2 * [*range(90, 170, 10)])  # returned, and of the second run
    assert entries(chain) == []


def test_a_run_goes_on_and_ends_though_its_start_and_stop_can_not_be_decoded(make_chain):
    chain = make(make_chain, "Named")
    assert chain.supervise().wait() == 65, chain.text()
    lines = chain.lines()
    assert [line["type"] for line in lines] == ["Start", *["Odd"] * 5, "Stop"] * 2
    assert {line["data"]["energy_keV"] for line in lines if line["type"] == "Start"} == {10}
    assert [line["data"]["totals"]["sent"] for line in lines if line["type"] == "Stop"] == [5, 5]
    assert sorted(entry["type"] for entry in entries(chain)) == ["Over", "Over", "Sample", "Sample"]
