import contextlib
import fcntl
import os

import pytest

from arroyo.telemetry.console import Console


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_are_written(pipe):
    reading, writing = pipe
    with contextlib.closing(Console(writing)) as console:
        console.write("all ready")
        assert not console.is_terminal
    assert os.read(reading, 100) == b"all ready\n"


def test_a_full_pipe_takes_no_line_and_holds_up_nobody(pipe):
    reading, writing = pipe
    with contextlib.closing(Console(writing)) as console:
        while not console.left_out:
            console.write("x" * 1000)
        console.write("left out too")
        assert console.left_out == 2
        os.read(reading, 1 << 20)
        console.write("back again")
        assert console.left_out == 0
        text = os.read(reading, 1 << 20).decode()
    assert text.endswith("(2 lines left out)\nback again\n")


def test_the_descriptor_of_others_stays_blocking(pipe):
    _, writing = pipe
    with contextlib.closing(Console(writing)):
        assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_reader_that_is_gone_is_no_error():
    reading, writing = os.pipe()
    with contextlib.closing(Console(writing)) as console:
        os.close(reading)
        os.close(writing)
        console.write("to nobody")
        assert console.left_out == 1


def test_a_file_gets_everything_in_its_place(tmp_path):
    with (tmp_path / "out").open("w+b", buffering=0) as file:
        file.write(b"before\n")
        with contextlib.closing(Console(file.fileno())) as console:
            console.write("x" * 20_000)
        file.write(b"after\n")
    assert (tmp_path / "out").read_text() == "before\n" + "x" * 20_000 + "\nafter\n"


def test_raw_bytes_are_written_as_far_as_they_go(pipe):
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    data = b"x" * 10_000
    with contextlib.closing(Console(writing)) as console:
        assert console.is_ready
        assert console.write_some(data) == 4096
        assert not console.is_ready
        assert console.write_some(data) == 0
        os.read(reading, 1 << 20)
        assert console.write_some(b"prompt> ") == 8
    assert os.read(reading, 100) == b"prompt> "
