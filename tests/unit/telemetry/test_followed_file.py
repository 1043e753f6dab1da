import contextlib

import pytest

from arroyo.telemetry.followed_file import LINE_BYTES, FollowedFile

MUCH = 1 << 20


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def follow(path):
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            contextlib.closing(FollowedFile(path, **settings))
        )


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_a_file_that_is_not_there_yet_has_no_lines(follow, path):
    followed = follow()
    assert list(followed.lines(MUCH)) == []
    append(path, "first\n")
    assert list(followed.lines(MUCH)) == [b"first"]


def test_a_line_without_its_end_waits_for_it(follow, path):
    followed = follow()
    append(path, "one\ntw")
    assert list(followed.lines(MUCH)) == [b"one"]
    append(path, "o\nthr")
    assert list(followed.lines(MUCH)) == [b"two"]
    assert list(followed.lines(MUCH, final=True)) == [b"thr"]


def test_what_was_there_before_can_be_left_out(follow, path):
    append(path, "old\n")
    followed = follow(from_end=True)
    append(path, "new\n")
    assert list(followed.lines(MUCH)) == [b"new"]


def test_a_file_that_is_rotated_is_read_to_its_end_and_then_the_next(follow, path):
    followed = follow()
    append(path, "one\n")
    assert list(followed.lines(MUCH)) == [b"one"]
    append(path, "two\n")
    path.rename(path.with_name("log.1"))
    append(path, "three\n")
    assert [*followed.lines(MUCH), *followed.lines(MUCH)] == [b"two", b"three"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(follow, path):
    followed = follow()
    append(path, "a long line\n")
    assert list(followed.lines(MUCH)) == [b"a long line"]
    path.write_text("short\n")
    assert list(followed.lines(MUCH)) == [b"short"]


def test_who_falls_behind_keeps_the_newest_lines_and_counts_the_others(follow, path):
    followed = follow(behind_bytes=100)
    append(path, "begun")
    assert list(followed.lines(MUCH)) == []
    append(path, "x" * 200 + "\nlast\n")
    assert list(followed.lines(MUCH)) == [b"last"]
    assert followed.skipped_bytes == len("begun") + 201
    append(path, "new\n")
    assert list(followed.lines(MUCH)) == [b"new"]


def test_of_one_long_line_the_end_is_kept(follow, path):
    followed = follow(behind_bytes=100)
    append(path, "x" * 200)
    assert list(followed.lines(MUCH, final=True)) == [b"x" * 100]
    assert followed.skipped_bytes == 100


def test_a_line_without_end_comes_in_pieces(follow, path):
    followed = follow()
    append(path, "x" * (2 * LINE_BYTES + 1) + "\n")
    assert [len(line) for line in followed.lines(MUCH)] == [LINE_BYTES, LINE_BYTES, 1]


def test_what_was_put_back_is_read_again(follow, path):
    followed = follow()
    append(path, "prompt> ")
    assert followed.read() == b"prompt> "
    followed.put_back(2)
    assert followed.unread_bytes == 2
    assert followed.read() == b"> "
