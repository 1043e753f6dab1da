"""What receivers can decode, told without decoding it: the same as they say themselves."""

import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.codec._plain import explain_array_form, is_array_form, is_plain
from arroyo.messages import Event

PLAIN = ["", "<u2", ">f8", "|b1", "=i4", "c16", "f2", "<M8[25ms]", "|S8", "<U3", "|V4"]
NO_PLAIN = ["pixel", "O", "u1,f4", "f3", "<u2 ", "b2", "(2,)u1,f4", "f" * 100]


@pytest.mark.parametrize("dtype", PLAIN)
def test_a_plain_type_of_numpy_is_one_each_time(dtype):
    for _ in range(2):
        assert is_array_form(dtype, (2, 3))
        assert explain_array_form(dtype, (2, 3)) is None


@pytest.mark.parametrize("dtype", NO_PLAIN)
def test_any_other_text_is_refused_in_words(dtype):
    assert not is_array_form(dtype, (2, 3))
    assert explain_array_form(dtype, (2, 3)).startswith(f"dtype is {dtype!r:.60}: expected a plain")


@pytest.mark.parametrize("shape", [(-1,), (True,), (1.5,), [1], 5, None, (np.int64(1),)], ids=repr)
def test_a_shape_is_a_tuple_of_lengths(shape):
    assert not is_array_form("<u2", shape)


def test_a_length_below_zero_is_told_first():
    assert explain_array_form("pixel", (2, -1)) == "shape is (2, -1): expected lengths from 0 on"


def test_a_dtype_is_text():
    assert not is_array_form(np.dtype("u2"), (1,))
    assert not is_array_form(None, ())


def test_without_numpy_a_rare_type_is_taken_on_trust(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert is_array_form("<M8[7s]", (1,))


texts = st.text("<>=|biufcSUMV0123456789,[]smn", max_size=6)
lengths = st.one_of(st.integers(-2, 9), st.booleans())
keys = st.one_of(st.text(max_size=3), st.integers(), st.binary(max_size=2))


@given(st.dictionaries(keys, st.none(), max_size=3), texts, st.lists(lengths, max_size=3))
def test_what_counts_as_plain_is_what_a_receiver_decodes_and_makes_an_array_of(
    metadata, dtype, shape
):
    event = Event(metadata, b"", dtype, tuple(shape))
    if is_plain(event):
        found = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)
        assert found == event
        assert explain_array_form(found.dtype, found.shape) is None
        assert not (dtype and np.dtype(dtype).hasobject)
