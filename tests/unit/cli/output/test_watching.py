"""`arroyo status --watch` of a chain that does not run, on a terminal and in a pipe."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chains import wait_until
from click.testing import CliRunner

from arroyo.cli.commands.status import command
from arroyo.cli.output.watching import on_screen

WAITS = "chain saxs: not running; waiting for it"


def start(chain_file, output, *arguments):
    arroyo = Path(sys.executable).parent / "arroyo"
    words = [arroyo, "status", chain_file, "--watch", *arguments]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output)


def test_in_a_file_one_look_follows_the_other_with_its_time(chain_file, tmp_path):
    with (tmp_path / "out").open("wb") as file:
        process = start(chain_file, file, "10 ms")
        try:
            text = (tmp_path / "out").read_text
            wait_until(lambda: text().count(WAITS) >= 3, text)
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
    assert code == 130
    first, second = text().split("\n\n")[:2]
    for look in (first, second):
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\n{WAITS}", look)


def test_on_a_terminal_it_stays_in_place(chain_file):
    ours, its = pty.openpty()
    process = start(chain_file, its, "10 ms")
    os.close(its)
    seen = b""
    try:
        while seen.count(b"\x1b[H") < 3:
            seen += os.read(ours, 4096)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        os.close(ours)
    assert WAITS.encode() in seen
    assert seen.count(b"\x1b[2J") == 1


def test_a_reader_that_goes_away_ends_it(chain_file):
    process = start(chain_file, subprocess.PIPE, "10 ms")
    process.stdout.close()
    assert process.wait(60) == 0


def test_what_does_not_fit_on_the_screen_is_counted():
    text = on_screen(["head", *(f"row {number}" for number in range(9)), "x" * 99], 20, 6)
    rows = text.replace("\x1b[K", "").removeprefix("\x1b[H").removesuffix("\x1b[J").splitlines()
    assert rows == ["head", "row 0", "row 1", "row 2", "(7 lines more; the t"]


def test_all_is_shown_where_it_fits():
    assert on_screen(["one", "two"], 20, 6) == "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--watch=often"], "found 'often', expected a time such as"),
        (["--watch=0"], "expected a time longer than 0 s"),
        (["--watch", "--json"], "found --json with --watch"),
        (["--watch", "--history", "work"], "found --watch with --history"),
    ],
)
def test_what_can_not_be_is_said(chain_file, arguments, words):
    result = CliRunner().invoke(command, [str(chain_file), *arguments])
    assert result.exit_code == 64
    assert words in result.output


def test_a_chain_that_was_taken_for_a_time_is_told_where_it_belongs():
    result = CliRunner().invoke(command, ["--watch", "saxs", "saxs"])
    assert result.exit_code == 64
    assert "CHAIN stands before --watch" in result.output
