"""The format of files that outlast a crash: what is whole is read, what is not is never taken."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.durable.frames import (
    FRAME_BYTES,
    HEAD_BYTES,
    FileKind,
    Frames,
    pack_frame,
    unpack_file,
    unpack_frame,
)
from arroyo.errors import ConfigurationError

KIND = FileKind(b"TEST", 3)
PATH = Path("/state/journal")

bodies = st.lists(st.binary(max_size=30), max_size=5)


def file_of(*bodies):
    return KIND.head + b"".join(map(pack_frame, bodies))


def read(content):
    return unpack_file(content, KIND, PATH)


@given(bodies)
def test_what_was_written_is_read(written):
    assert read(file_of(*written)) == Frames(written, damaged=False)


@given(bodies, st.data())
def test_of_a_file_that_was_cut_off_anywhere_the_whole_frames_are_read(written, data):
    content = file_of(*written)
    cut = content[: data.draw(st.integers(HEAD_BYTES, len(content)))]
    found = read(cut)
    assert not found.damaged
    assert found.bodies == written[: len(found.bodies)]
    assert len(file_of(*written[: len(found.bodies) + 1])) > len(cut) or found.bodies == written


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_a_changed_byte_ends_the_file_in_front_of_its_frame(written, data):
    content = bytearray(file_of(*written))
    content[data.draw(st.integers(HEAD_BYTES, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    found = read(bytes(content))
    assert found.bodies == written[: len(found.bodies)]
    assert len(found.bodies) < len(written)


@pytest.mark.parametrize("count", [7, 8, 9, 512])
def test_zeros_behind_a_power_cut_are_no_frames(count):
    found = read(file_of(b"a") + bytes(count))
    assert found.bodies == [b"a"]
    assert found.damaged == (count >= FRAME_BYTES)


def test_half_a_head_is_damage_and_not_another_version():
    for length in range(4, HEAD_BYTES):
        assert read(KIND.head[:length]) == Frames([], damaged=True)


@pytest.mark.parametrize("content", [b"", b"\x89AR", b"{}", bytes(20)])
def test_what_begins_otherwise_is_damaged(content):
    assert read(content) == Frames([], damaged=True)


def test_a_file_of_another_kind_is_damage():
    assert read(FileKind(b"ELSE", 3).head) == Frames([], damaged=True)


def test_a_file_of_another_version_is_refused_with_both():
    words = r"/state/journal was written by another .*: it has format 1\.4, expected 1\.3"
    with pytest.raises(ConfigurationError, match=words):
        read(FileKind(b"TEST", 4).head + pack_frame(b"a"))


@given(st.binary(max_size=30), st.binary(max_size=10))
def test_one_frame_is_read_whatever_is_behind_it(body, behind):
    frame = pack_frame(body)
    assert len(frame) == FRAME_BYTES + len(body)
    assert unpack_frame(frame + behind) == body


def test_one_frame_that_is_not_whole_is_none():
    assert unpack_frame(pack_frame(b"abc")[:-1]) is None
    assert unpack_frame(bytes(FRAME_BYTES)) is None
