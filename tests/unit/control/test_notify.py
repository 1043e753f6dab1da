import array
import os
import socket
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arroyo.control.notify import Notifier, NotifySocket, parse_fields


@pytest.fixture
def listener(tmp_path):
    listener = NotifySocket(tmp_path / "notify")
    yield listener
    listener.close()


@pytest.fixture
def speaker(listener):
    return Notifier(str(listener.path))


def send_raw(listener, datagram, ancillary=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as raw:
        raw.sendmsg([datagram], ancillary, 0, str(listener.path))


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_what_a_stage_says_arrives_with_its_pid(listener, speaker):
    speaker.ready("2 inputs")
    speaker.status("run 7\nrunning")
    speaker.stopping()
    pid = os.getpid()
    assert listener.receive() == [
        (pid, {"READY": "1", "STATUS": "2 inputs"}),
        (pid, {"STATUS": "run 7 running"}),
        (pid, {"STOPPING": "1"}),
    ]


def test_what_became_of_parameters_fits_into_a_line(listener, speaker):
    speaker.parameters(3, "")
    speaker.parameters(4, "it is\nnegative" + "!" * 10_000)
    first, second = (fields["X_PARAMETERS"] for _, fields in listener.receive())
    assert first == "3 "
    assert second.startswith("4 it is negative!")


def test_the_pid_is_the_kernels_word_for_it(listener):
    code = "from arroyo.control.notify import Notifier; import os\n\
Notifier.from_environ(os.environ).ready()"
    environ = {**os.environ, "NOTIFY_SOCKET": str(listener.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environ) as child:
        pass
    assert listener.receive() == [(child.pid, {"READY": "1"})]


def test_an_empty_socket_gives_nothing_at_once(listener):
    assert listener.receive() == []


def test_the_socket_is_private_and_its_path_goes_with_it(tmp_path):
    listener = NotifySocket(tmp_path / "notify")
    assert stat.S_IMODE(listener.path.stat().st_mode) == 0o600
    listener.close()
    assert not listener.path.exists()


def test_a_socket_left_by_a_killed_predecessor_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "notify"))
    listener = NotifySocket(tmp_path / "notify")
    Notifier(str(listener.path)).ready()
    assert len(listener.receive()) == 1
    listener.close()


def test_the_environment_is_taken_and_not_left_to_children():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000", "HOME": "/"}
    environ["WATCHDOG_PID"] = str(os.getpid())
    assert Notifier.from_environ(environ).watchdog_interval_s == 5.0
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "vsock:2:3", "WATCHDOG_USEC": "1000000"},
    ],
)
def test_no_watchdog_where_none_is_meant_for_this_process(environ):
    assert Notifier.from_environ(environ).watchdog_interval_s is None


def test_the_watchdog_is_fed_only_where_somebody_waits(listener):
    Notifier(str(listener.path)).watchdog()
    Notifier(str(listener.path), watchdog_interval_s=5.0).watchdog()
    assert listener.receive() == [(os.getpid(), {"WATCHDOG": "1"})]


def test_an_abstract_socket_is_reached():
    name = f"@arroyo-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:])
        Notifier.from_environ({"NOTIFY_SOCKET": name}).ready()
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "/nowhere/notify", "/" + 200 * "x"])
def test_speaking_to_nobody_does_nothing(address):
    before = open_descriptors()
    speaker = Notifier(address, watchdog_interval_s=1.0)
    speaker.ready("here")
    speaker.watchdog()
    speaker.stopping()
    assert open_descriptors() == before


def fill(listener):
    """Send until the kernel takes no more; return how many it took."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as raw:
        raw.setblocking(False)
        for count in range(100_000):
            try:
                raw.sendto(b"X=1", str(listener.path))
            except BlockingIOError:
                return count
    raise AssertionError("the queue never filled")


def drain(listener):
    return [fields for found in iter(listener.receive, []) for _, fields in found]


def test_a_ready_that_found_the_queue_full_is_said_again(listener, speaker):
    fill(listener)
    speaker.ready("first")
    speaker.status("second")
    assert {"X": "1"} in drain(listener)
    speaker.watchdog()
    assert drain(listener) == [{"READY": "1", "STATUS": "second"}]
    speaker.watchdog()
    assert drain(listener) == []


def test_a_stage_that_stops_no_longer_says_that_it_is_ready(listener, speaker):
    fill(listener)
    speaker.ready()
    speaker.stopping()
    drain(listener)
    speaker.watchdog()
    assert drain(listener) == [{"STOPPING": "1"}]


@pytest.mark.parametrize(
    "datagram", [b"", b"\xff\xfe=1", b"READY", b"=1", b"\n\n\0", b"A=" + 10_000 * b"x"]
)
def test_hostile_datagrams_are_left_out_and_the_next_one_is_read(listener, speaker, datagram):
    send_raw(listener, datagram)
    speaker.ready()
    assert listener.receive() == [(os.getpid(), {"READY": "1"})]


def test_descriptors_that_a_sender_passes_along_are_not_kept(listener):
    before = open_descriptors()
    with open(os.devnull) as opened:
        descriptors = array.array("i", 20 * [opened.fileno()])
        send_raw(listener, b"READY=1", [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    assert listener.receive() == [(os.getpid(), {"READY": "1"})]
    assert open_descriptors() == before


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_fields_or_as_nothing(datagram):
    for key, value in parse_fields(datagram).items():
        assert key and f"{key}={value}".encode() in datagram


@given(st.dictionaries(st.from_regex(r"[A-Z_]+", fullmatch=True), st.text("az= \t", max_size=9)))
def test_fields_are_read_back_as_they_were_written(fields):
    datagram = "\n".join(f"{key}={value}" for key, value in fields.items()).encode()
    assert parse_fields(datagram) == fields
