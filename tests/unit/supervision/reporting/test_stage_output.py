import contextlib

import pytest
from log_lines import log_line

from arroyo.supervision.reporting.stage_output import ERROR_HOLDS_S, LOOK_BYTES, StageOutput
from arroyo.telemetry.output import output_file


@pytest.fixture
def log(tmp_path):
    return tmp_path / "work.0.jsonl"


@pytest.fixture
def output(log):
    log.write_text("")
    output_file(log).write_text("of an earlier process\n")
    with contextlib.closing(StageOutput(log)) as made:
        yield made


def write(log, level, message):
    with log.open("ab") as file:
        file.write(log_line(level, message))


def test_printed_lines_and_warnings_are_new_once(output, log):
    with output_file(log).open("a") as file:
        file.write("printed\nhalf a li")
    write(log, "INFO", "of no interest")
    write(log, "WARNING", "beware")
    assert output.new_lines(0.0) == ["printed", "WARNING beware"]
    assert output.new_lines(0.0) == []


def test_an_error_is_held_back_because_it_may_be_why_the_process_ends(output, log):
    write(log, "ERROR", "the disk is on fire")
    assert output.new_lines(10.0) == []
    assert output.new_lines(10.0 + ERROR_HOLDS_S) == ["ERROR the disk is on fire"]


def test_the_reason_of_an_end_is_not_told_twice(output, log):
    write(log, "ERROR", "first")
    write(log, "ERROR", "last")
    output_file(log).open("a").close()
    assert output.new_lines(10.0) == []
    assert output.last_lines("last") == ["ERROR first"]


def test_output_that_comes_too_fast_is_left_out_and_counted(output, log):
    with output_file(log).open("a") as file:
        for _ in range(40):
            file.write("x" * (LOOK_BYTES - 1) + "\n")
    lines = output.new_lines(0.0)
    assert any(line.endswith("bytes of output left out)") for line in lines)
