"""A slot holds what was last put there, whatever a death or a power cut leaves of the writing."""

import os

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arroyo.durable.frames import HEAD_BYTES, FileKind
from arroyo.durable.mapped_slots import MappedSlots
from arroyo.errors import ConfigurationError

KIND = FileKind(b"TEST", 1)
SECTOR_BYTES = 512
PLACE_BYTES = 4 * SECTOR_BYTES

values = st.binary(max_size=PLACE_BYTES - 16)


def open_file(path):
    return MappedSlots(path, KIND, 2, PLACE_BYTES)


def read(path):
    slots = open_file(path)
    found = [slots.read(slot) for slot in (0, 1)]
    slots.close()
    return [None if body is None else msgspec.msgpack.decode(body) for body in found]


def write(path, *values):
    """Put values into the first and second slot, in turn; return the file's content."""
    slots = open_file(path)
    for number, value in enumerate(values):
        slots.write(number % 2, value)
    slots.close()
    return path.read_bytes()


def test_a_new_file_has_empty_places(tmp_path):
    assert read(tmp_path / "file") == [None, None]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=values, second=values, third=values, data=st.data())
def test_a_death_in_the_midst_of_writing_leaves_the_other_place(
    tmp_path, first, second, third, data
):
    path = tmp_path / "file"
    before = write(path, first, second)
    behind = write(path, third)
    cut = data.draw(st.integers(0, SECTOR_BYTES + PLACE_BYTES))
    path.write_bytes(behind[:cut] + before[cut:])
    found = read(path)
    assert found[0] in (first, third, None)
    assert found[1] == second


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=values, second=values, third=values, data=st.data())
def test_a_power_cut_leaves_any_sectors_but_never_a_mixture(tmp_path, first, second, third, data):
    path = tmp_path / "file"
    path.unlink(missing_ok=True)
    contents = [write(path), write(path, first, second), write(path, third)]
    sectors = range(0, len(contents[0]), SECTOR_BYTES)
    path.write_bytes(
        b"".join(data.draw(st.sampled_from(contents))[at : at + SECTOR_BYTES] for at in sectors)
    )
    found = read(path)
    assert found[0] in (None, first, third)
    assert found[1] in (None, second)


def test_what_is_synced_is_on_the_disk_with_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        "os.fsync", lambda each: synced.append(os.readlink(f"/proc/self/fd/{each}"))
    )
    slots = open_file(tmp_path / "file")
    assert not synced
    slots.sync()
    slots.close()
    assert synced == [str(tmp_path / "file"), str(tmp_path)]


@pytest.mark.parametrize("content", [b"", b"something else", bytes(5000), KIND.head, b"\x89ARR"])
def test_a_file_of_something_else_is_replaced_by_empty_places(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read(tmp_path / "file") == [None, None]


def test_a_file_of_another_version_is_refused_and_stays(tmp_path):
    content = KIND._replace(schema=2).head + write(tmp_path / "file", b"a")[HEAD_BYTES:]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigurationError, match="file was written by another version of Arroyo"):
        open_file(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_nobody_else_may_look_into_it(tmp_path):
    write(tmp_path / "file", b"secret")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
