"""Any frames at the sockets of a live chain: its stages live on, and everything arrives."""

from contextlib import ExitStack

import pytest
import zmq
from chains import indices, listener, operator, publisher, wait_until
from fuzz.effort import fuzzed
from fuzz.records import back_records, damaged, data_records, packed
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec import Refuse, encode_record
from arroyo.identifiers import ReplicaName

EVENTS = 200
SRC, WORK, FILE = (ReplicaName(name, 0) for name in ("src", "work", "file"))

# A Refuse in the name of a stage below is told to people, as it should be.
answers = back_records.filter(lambda record: not isinstance(record, Refuse)).map(encode_record)
news = data_records.map(encode_record)


def any_of(records):
    header = st.one_of(records, damaged(records), packed, st.binary(max_size=40))
    return st.lists(st.one_of(packed, st.binary(max_size=20)), max_size=2).flatmap(
        lambda rest: header.map(lambda first: [first, *rest])
    )


@pytest.mark.logs_errors(r"refuses: .* speaks version \d+ of the link protocol")
def test_any_frames_at_the_sockets_of_a_chain(make_chain):
    chain = make_chain(
        listener("src", events=EVENTS, pause_at=EVENTS // 2),
        operator("work", "Pass", ["src"]),
        publisher("file", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(EVENTS // 2)
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())

        def connect(kind, name):
            made = stack.enter_context(context.socket(zmq.PUSH))
            made.linger = 5000
            made.connect(chain.run_directory.address(kind, name))
            return made

        targets = st.one_of(
            st.tuples(st.sampled_from([connect("in", WORK), connect("in", FILE)]), any_of(news)),
            st.tuples(
                st.sampled_from([connect("back", SRC), connect("back", WORK)]), any_of(answers)
            ),
        )

        @fuzzed(200)
        @given(target=targets)
        def send(target):
            made, frames = target
            made.send_multipart(frames)

        send()
    wait_until(lambda: all(row["errors"] for row in chain.status().values()), chain.text)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(EVENTS))
    assert "starting it again" not in supervisor.text
