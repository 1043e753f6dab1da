"""Names of stages and replicas, and numbers that no two lives share."""

import re
import subprocess
import sys
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.identifiers import (
    NAME_PATTERN,
    ReplicaName,
    digest,
    is_name,
    new_epoch,
    new_run,
)


@pytest.mark.parametrize("name", ["a", "images", "azint-2_b", "x" * 63])
def test_a_name_is_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "2d", "Images", "a.b", "a b", "ä", "a\n", "-a", "x" * 64])
def test_what_files_or_addresses_may_not_have_is_no_name(name):
    assert not is_name(name)


@given(st.from_regex(NAME_PATTERN, fullmatch=True), st.integers(0, 10_000))
def test_a_replica_is_read_from_what_is_written(stage, replica):
    name = ReplicaName(stage, replica)
    assert ReplicaName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["images", "images.", ".0", "images.-1", "images.a", "Im.0", ""])
def test_anything_else_is_no_replica(text):
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        ReplicaName.parse(text)


def test_a_digest_is_the_same_in_every_process():
    code = "from arroyo.identifiers import digest; print(digest(b'powder'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(b"powder")
    assert re.fullmatch("[0-9a-f]{16}", digest(b""))
    assert digest(b"powder") != digest(b"redwop")


def test_runs_sort_by_their_start_and_are_names_of_files(monkeypatch):
    gmtime, names = time.gmtime, []
    for second in (59, 1_000_000_000, 1_000_000_001):
        monkeypatch.setattr(time, "gmtime", partial(gmtime, second))
        names += sorted({new_run(), new_run()})
    assert len(set(names)) == 6
    assert names == sorted(names)
    assert all(re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{8}", name) for name in names)


def test_epochs_differ_and_fit_into_a_signed_number():
    epochs = {new_epoch() for _ in range(1000)}
    assert len(epochs) == 1000
    assert all(0 <= epoch < 1 << 62 for epoch in epochs)
