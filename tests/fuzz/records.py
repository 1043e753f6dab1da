"""Strategies for records of the link protocol, those of strangers included, and for broken ones."""

import msgspec
from hypothesis import strategies as st

from arroyo.codec import (
    Ack,
    Batch,
    Bye,
    Credit,
    End,
    Hello,
    Kind,
    Lost,
    Open,
    Reason,
    Refuse,
    Suspect,
    Tombstone,
    decode_back,
    decode_data,
    encode_record,
)
from arroyo.errors import DecodeError

STAGES = ("src", "work", "fold", "file", "live", "nobody", "")
HUGE = 1 << 62

stages = st.sampled_from(STAGES)
small = st.integers(0, 6)
counts = st.one_of(small, st.sampled_from([50, 70, 1 << 32, HUGE]), st.integers(0, HUGE))
replicas = st.one_of(st.integers(0, 2), counts)
names = st.builds("{}.{}".format, stages, replicas)
incarnations = st.one_of(st.sampled_from([50, 70]), counts)
texts = st.one_of(st.sampled_from(["", "run", "other"]), st.text(max_size=5))
ranges = st.builds(
    lambda first, length: (first, min(first + length, HUGE)), counts, st.integers(1, 8)
)
fragments = st.lists(
    st.builds(lambda index, more: (index, index + more), small, st.integers(1, 3)), max_size=3
).map(tuple)
tombstones = st.one_of(
    st.builds(lambda spread, reason: Tombstone(*spread, reason), ranges, st.sampled_from(Reason)),
    st.builds(
        lambda first, reason, fragment: Tombstone(first, first + 1, reason, fragment),
        small,
        st.sampled_from(Reason),
        fragments,
    ),
)


def several(elements, most=3):
    return st.lists(elements, max_size=most).map(tuple)


batches = st.builds(
    Batch,
    sender=names,
    link=counts,
    number=counts,
    kind=st.sampled_from(Kind),
    run=texts,
    source=names,
    epoch=st.one_of(small, counts),
    base=small,
    frontier=st.one_of(small, counts),
    path=st.one_of(small, counts),
    attempt=small,
    implicit=st.booleans(),
    reliable=st.booleans(),
    ranges=several(ranges),
    tombstones=several(tombstones),
    fragments=several(st.tuples(small, fragments)),
    suspect=st.one_of(st.just(0), counts),
    enters=st.one_of(st.just(""), stages),
    holders=several(st.tuples(stages, replicas, incarnations)),
    handed_ns=counts,
    sent_ns=counts,
)
acks = st.builds(
    Ack,
    stage=stages,
    replica=replicas,
    source=st.one_of(st.sampled_from(["src.0", "fold.0"]), names),
    epoch=st.one_of(st.just(1), counts),
    path=st.one_of(small, counts),
    ranges=several(ranges),
    tombstones=several(tombstones),
    fragments=several(st.tuples(counts, fragments)),
    taken=st.one_of(st.just(0), incarnations),
    paths=st.one_of(st.just(1), counts),
    replicas=small,
)


def is_valid(record, decode):
    try:
        return decode(encode_record(record)) == record
    except DecodeError:
        return False


versions = st.integers(0, 3)
data_records = st.one_of(
    st.builds(Open, versions, stages, replicas, incarnations, counts),
    st.builds(End, names, counts, st.booleans()),
    batches,
).filter(lambda record: is_valid(record, decode_data))
back_records = st.one_of(
    st.builds(Hello, versions, stages, replicas, incarnations, st.booleans()),
    st.builds(Bye, stages, replicas, incarnations),
    st.builds(Credit, stages, replicas, counts, counts, st.floats(0, 1e300)),
    acks,
    st.builds(Lost, stages, replicas, st.one_of(st.none(), counts)),
    st.builds(Refuse, stages, replicas, versions, texts),
    st.builds(Suspect, stages, replicas, incarnations, names, small, small, texts, texts),
).filter(lambda record: is_valid(record, decode_back))


@st.composite
def damaged(draw, good):
    """Bytes of `good` with a few of them changed, left out or put in."""
    data = bytearray(draw(good))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)
packed = plain.map(msgspec.msgpack.encode)
"""Something that is msgpack, at least."""
