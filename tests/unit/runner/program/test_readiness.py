import contextlib

from arroyo.control.notify import Notifier
from arroyo.runner.program.readiness import (
    LogReadiness,
    NotifyReadiness,
    PortReadiness,
    Readiness,
)


def test_a_program_is_ready_at_once_if_nothing_else_is_said():
    assert Readiness().look()


def test_one_with_a_port_is_ready_when_that_is_listened_on():
    ports = {22}
    readiness = PortReadiness(8081, lambda: ports)
    assert not readiness.look()
    ports.add(8081)
    assert readiness.look()


def test_one_with_a_text_is_ready_when_a_line_has_it(tmp_path):
    output = tmp_path / "ioc.0.out"
    with contextlib.closing(LogReadiness("initialization complete", output)) as readiness:
        assert not readiness.look()
        output.write_text("Starting iocInit\niocRun: All initialization comp")
        assert not readiness.look(), "the line has not ended"
        with output.open("a") as file:
            file.write("lete\n")
        assert readiness.look()


def test_one_that_notifies_is_ready_when_it_says_so(tmp_path):
    with contextlib.closing(NotifyReadiness(tmp_path / "notify")) as readiness:
        program = Notifier.from_environ(dict(readiness.environ))
        program.status("loading")
        assert not readiness.look()
        program.ready()
        assert readiness.look()
    assert not (tmp_path / "notify").exists()
