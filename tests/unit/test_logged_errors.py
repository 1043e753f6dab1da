import pytest
from logged_errors import errors_in, unexpected

ERRORS = ["work.0: ValueError: no beam", "write.0: the disk is gone"]


class Node:
    """A test with these marks."""

    def __init__(self, *marks):
        self.marks = marks

    def iter_markers(self, name):
        return [mark for mark in self.marks if mark.name == name]


def mark(*words):
    return pytest.mark.logs_errors(*words).mark


def test_without_a_mark_no_error_is_expected():
    assert unexpected(Node(), ERRORS) == ERRORS


def test_a_mark_expects_the_errors_with_its_words_and_no_others():
    assert unexpected(Node(mark("no b.am")), ERRORS) == ERRORS[1:]
    assert unexpected(Node(mark("no beam"), mark("disk")), ERRORS) == []


def test_errors_of_rotated_logs_are_found_and_torn_lines_left_out(tmp_path):
    line = '{"level":"ERROR","stage":"work.0","message":"no beam"}\n'
    (tmp_path / "work.0.jsonl.1").write_text(line)
    (tmp_path / "work.0.jsonl").write_text(line.replace("ERROR", "INFO") + '{"level":"ERR')
    assert errors_in(tmp_path) == ["work.0: no beam"]
