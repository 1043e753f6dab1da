"""`arroyo top` where there is no screen to show; the screen is in `terminal/test_app`."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from chains import wait_until
from click.testing import CliRunner

from arroyo.cli.commands.top import Logs, TopChain, command
from arroyo.cli.output.log_lines import WantedLogs
from arroyo.config.run_directory import RunDirectory
from arroyo.errors import UnavailableError
from arroyo.telemetry.logs import LogLine


def test_without_a_terminal_it_is_told_what_to_use(chain_file):
    result = CliRunner().invoke(command, [str(chain_file)])
    assert result.exit_code == 64
    assert f"without one: arroyo status {chain_file} --watch" in result.output


def test_without_textual_it_is_told_what_to_install(chain_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual.app", None)
    for name in (
        "arroyo.cli.terminal.app",
        "arroyo.cli.terminal.screens",
        "arroyo.cli.terminal.table",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    result = CliRunner().invoke(command, [str(chain_file)])
    assert result.exit_code == 78
    assert 'which is not installed: pip install "arroyo[tui]"' in result.output


@pytest.fixture
def on_terminal():
    """Start `arroyo top` on a terminal of its own; close that to end it."""
    ours, its = pty.openpty()
    started = []

    def start(*arguments):
        arroyo = Path(sys.executable).parent / "arroyo"
        words = [arroyo, "top", *arguments]
        environ = {**os.environ, "TERM": "xterm-256color"}
        started.append(
            subprocess.Popen(
                words, stdin=its, stdout=its, stderr=its, env=environ, start_new_session=True
            )
        )
        return ours, started[-1]

    yield start
    os.close(its)
    os.close(ours)
    for process in started:
        process.kill()
        process.wait()


def test_a_mistake_is_said_before_the_screen_is_taken(on_terminal, tmp_path):
    ours, process = on_terminal(tmp_path / "chian.toml")
    assert process.wait(60) == 64
    said = os.read(ours, 4096).decode()
    assert said.startswith("error: there is no chain file")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "end",
    [
        lambda terminal, _: os.write(terminal, b"\x03"),
        lambda _, process: process.send_signal(signal.SIGTERM),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_chain_that_does_not_run_is_waited_for_and_the_terminal_left_as_it_was(
    on_terminal, chain_file, end
):
    ours, process = on_terminal(chain_file)
    seen = b""
    while b"not running; waiting for it" not in seen:
        seen += os.read(ours, 4096)
    os.set_blocking(ours, False)
    end(ours, process)
    seen = b""

    def has_ended():
        nonlocal seen
        seen += read_all(ours)
        return process.poll() is not None

    wait_until(has_ended)
    assert process.returncode == 0
    assert b"\x1b[?1049l" in seen + read_all(ours)


def read_all(terminal):
    """Read what is there, so that its writer can go on."""
    read = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(terminal, 65536):
            read += more
    return read


def test_its_keys_ask_the_chain(chain_file):
    top = TopChain(str(chain_file))
    assert not top.look().runs
    assert top.history("work") == "work.0 is not running, and left no history\n"
    for order in (top.restart, top.stop, top.start, lambda name: top.scale(name, 1)):
        with pytest.raises(UnavailableError, match="chain saxs does not run"):
            order("work")


def test_its_orders_are_given_and_what_follows_is_said(played):
    top = TopChain("chain")
    assert top.stop("integrate") == "stopping integrate.0"
    assert top.start("integrate") == "starting integrate.0"
    assert top.start("integrate") == "nothing of integrate is stopped or has FAILED"
    assert top.scale("integrate", 1) == "integrate: integrate.0"


def test_logs_of_the_last_hour_are_read_in_order_and_then_what_is_new(chain_file):
    directory = RunDirectory.locate("saxs", os.environ)
    directory.create()
    now = datetime.now(UTC)

    def write(name, text, ago_s):
        line = LogLine(now - timedelta(seconds=ago_s), "INFO", "arroyo", "saxs", name, 1, text)
        with directory.log(name).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    write("work.0", "long ago", 7200)
    write("work.0", "ready", 20)
    write("images.0", "another stage", 15)
    write("work.1", "ready too", 10)
    logs = Logs(WantedLogs(str(chain_file), "work"))
    first = logs.read()
    write("work.0", "took one", 5)
    more = logs.read() + logs.read()
    logs.close()
    assert [line.rpartition("  ")[2] for line in first.splitlines()] == ["ready", "ready too"]
    assert [line.rpartition("  ")[2] for line in more.splitlines()] == ["took one"]
