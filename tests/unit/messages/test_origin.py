"""The key of a message: the same on each delivery of it, and on no other message."""

from hypothesis import given
from hypothesis import strategies as st

from arroyo.messages import Origin, origin_key

FIRST = Origin("run", "det.0", epoch=1, sequence=7)


def test_it_says_which_message_it_is():
    assert origin_key(FIRST) == "det.0/run/7"
    assert origin_key(FIRST._replace(path=1)) == "det.0/run/7@1"
    assert origin_key(FIRST._replace(fragment=((0, 2), (3, 4)))) == "det.0/run/7.0.3"


def test_a_start_or_stop_is_named_so():
    control = FIRST._replace(sequence=-1)
    assert origin_key(control, "start") == "det.0/run/start"
    assert origin_key(control._replace(path=2), "stop") == "det.0/run/stop@2"


def test_it_is_the_same_in_each_life_of_a_source():
    assert origin_key(FIRST._replace(epoch=2)) == origin_key(FIRST)


indices = st.integers(0, 3)
fragments = st.lists(st.tuples(indices, st.just(4)), max_size=2).map(tuple)
origins = st.builds(
    Origin,
    st.sampled_from("ab"),
    st.sampled_from(["s.0", "s.1"]),
    st.just(1),
    indices,
    indices,
    fragments,
)


@given(origins, origins)
def test_no_two_messages_have_the_same(one, other):
    assert (origin_key(one) == origin_key(other)) == (one == other)
