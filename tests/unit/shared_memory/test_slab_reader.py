import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from installed import needs_root

from arroyo.errors import DecodeError
from arroyo.messages import SlabReference
from arroyo.shared_memory.pool import SlabPool
from arroyo.shared_memory.slab_reader import StaleSlabError

NAME = "p-images.0-3"
CAPACITY = 1 << 20

# Answers each reference on its standard input with what the reader makes of it.
READ = """
import sys
from pathlib import Path
import msgspec
from arroyo.errors import DecodeError
from arroyo.shared_memory.slab_reader import SlabReader
from arroyo.messages import SlabReference

reader = SlabReader("p-", Path(sys.argv[1]))
for line in sys.stdin:
    reference = msgspec.json.decode(line, type=SlabReference)
    try:
        print(sum(reader.view(reference)), flush=True)
    except DecodeError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def ask(tmp_path):
    """Ask a reader in another process for the sum of a payload's bytes."""
    command = [sys.executable, "-c", READ, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(reference):
            process.stdin.write(msgspec.json.encode(reference).decode() + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_another_process_sees_what_was_written_before_the_reference_was_sent(pool, ask):
    for number in range(1, 50):
        reference = pool.write(bytes([number]) * 10_000)
        assert ask(reference) == str(number * 10_000)
        pool.give_back(reference)


def test_another_process_knows_a_stale_reference(pool, ask):
    stale = pool.write(b"\x01")
    assert ask(stale) == "1"
    pool.give_back(stale)
    assert ask(stale) == "StaleSlabError"
    assert ask(pool.write(b"\x02")) == "2"
    assert ask(stale) == "StaleSlabError"


def test_another_process_survives_references_to_what_has_no_memory(pool, ask):
    good = pool.write(b"\x01")
    for offset in range(4096, 2 * CAPACITY, 128 * 1024):
        assert ask(good._replace(offset=offset)) == "DecodeError"
    assert ask(good) == "1"


def test_a_reference_travels_as_msgpack():
    reference = SlabReference(NAME, 4096, 1 << 33, (1 << 62) + 1)
    encoded = msgspec.msgpack.encode(reference)
    assert msgspec.msgpack.decode(encoded, type=SlabReference) == reference


def test_a_view_can_not_be_written_to(pool, reader):
    view = reader.view(pool.write(bytes(1000)))
    assert view.readonly
    array = np.frombuffer(view, dtype="u1")
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    with pytest.raises(TypeError):
        view[0] = 1


def test_the_memory_itself_is_mapped_without_the_right_to_write(pool, reader):
    view = reader.view(pool.write(b"abc"))
    lines = [line.split() for line in maps().splitlines() if NAME in line]
    pages = {f"{size_of(each[0]) >> 12} pages {each[1]}" for each in lines}
    # The sender's, the reader's, and the page of the leases.
    assert pages == {"256 pages rw-s", "256 pages r--s", "1 pages rw-s"}
    assert bytes(view) == b"abc"


def test_reading_the_same_payload_twice_takes_no_copy(pool, reader):
    slab = pool.take(3)
    view = reader.view(slab.reference)
    slab.data[:] = b"xyz"
    assert bytes(view) == b"xyz"


def test_a_view_is_valid_until_its_slab_is_given_back(pool, reader):
    reference = pool.write(b"abc")
    reader.view(reference)
    pool.give_back(reference)
    with pytest.raises(StaleSlabError):
        reader.view(reference)
    pool.write(b"xyz")
    with pytest.raises(StaleSlabError):
        reader.view(reference)


def test_what_lies_in_the_place_of_a_head_later_is_not_taken_for_one(pool, reader):
    # A small slab in the middle of what becomes one large payload of small numbers.
    small = [pool.write(bytes(1000)) for _ in range(900)]
    for reference in small:
        pool.give_back(reference)
    slab = pool.take(900_000)
    np.frombuffer(slab.data, dtype="<u8")[:] = 1000
    for reference in small:
        with pytest.raises(DecodeError):
            reader.view(reference)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -64},
        {"offset": 0},
        {"offset": 64},
        {"offset": 131},
        {"offset": CAPACITY},
        {"offset": 1 << 63},
        {"length": -1},
        {"length": 2},
        {"length": CAPACITY},
        {"length": 1 << 63},
        {"generation": 0},
        {"generation": -5},
        {"generation": (1 << 64) - 1},
        {"pool": ""},
        {"pool": "p-"},
        {"pool": "p-images.0"},
        {"pool": "q-images.0-3"},
        {"pool": "p-../p-images.0-3"},
        {"pool": "/p-images.0-3"},
        {"pool": "p-images.0-3\0"},
        {"pool": "p-images.0-" + "9" * 300},
        {"pool": "p-images.0-4"},
    ],
    ids=str,
)
def test_a_hostile_reference_is_an_error_and_no_more(pool, reader, change):
    good = pool.write(b"abc")
    with pytest.raises(DecodeError):
        reader.view(good._replace(**change))
    assert bytes(reader.view(good)) == b"abc"


