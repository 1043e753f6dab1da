"""What is forked from a fork server: small functions of a module that `conftest` writes."""

import json
import os
import select
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from chains import wait_until
from forked_stages import end_of, is_forked, start

from arroyo.supervision.watching.child import SAFE_PATH_MARK
from arroyo.supervision.watching.fork_server_main import _serve
from arroyo.supervision.watching.processes import Exit


def told(tmp_path, replica=0):
    return json.loads((tmp_path / f"told-work.{replica}").read_text())


def test_a_forked_stage_is_what_a_spawned_one_would_be(make, tmp_path):
    spawner = make("tell", chain_env={"A": "chain", "B": "chain"}, env={"B": "stage"})
    os.environ["ONLY_NOW"] = "set after the server began"
    try:
        assert end_of(start(spawner)) == Exit(3)
    finally:
        del os.environ["ONLY_NOW"]
    found = told(tmp_path)
    assert found["words"] == [str(tmp_path / "c.toml"), "work.0", *spawner._folders]
    environ = found["environ"]
    assert (environ["A"], environ["B"]) == ("chain", "stage")
    assert environ["ONLY_NOW"] == "set after the server began"
    assert environ["PYTHONSAFEPATH"] == SAFE_PATH_MARK
    assert found["blocked"] == [signal.SIGINT]  # until it has left the session
    assert found["supervisor lives"]
    assert found["descriptors"] <= 5  # the three of all, the lifeline, and the list itself
    assert found["dot"] == 300_000


def test_stages_draw_different_random_numbers(make, tmp_path):
    spawner = make("tell")
    for replica in range(3):
        assert end_of(start(spawner, replica)) == Exit(3)
    drawn = [number for replica in range(3) for number in told(tmp_path, replica)["random"]]
    assert len(set(drawn)) == 6


def test_what_is_no_text_in_the_environment_reaches_a_stage(make, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environb, b"SITE", b"Li\xe8ge")
    assert end_of(start(make("tell"))) == Exit(3)
    assert os.fsencode(told(tmp_path)["environ"]["SITE"]) == b"Li\xe8ge"


def test_how_a_forked_stage_has_ended_is_known(make, capfd):
    assert end_of(start(make("abort"))).status == -signal.SIGABRT
    assert end_of(start(make("fail"))) == Exit(1)
    assert "ValueError: no" in capfd.readouterr().err
    killed = start(make("wait"))
    killed.send(signal.SIGKILL)
    assert end_of(killed) == Exit(-signal.SIGKILL)


def test_the_command_of_a_forked_stage_ends_as_that_of_a_spawned_one(make, tmp_path):
    process = start(make("wait"))
    paths = str(tmp_path / "c.toml"), "work.0", str(tmp_path), str(tmp_path / "state")
    wait_until(lambda: is_forked(process), "it shows what it is")
    assert tuple(psutil.Process(process.pid).cmdline()[-5:-1]) == paths
    process.send(signal.SIGKILL)
    end_of(process)


def test_the_server_has_one_thread_once_it_has_forked_and_no_users_code(make, tmp_path):
    spawner = make("wait")
    process = start(spawner)
    assert len(os.listdir(f"/proc/{spawner._server.pid}/task")) == 1
    assert "forked_for_a_test" not in Path(f"/proc/{spawner._server.pid}/maps").read_text()
    process.send(signal.SIGKILL)
    end_of(process)


def test_a_server_whose_supervisor_has_gone_without_having_listened_ends_without_a_word():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(_serve, theirs)
        assert select.select([ours], [], [], 60)[0]  # it has said that it is ready
        ours.close()
        assert serving.result(60) is None
    theirs.close()
