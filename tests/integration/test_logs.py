"""`arroyo logs -f` beside a chain that runs."""

import os
import pty
import signal
import subprocess

from chains import PROGRAMS, listener, operator, publisher

TWO = (
    listener("count", events=300, every_s=0.001, pause_at=150),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"]),
)


def test_the_logs_of_a_chain_are_followed_until_ctrl_c(make_chain):
    chain = make_chain(*TWO)
    chain.supervise()
    chain.wait_until_ready()
    follower = chain.start("arroyo", "logs", "numbers", "-f")
    follower.wait_for("all ready after")
    for name in ("work.0", "work.1"):
        log = chain.run_directory.log(name)
        os.rename(log, f"{log}.1")  # as if it had been rotated
    chain.open_gate()
    follower.wait_for("chain numbers ended well")
    assert follower.text.count("all ready after") == 1
    chain.supervise().wait()  # a second life of the chain
    follower.wait_for("chain numbers ended well", 2)
    follower.send(signal.SIGINT)
    assert follower.wait() == 130
    shown = [line for line in follower.lines if line]  # click ends the line of ^C
    assert sorted(chain.command("logs", "numbers").splitlines()) == sorted(shown)


def test_a_follower_ends_when_nobody_reads_it_any_more(make_chain):
    chain = make_chain(*TWO)
    chain.supervise()
    chain.wait_until_ready()
    command = [PROGRAMS / "arroyo", "logs", "numbers", "-f"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=chain.environ
    ) as follower:
        assert follower.stdout.readline()
        follower.stdout.close()
        assert follower.wait(60) == 0
        assert follower.stderr.read() == b""


def test_a_terminal_gets_colours(make_chain):
    chain = make_chain(*TWO)
    chain.open_gate()
    chain.supervise().wait()
    chain.environ.pop("NO_COLOR", None)
    reader, writer = pty.openpty()
    with os.fdopen(reader, "rb", buffering=0) as terminal:
        command = [PROGRAMS / "arroyo", "logs", "numbers", "supervisor"]
        subprocess.run(command, stdout=writer, env=chain.environ, check=True)
        os.close(writer)
        assert b"\x1b[3" in terminal.read(1000)
