"""What travels together of what a listener hands over."""

import pytest

from arroyo import Event
from arroyo.codec import Body, Kind, MessageCodec
from arroyo.protocol.values.flow_limits import BATCH_MESSAGES
from arroyo.runner.intake.window_batch import BATCH_BYTES, WindowBatch, WindowRun

CODEC = MessageCodec(())


def batch(count=0, *, packs=False, tokens=(), keys=()):
    made = WindowBatch(Kind.EVENTS, WindowRun(), None, packs=packs)
    for number in range(count):
        item = CODEC.encode(Event({"n": number}))
        token = tokens[number] if number < len(tokens) else None
        made.add(item, len(item), token, keys[number] if keys else None)
    return made


def size_of(numbers):
    return sum(len(CODEC.encode(Event({"n": number}))) for number in numbers)


def test_small_messages_are_of_one_piece_where_they_may():
    assert type(batch(3, packs=True).items) is Body
    assert type(batch(3).items) is list
    assert list(batch(3, packs=True).items) == batch(3).items


def test_they_are_kept_apart_from_the_first_large_one_on():
    made = batch(2, packs=True)
    large = CODEC.encode(Event({}, bytes(100_000)))
    made.add(large, len(large), None, None)
    assert made.body is None
    assert len(made.items) == 3
    assert made.size == size_of(range(2)) + len(large)


def test_there_is_a_token_for_each_item_or_for_none():
    assert batch(3).tokens == []
    assert batch(3, tokens=(None, "b")).tokens == [None, "b", None]


def test_a_batch_is_full_by_number_or_by_bytes():
    made = batch(1)
    assert not made.is_full
    made.inline += BATCH_BYTES
    assert made.is_full
    assert batch(BATCH_MESSAGES, packs=True).is_full


@pytest.mark.parametrize("packs", [False, True])
def test_the_first_message_may_be_dropped(packs):
    made = batch(3, packs=packs, tokens="abc")
    assert len(made.drop_first()) == size_of([0])
    assert (len(made.items), made.tokens, made.size) == (2, ["b", "c"], size_of([1, 2]))


@pytest.mark.parametrize("packs", [False, True])
def test_a_part_of_it_takes_its_tokens_and_keys_along(packs):
    first, rest = batch(3, packs=packs, tokens="abc", keys=(7, 8, 9)).split(1)
    assert [(each.tokens, each.keys, each.size) for each in (first, rest)] == [
        (["a"], [7], size_of([0])),
        (["b", "c"], [8, 9], size_of([1, 2])),
    ]
    assert first.handed_ns == rest.handed_ns
