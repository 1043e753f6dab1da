import msgspec

from arroyo.protocol.fold.state import DoneInputs, FoldState, OpenOutputs

STATE = FoldState((OpenOutputs("s.0", "run", 3),), (DoneInputs("s.0", 1, 0, ((4, 6),)),), 7)


def read(content):
    return msgspec.msgpack.decode(content, type=FoldState)


def test_the_next_life_reads_what_this_one_has_noted():
    assert read(msgspec.msgpack.encode(STATE)) == STATE


def test_what_an_earlier_release_did_not_note_is_as_at_the_first_start():
    outputs, *_ = msgspec.msgpack.decode(msgspec.msgpack.encode(STATE))
    assert read(msgspec.msgpack.encode([outputs])) == FoldState(STATE.outputs)