def test_a_pool_that_is_not_there_any_more_makes_its_references_stale(pool, reader):
    reference = pool.write(b"abc")
    pool.close()
    with pytest.raises(StaleSlabError, match="its sender has ended"):
        reader.view(reference)


def test_a_pool_that_was_mapped_is_readable_after_its_sender_has_ended(pool, reader):
    first, second = pool.write(b"first"), pool.write(b"second")
    reader.view(first)
    pool.close()
    assert bytes(reader.view(second)) == b"second"


def test_a_forgotten_pool_is_unmapped_once_its_last_view_is_gone(pool, reader):
    reference = pool.write(b"abc")
    view = reader.view(reference)
    pool.close()
    reader.forget(NAME)
    assert bytes(view) == b"abc"
    assert NAME in maps()
    view.release()
    assert NAME not in maps()
    with pytest.raises(StaleSlabError):
        reader.view(reference)
    reader.forget(NAME)


def test_pools_of_former_lives_are_forgotten_but_for_the_last(tmp_path, reader):
    """Else the memory of each life would be kept for as long as the reader lives."""
    other = SlabPool("p-images.1-2", CAPACITY, 0, tmp_path)
    kept = other.write(b"other")
    assert bytes(reader.view(kept)) == b"other"
    references = []
    for life in range(3, 7):
        pool = SlabPool(f"p-images.0-{life}", CAPACITY, 0, tmp_path)
        references.append(pool.write(b"life"))
        assert bytes(reader.view(references[-1])) == b"life"
        pool.close()
    for gone in references[:2]:
        with pytest.raises(StaleSlabError, match="is gone: its sender has ended"):
            reader.view(gone)
    assert bytes(reader.view(references[2])) == b"life"
    assert bytes(reader.view(kept)) == b"other"
    other.close()
    maps = Path("/proc/self/maps").read_text()
    assert [maps.count(f"p-images.0-{life}") for life in range(3, 7)] == [0, 0, 2, 2]


def test_a_file_that_is_no_pool_is_not_mapped(tmp_path, reader):
    path = tmp_path / NAME
    reference = SlabReference(NAME, 128, 3, 1)
    for content, complaint in [
        (b"", "0 bytes are not whole pages"),
        (bytes(100), "100 bytes are not whole pages"),
        (bytes(4096), "it begins differently"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DecodeError, match=complaint):
            reader.view(reference)


def test_a_pipe_or_a_link_with_the_name_of_a_pool_is_not_opened(tmp_path, pool, reader):
    os.mkfifo(tmp_path / "p-images.0-4")
    (tmp_path / "p-images.0-5").symlink_to(NAME)
    good = pool.write(b"abc")
    with pytest.raises(DecodeError, match="not a plain file"):
        reader.view(good._replace(pool="p-images.0-4"))
    with pytest.raises(DecodeError, match="can't be read"):
        reader.view(good._replace(pool="p-images.0-5"))


@needs_root
def test_a_file_of_another_user_is_not_believed(tmp_path, pool, reader):
    reference = pool.write(b"abc")
    os.chown(tmp_path / NAME, 12345, -1)
    with pytest.raises(DecodeError, match="of this user"):
        reader.view(reference)


def size_of(addresses):
    begin, end = (int(each, 16) for each in addresses.split("-"))
    return end - begin


def maps():
    with open("/proc/self/maps") as file:
        return file.read()
