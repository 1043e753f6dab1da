"""Which values of the metadata become elements of a dataset, and which don't fit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.connectors.hdf5_files.nexus_values import (
    TEXT_BYTES,
    cut,
    fit,
    is_name,
    kind_of,
    missing,
)

INT, FLOAT, BOOL, TEXT = np.int64, np.float64, np.bool_, f"S{TEXT_BYTES}"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, BOOL),
        (3, INT),
        (-(2**63), INT),
        (2**63, None),
        (0.5, FLOAT),
        ("text", TEXT),
        ("a\0b", None),
        (b"bytes", None),
        ([1], None),
        (None, None),
    ],
)
def test_a_value_chooses_the_type_of_its_dataset(value, kind):
    assert kind_of(value) == (None if kind is None else np.dtype(kind))


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        (3, FLOAT, 3.0),
        (2**60 + 1, FLOAT, None),
        (3.0, INT, 3),
        (3.5, INT, None),
        (math.nan, INT, None),
        (math.inf, INT, None),
        (10**400, FLOAT, None),
        (2**63, INT, None),
        (1, BOOL, True),
        (2, BOOL, None),
        (True, INT, 1),
        ("text", INT, None),
        (3, TEXT, None),
        ("text", TEXT, b"text"),
        ("a\0b", TEXT, None),
        ([1], INT, None),
    ],
)
def test_a_value_is_stored_only_without_loss(value, kind, stored):
    assert fit(value, np.dtype(kind)) == stored


def test_not_a_number_is_a_float():
    assert math.isnan(fit(math.nan, np.dtype(FLOAT)))


@given(st.one_of(st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), st.floats(), st.text()))
def test_a_value_fits_the_dataset_that_it_chose(value):
    kind = kind_of(value)
    if kind is not None:
        stored = fit(value, kind)
        assert stored == (cut(value) if isinstance(value, str) else value) or value != value


@given(st.text(min_size=200, max_size=300))
def test_a_long_text_is_cut_between_characters(text):
    kept = cut(text)
    assert len(kept) <= TEXT_BYTES
    whole = text.encode()
    if len(whole) <= TEXT_BYTES:
        assert kept == whole
    else:
        assert kept.decode().endswith("…")
        assert text.startswith(kept.decode()[:-1])


def test_what_is_missing_can_be_told_from_a_value():
    assert math.isnan(missing(np.dtype(FLOAT)))
    assert missing(np.dtype(INT)) == -(2**63)
    assert missing(np.dtype(BOOL)) == np.False_
    assert missing(np.dtype(TEXT)) == b""


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\0b"])
def test_some_keys_can_not_name_a_dataset(name):
    assert not is_name(name)
    assert is_name(f"{name}x".replace("/", "").replace("\0", ""))
