import os
import stat

import msgspec
import pytest
from small_disk import small_files

from arroyo.durable.frames import unpack_file
from arroyo.durable.recording import RECORDING, RecordedMessage, Recording, RecordingHead

HEAD = RecordingHead("powder", "integrate", 1.5)
MESSAGES = [
    RecordedMessage(2.0, "integrate.0", b"header", b"message"),
    RecordedMessage(3.0, "integrate.1", b"", b""),
]


def read(path):
    head, *messages = unpack_file(path.read_bytes(), RECORDING, path).bodies
    return (
        msgspec.msgpack.decode(head, type=RecordingHead),
        [msgspec.msgpack.decode(each, type=RecordedMessage) for each in messages],
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.rec"


def test_a_recording_holds_its_head_and_the_messages_in_order(path):
    recording = Recording(path, HEAD)
    for message in MESSAGES:
        recording.append(message)
    recording.close()
    assert read(path) == (HEAD, MESSAGES)


def test_the_death_of_the_writer_within_a_message_costs_that_one_only(path):
    recording = Recording(path, HEAD)
    for message in MESSAGES:
        recording.append(message)
    recording.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert read(path) == (HEAD, MESSAGES[:1])


def test_it_is_private_and_replaces_nothing(path):
    Recording(path, HEAD).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        Recording(path, HEAD)


def test_one_that_can_not_be_begun_is_not_there(path):
    before = len(os.listdir("/proc/self/fd"))
    with small_files(10), pytest.raises(OSError, match=r"File too large: .*run.rec"):
        Recording(path, HEAD)
    assert not path.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_message_that_does_not_fit_is_an_error_of_the_file(path):
    recording = Recording(path, HEAD)
    with small_files(path.stat().st_size + 10), pytest.raises(OSError, match=r"run.rec"):
        recording.append(MESSAGES[0])
    recording.close()
    assert read(path) == (HEAD, [])
