"""The process that stays with a program: each is one of `arroyo-stage`, and lasts for moments."""

import signal
import socket

import pytest
from chains import is_gone, kill, listener, publisher, wait_until
from outside import free_port

SERVE = "import signal, socket; s = socket.create_server(('127.0.0.1', {port})); signal.pause()"
AS_SHELLS_DO = "trap 'exit {code}' TERM; echo at work; while :; do sleep 0.05; done"
OBEYS_NOT = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"


def program(command, keys=""):
    words = ", ".join(f"'''{word}'''" for word in command)
    return f"[stages.server]\ncommand = [{words}]\n{keys}\n"


@pytest.fixture
def start(make_chain):
    """Start a program as a stage by hand; returns the chain and the process that stays with it."""

    def start(*command, keys=""):
        chain = make_chain(listener("count"), publisher("write", ["count"]), program(command, keys))
        return chain, chain.stage("server")

    return start


def test_a_program_that_ends_with_0_has_finished(start):
    _, server = start("sh", "-c", "echo at work; sleep 0.3")
    assert server.wait() == 0
    assert "at work" in server.text
    assert "server.0: ready" in server.text


def test_it_ends_at_sigterm(start):
    chain, server = start("sleep", "60")
    server.wait_for("server.0: ready")
    row = chain.status()["server.0"]
    assert row["state"] == "READY"
    server.send(signal.SIGTERM)
    assert server.wait() == 0
    assert is_gone(row["program_pid"])


@pytest.mark.parametrize("code", [130, 143])
def test_that_a_program_tells_of_the_signal_is_no_failure(start, code):
    command = AS_SHELLS_DO.format(code=code)
    _, server = start("sh", "-c", command, keys='ready = { log = "at work" }')
    server.wait_for("server.0: ready")
    server.send(signal.SIGTERM)
    assert server.wait() == 0


@pytest.mark.logs_errors("exited with 3 when it was told to end")
def test_but_another_exit_code_is(start):
    command = AS_SHELLS_DO.format(code=3)
    _, server = start("sh", "-c", command, keys='ready = { log = "at work" }')
    server.wait_for("server.0: ready")
    server.send(signal.SIGTERM)
    assert server.wait() == 1


def test_it_is_killed_at_the_second_signal(start):
    chain, server = start("sh", "-c", OBEYS_NOT, keys='ready = { log = "deaf" }')
    server.wait_for("server.0: ready")
    pid = chain.status()["server.0"]["program_pid"]
    server.send(signal.SIGTERM)
    server.wait_for("ending sh")
    server.send(signal.SIGTERM)
    assert server.wait() == 1
    assert is_gone(pid)


def test_one_with_a_port_is_ready_when_it_listens(start):
    port = free_port()
    _, server = start("python3", "-c", SERVE.format(port=port), keys=f"ready = {{ port = {port} }}")
    server.wait_for("server.0: ready")


@pytest.mark.logs_errors("was killed by a signal")
def test_a_death_is_told_with_its_signal(start):
    chain, server = start("sleep", "60")
    server.wait_for("server.0: ready")
    kill(chain.status()["server.0"]["program_pid"])
    assert server.wait() == 1
    assert "sleep was killed by a signal (Killed)" in server.text


@pytest.mark.logs_errors("before it was ready")
def test_one_that_goes_into_the_background_is_told_not_to(start):
    _, server = start("true", keys='ready = { log = "never" }')
    assert server.wait() == 1
    assert "true exited with 0 before it was ready; a stage's program must stay" in server.text


@pytest.mark.logs_errors("there is no program")
def test_one_that_is_not_there_is_a_mistake_of_the_chain_file(start):
    _, server = start("no-such-server")
    assert server.wait() == 78
    assert "stages.server.command: there is no program 'no-such-server'" in server.text


@pytest.mark.logs_errors("is in use by another program")
def test_a_port_that_another_program_has_is_waited_for(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        _, server = start("sleep", "60", keys=f"ready = {{ port = {port} }}")
        assert server.wait() == 75
    assert f"port {port} is in use by another program" in server.text


def test_none_is_left_when_the_process_that_stays_with_it_is_killed(start):
    chain, server = start("sleep", "60")
    server.wait_for("server.0: ready")
    pid = chain.status()["server.0"]["program_pid"]
    server.kill()
    wait_until(lambda: is_gone(pid))
