"""Which messages of the quarantine their chain can take back, and why not the others."""

from dataclasses import dataclass

import msgspec
import pytest
from stage_fakes import line_of

from arroyo import Event
from arroyo.codec import MessageCodec
from arroyo.errors import UsageError
from arroyo.messages import Message
from arroyo.runner.quarantine.returnable import read_returnable
from arroyo.runner.quarantine.store import QuarantineEntry

ENTRY = QuarantineEntry(
    id="0",
    time=0.0,
    chain="line",
    stage="work",
    replica=0,
    source="src.0",
    run="r",
    epoch=1,
    sequence=3,
    key="key",
    type="Event",
    reason="no",
    attempts=1,
    enters="work",
)
CODEC = MessageCodec(())
PACKED = CODEC.pack(Event({"n": 1}))


class Unknown(Message):
    """No type of this chain."""


@pytest.fixture
def read(tmp_path):
    chain = line_of(
        tmp_path,
        ("listener", "src", "own:Src", {}),
        ("operator", "work", "own:Work", {}),
        ("publisher", "sink", "own:Sink", {}),
    )

    def read_one(packed=PACKED, **fields):
        return read_returnable(chain, CODEC, msgspec.structs.replace(ENTRY, **fields), packed)

    return read_one


@pytest.mark.parametrize("enters", ["src", "work", "sink"])
def test_a_message_goes_back_to_its_source_or_a_stage_below_it(read, enters):
    assert read(enters=enters).metadata == {"n": 1}


@dataclass
class Case:
    fields: dict
    told: str


CASES = {
    "frames": Case({"type": ""}, "it could not be read"),
    "a Start": Case({"sequence": -1}, "it is the Start or Stop of a run"),
    "no source": Case({"source": "old.0"}, r"its source old\.0 is not in the chain any more"),
    "no replica": Case({"source": "src.1"}, r"its source src\.1 is not .* which has src\.0"),
    "no stage": Case({"enters": "old"}, "goes into stage old, but below src the chain has work"),
    "damaged": Case({"packed": b"\xc1"}, "the chain can't decode it"),
    "no type": Case({"packed": MessageCodec((Unknown,)).pack(Unknown())}, "Unknown"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_can_not_go_back_is_told_with_what_to_do(read, case):
    with pytest.raises(UsageError, match=case.told):
        read(**case.fields)
