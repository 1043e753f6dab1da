"""When a file counts as complete."""

from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors.directory_watch.complete_files import CompleteFiles, Stamp

STAMPS = st.builds(Stamp, st.integers(0, 2), st.integers(0, 2))
LISTINGS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("abc"), STAMPS), st.integers(0, 3)), max_size=20
)


@given(LISTINGS, st.integers(0, 4))
def test_a_file_is_reported_once_in_its_life_after_it_was_the_same_for_long(listings, settle_s):
    files = CompleteFiles(settle_s)
    history, reported, now_s = [], set(), 0
    for listing, passed_s in listings:
        now_s += passed_s
        history.append((now_s, listing))
        reported &= listing.keys()
        asked = files.unreported(set(listing))
        assert asked == listing.keys() - reported
        complete = files.update({name: listing[name] for name in asked}, now_s)
        expected = {name for name in asked if was_still_for(history, name) >= settle_s}
        assert set(complete) == {name for name in expected if listing[name].size_bytes}
        assert complete == sorted(complete, key=lambda name: (listing[name].mtime_ns, name))
        reported |= set(complete)
        left = [name for name in listing if name not in reported and listing[name].size_bytes]
        assert files.pending == len(left)


def was_still_for(history, name):
    """For how long, up to the last listing, a file has been there with the stamp it has now."""
    now_s, last = history[-1]
    still_since_s = now_s
    for seen_s, listing in reversed(history):
        if listing.get(name) != last[name]:
            break
        still_since_s = seen_s
    return now_s - still_since_s


def test_it_knows_when_something_last_changed():
    files = CompleteFiles(2)
    for now_s, size in [(0, 1), (1, 1), (2, 5), (3, 5)]:
        files.update({"a": Stamp(size, 0), "empty": Stamp(0, now_s)}, now_s)
    assert files.changed_s == 2
