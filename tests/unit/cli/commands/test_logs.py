"""`arroyo logs` of a chain that does not run; following one is in the integration tests."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from invoked import run_by

from arroyo.cli.commands.logs import command
from arroyo.telemetry.logs import LogLine


class Chain:
    """One that has run, with the logs that it left."""

    def __init__(self, path, run_directory):
        self.path = path
        self.run_directory = run_directory
        self.now = datetime.now(UTC)

    def write(self, stage, *messages, ago_s=0.0, level="INFO", exception=None):
        time = self.now - timedelta(seconds=ago_s)
        lines = [
            LogLine(time, level, "test", "saxs", stage, 1, each, exception) for each in messages
        ]
        with self.run_directory.log(stage).open("ab") as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


@pytest.fixture
def chain(chain_file, chain_directory, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    return Chain(chain_file, chain_directory)


@pytest.fixture
def run_chain(chain):
    chain.write("work.0", "first", ago_s=50)
    chain.write("images.0", "second", ago_s=40, level="WARNING")
    chain.write("supervisor", "third", ago_s=30, level="ERROR")
    chain.write("work.0", "fourth", ago_s=20)
    return chain


run = run_by(command)


def words(output):
    """Process and text of each line."""
    return [(line.split()[0], line.split()[-1]) for line in output.splitlines()]


ALL = [
    *(("work.0", "first"), ("images.0", "second"), ("supervisor", "third"), ("work.0", "fourth")),
]


def test_logs_of_all_processes_are_merged_in_time(run_chain):
    assert words(run(run_chain.path)) == ALL
    assert words(run("saxs")) == ALL


@pytest.mark.parametrize("wanted", ["work", "work.0", "images", "supervisor"])
def test_one_stage_or_process_is_enough(run_chain, wanted):
    stage = wanted.partition(".")[0]
    assert words(run("saxs", wanted)) == [each for each in ALL if each[0].startswith(stage)]


def test_less_important_and_older_lines_are_left_out(run_chain):
    assert words(run("saxs", "--level", "warning")) == ALL[1:3]
    assert words(run("saxs", "--since", "35")) == ALL[2:]
    assert words(run("saxs", "--since", "1 min", "--level", "ERROR")) == ALL[2:3]
    assert words(run("saxs", "--since", "99999999 d")) == ALL


def test_a_traceback_stands_under_its_line_each_row_with_the_process(chain):
    chain.write("work.0", "it raised\n", exception="Traceback\n  ValueError")
    assert run("saxs").splitlines()[1:] == [
        "work.0        Traceback",
        "work.0          ValueError",
    ]


def test_no_text_of_a_stage_can_steer_the_terminal(chain):
    chain.write("work.0", "a\x1b[2Jb\rc\td\x9be")
    assert run("saxs").endswith("a\\x1b[2Jb\\x0dc\td\\x9be\n")


def test_a_pipe_gets_no_colour(run_chain):
    assert "\x1b" not in run("saxs")


def test_an_unknown_stage_is_answered_with_those_there_are(run_chain):
    assert "did you mean 'images'?" in run("saxs", "image", code=64)
    answer = run("saxs", "xyz", code=64)
    assert answer == (
        "error: chain saxs has no stage or process 'xyz'; there are: images, supervisor, work\n"
    )


def test_an_unknown_chain_is_answered_with_those_there_are(run_chain):
    assert "; there are: saxs" in run("powder", code=64)


def test_a_stage_that_has_left_no_log_yet_has_no_lines(chain):
    chain.write("supervisor", "x")
    assert run("saxs", "work.0") == ""


def test_a_chain_that_has_not_run_says_so(chain):
    assert "it has not run yet" in run("saxs", code=64)


def test_the_logs_can_be_read_though_the_chain_file_is_spoilt_or_gone(run_chain):
    run_chain.path.write_text("no toml")
    assert words(run("saxs")) == ALL
    assert "chain.toml" in run(run_chain.path, code=78)
    run_chain.path.unlink()
    assert words(run("saxs", "work")) == [ALL[0], ALL[3]]


def test_a_time_that_is_none_is_a_sentence(run_chain):
    assert "expected a time such as" in run("saxs", "--since", "yesterday", code=64)
