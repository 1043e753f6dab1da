"""Numbers of lives only ever grow, whatever becomes of the clock and of their file."""

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_disk import fill

from arroyo.durable.frames import FileKind
from arroyo.errors import ConfigurationError
from arroyo.runner.state.incarnations import LIFE, RESERVE, next_incarnation

NOW_NS = 1_800_000_000 * 10**9
HOUR_NS = 3600 * 10**9
BOOT, NEXT_BOOT = bytes(16), bytes(15) + b"1"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lives" / "images.0"


def test_numbers_follow_the_clock(path):
    assert next_incarnation(path, NOW_NS) == NOW_NS
    assert next_incarnation(path, NOW_NS + HOUR_NS) == NOW_NS + HOUR_NS


def test_a_clock_that_is_set_back_leads_to_no_smaller_number(path):
    first = next_incarnation(path, NOW_NS)
    second = next_incarnation(path, NOW_NS - HOUR_NS)
    third = next_incarnation(path, NOW_NS - 2 * HOUR_NS)
    assert second - first == third - second == LIFE


def test_a_power_cut_loses_no_number_that_was_used(path):
    next_incarnation(path, NOW_NS, BOOT)
    on_the_disk = path.read_bytes()
    used = [next_incarnation(path, NOW_NS - HOUR_NS, BOOT) for _ in range(3)]
    path.write_bytes(on_the_disk)
    assert next_incarnation(path, 0, NEXT_BOOT) > max(used) + LIFE


def test_the_bound_is_on_the_disk_before_a_number_beyond_it_is_used(path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(path.read_bytes()))
    first = next_incarnation(path, NOW_NS)
    assert msgspec.msgpack.encode(first + RESERVE) in synced[0]
    synced.clear()
    next_incarnation(path, NOW_NS + 1)
    assert not synced  # a stage that is replaced need not wait for the disk
    late = next_incarnation(path, NOW_NS + RESERVE)
    assert msgspec.msgpack.encode(late + RESERVE) in synced[0]


@pytest.mark.parametrize("content", [b"", bytes(600), b"\xff" * 600])
def test_a_broken_file_leaves_the_clock(path, content):
    next_incarnation(path, NOW_NS)
    path.write_bytes(content)
    assert next_incarnation(path, NOW_NS + 1) == NOW_NS + 1


def test_a_file_of_another_version_is_refused(path):
    next_incarnation(path, NOW_NS)
    path.write_bytes(FileKind(b"LIFE", 2).head)
    with pytest.raises(ConfigurationError, match="was written by another version of Arroyo"):
        next_incarnation(path, NOW_NS)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(-HOUR_NS, HOUR_NS), st.booleans()), max_size=20))
def test_each_life_has_numbers_of_its_own(path, steps):
    path.unlink(missing_ok=True)
    clock_ns, boots = NOW_NS, itertools.count()
    boot, number = b"", -LIFE
    for step_ns, is_booted in steps:
        clock_ns += step_ns
        boot = next(boots).to_bytes(16) if is_booted or not boot else boot
        following = next_incarnation(path, clock_ns, boot)
        assert number + LIFE <= following < 2**63
        number = following


def test_a_stage_without_room_for_it_begins_all_the_same(small_disk, caplog):
    disk = small_disk(64)
    fill(disk)
    assert next_incarnation(disk / "lives" / "images.0", NOW_NS) == NOW_NS
    assert "No space left on device" in caplog.text
