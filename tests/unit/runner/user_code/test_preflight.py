"""What `arroyo check` finds in connectors: folders, ports and libraries that are not there."""

import os
import socket
import sys

import h5py
import pytest

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.runner.user_code.checking import check_chain, check_in_child

CHAIN = """
[chain]
name = "checked"

[stages.frames]
listener = "arroyo.connectors:SyntheticListener"
"""


@pytest.fixture(autouse=True)
def run_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("ARROYO_RUN_DIR", str(tmp_path / "run"))
    return RunDirectory.locate("checked", os.environ)


@pytest.fixture
def check(tmp_path):
    """Check a chain with more tables; return what was found, without the file's name."""

    def check(*tables, base=CHAIN, look=check_in_child):
        path = tmp_path / "chain.toml"
        path.write_text("\n".join((base, *tables)))
        return [problem.split(": ", 1)[1] for problem in look(path)]

    return check


def publisher(name, target, options, keys=""):
    return f"""
        [stages.{name}]
        publisher = "{target}"
        inputs = ["frames"]
        options = {{ {options} }}
        {keys}
        """


def kept(path):
    return publisher("kept", "arroyo.connectors:HDF5Publisher", f'path = "{path}"')


def live(port, name="live", *, options="", keys=""):
    return publisher(
        name, "arroyo.connectors:ZMQPubSubPublisher", f"port = {port}, {options}".strip(", "), keys
    )


def watched(options, base="[chain]\nname = 'checked'\n"):
    return (
        f"{base}[stages.files]\nlistener = 'arroyo.connectors:DirectoryListener'\n"
        f"options = {{ {options} }}\n"
    )


@pytest.fixture
def used_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_connectors_that_can_start_are_no_problem(check, tmp_path):
    (tmp_path / "data").mkdir()
    assert check(kept("data/{run}.h5"), live(0), live(0, "other")) == []
    assert check(base=watched('directory = "data"')) == []
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_for_files_that_does_not_exist_is_found(check, tmp_path):
    (found,) = check(kept("no/such/out.h5"))
    folder = tmp_path / "no" / "such"
    assert found == (
        f"stages.kept.options.path: the folder {folder} does not exist; make it, or change path"
    )


def test_a_directory_to_watch_that_does_not_exist_is_found(check, tmp_path):
    (found,) = check(base=watched('directory = "images"'))
    assert found.startswith(
        f"stages.files.options.directory: the directory {tmp_path / 'images'} can't be listed: "
    )


def test_a_pixel_file_that_does_not_exist_is_found(check, tmp_path):
    (found,) = check(
        """
        [stages.average]
        operator = "arroyo.operators.azimuthal_average:AzimuthalAverage"
        inputs = ["frames"]
        options = { path = "pixels.h5", q = "q" }
        """
    )
    assert found.startswith("stages.average.options.path: ")
    assert "pixels.h5" in found


def test_a_port_that_another_program_uses_is_found(check, used_port):
    (found,) = check(live(used_port))
    assert found.startswith(
        f"stages.live.options: tcp://127.0.0.1:{used_port} can't be bound: another program has it"
    )


def test_a_port_that_this_stage_uses_already_is_no_problem(check, used_port, run_directory):
    run_directory.create()
    lock = Lock.acquire(run_directory.lock("live.0"))
    try:
        assert check(live(used_port)) == []
    finally:
        lock.release()


def test_a_port_to_connect_to_may_be_used(check, used_port):
    assert check(live(used_port, options="bind = false")) == []


def test_a_port_out_of_range_is_found(check):
    (found,) = check(live(70_000))
    assert found.startswith("stages.live.options.port: ")
    assert "port 70000 in 'tcp://127.0.0.1:70000' is beyond 65535" in found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("port = 70_000", "port is 70000; expected a number from 1 to 65535"),
        ("port = 0", "port is 0"),
        ('url = "redis://host:70000/0"', "url has no valid host and port"),
        ('url = "redis://host:0/0"', "port is 0"),
    ],
)
def test_a_port_of_a_server_out_of_range_is_found(check, options, words):
    pytest.importorskip("redis", reason="redis is not installed: pip install 'arroyo[redis]'")
    options = f'channel = "a", {options}'
    (found,) = check(publisher("out", "arroyo.connectors:RedisPublisher", options))
    assert words in found


def test_an_address_of_no_network_of_this_machine_is_found(check):
    (found,) = check(live(5555, options='host = "203.0.113.9"'))
    assert "tcp://203.0.113.9:5555 can't be bound: this machine has no such network" in found


def test_a_path_for_a_socket_in_a_folder_that_does_not_exist_is_found(check, tmp_path):
    address = f'address = "ipc://{tmp_path}/no/socket"'
    (found,) = check(publisher("live", "arroyo.connectors:ZMQPublisher", address))
    assert "can't be bound: the folder does not exist" in found


def test_two_stages_with_one_port_are_found(check):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (found,) = check(live(port), live(port, "other"))
    assert found == (
        f"stages.other.options: tcp://127.0.0.1:{port} is the address of stages.live as well; "
        "give each stage its own"
    )


def test_replicas_with_one_port_are_found(check):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (found,) = check(live(port, keys="replicas = 2"))
    assert "stages.live.replicas" in found
    assert f"2 replicas can't all bind tcp://127.0.0.1:{port}" in found


@pytest.mark.parametrize(
    ("library", "table", "extra"),
    [
        ("h5py", kept("out.h5"), "arroyo[hdf5]"),
        ("redis", publisher("out", "arroyo.connectors:RedisPublisher", 'channel = "a"'), "[redis]"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    check, monkeypatch, library, table, extra
):
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.startswith("arroyo.connectors.redis")]:
        monkeypatch.delitem(sys.modules, name)
    (found,) = check(table, look=lambda path: check_chain(path, os.environ))
    assert library in found
    assert extra in found


def test_the_library_for_images_is_missed_where_images_are_read(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    base = watched('directory = ".", pattern = "*.tif", read = "array"')
    (found,) = check(base=base, look=lambda path: check_chain(path, os.environ))
    assert 'pip install "arroyo[images]"' in found


def test_options_that_the_connector_refuses_are_found(check):
    (found,) = check(kept("{ruhn}.h5"))
    assert found.startswith("stages.kept.options.path: path is '{ruhn}.h5'")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("events = 3, rate_hz = -3", "rate_hz: rate_hz is -3; expected events per second"),
        ("events = 3, shape = [2, -3]", "shape: shape is [2, -3]; expected lengths of 0 or more"),
        ("runs = 3, events = -3", "events: events is -3; expected 0 or more"),
        ("events = 3, runs = -3", "runs: runs is -3; expected 0 or more"),
        ("events = 3, size_bytes = -3", "size_bytes: size_bytes is -3; expected 0 or more"),
        ("events = 3, seed = '${NOPE}'", "seed: the environment has no variable NOPE"),
        ("events = -3, seed = '${NOPE}'", "seed: the environment has no variable NOPE"),
    ],
)
def test_the_option_that_is_wrong_is_the_one_that_is_named(check, options, found):
    (problem,) = check(base=f"{CHAIN}options = {{ {options} }}\n")
    assert problem.startswith(f"stages.frames.options.{found}")


def test_a_file_that_holds_an_earlier_run_is_no_problem(check, tmp_path):
    h5py.File(tmp_path / "out.h5", "w").close()
    assert check(kept("out.h5")) == []


def test_own_classes_are_not_constructed(check, tmp_path):
    (tmp_path / "own.py").write_text(
        "from arroyo.connectors import HDF5Publisher\n"
        "class Own(HDF5Publisher):\n"
        "    def __init__(self):\n"
        "        raise AssertionError\n"
    )
    assert check(publisher("kept", "own:Own", "")) == []
