"""The container of deploy/container: what its files name is there, and its chain runs as process 1.

No image is built here, which would take a network and a daemon; the chain runs in a namespace of
processes of its own, as in a container, with the environment that the Containerfile sets.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from chains import wait_until
from outside import free_port

from arroyo.config.quantities import parse_duration, parse_size
from arroyo.config.reader import load_chain
from arroyo.runner.user_code.checking import check_chain
from arroyo.shared_memory.payloads import SPARE_WINDOWS

TOP = Path(__file__).parents[2]
FOLDER = TOP / "deploy" / "container"
LINES = (FOLDER / "Containerfile").read_text().replace("\\\n", " ").splitlines()
SERVICE = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["powder"]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
CHAIN = FOLDER / "chain" / "chain.toml"
DEADLINE_S = 90.0


def values(instruction):
    """What stands behind an instruction of the Containerfile, line by line."""
    found = (line.partition(" ") for line in LINES)
    return [rest.strip() for word, _, rest in found if word == instruction]


def test_what_is_copied_into_the_image_is_there():
    copied = [value for value in values("COPY") if not value.startswith("--from=build")]
    sources = [source for value in copied for source in value.split()[:-1]]
    assert sources
    assert [source for source in sources if not (TOP / source).exists()] == []
    assert Path(PROJECT["license-files"][0]).parts[0] in sources


def test_the_image_has_what_the_package_offers():
    (extras,) = (value.partition("=")[2] for value in values("ARG") if "EXTRAS" in value)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert values("ENTRYPOINT") == ['["arroyo-supervise"]']
    assert "arroyo-supervise" in PROJECT["scripts"]
    (python,) = (value.partition("=")[2] for value in values("ARG") if "PYTHON" in value)
    least = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, least.split(".")))


def test_both_files_have_the_same_folders_and_the_same_user():
    (made,) = (value for value in values("RUN") if "useradd" in value)
    uid = re.search(r"--uid (\d+)", made)[1]
    (environ,) = values("ENV")
    run, state = (re.search(rf"ARROYO_{name}_DIR=(\S+)", environ)[1] for name in ("RUN", "STATE"))
    assert {run, state} <= set(made.split())
    assert f"{run}:uid={uid},mode=0700" in SERVICE["tmpfs"]
    mounted = dict(reversed(volume.split(":")) for volume in SERVICE["volumes"])
    assert mounted[values("WORKDIR")[0]] == "./chain"
    assert state in mounted
    build = SERVICE["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).samefile(FOLDER / "Containerfile")


def test_limits_and_ports_suit_the_chain():
    chain = load_chain(CHAIN)
    grace_s = parse_duration(SERVICE["stop_grace_period"].replace("s", " s"))
    assert grace_s >= chain.supervision.stop_timeout_s + 15
    senders = sum(len(each.names) for each in chain.stages.values() if each.role != "publisher")
    window_bytes = max(stage.window_bytes for stage in chain.stages.values())
    shared = SERVICE["shm_size"].replace("gb", " GiB")
    assert parse_size(shared) >= SPARE_WINDOWS * window_bytes * senders
    inner = {port.rpartition(":")[2] for port in SERVICE["ports"]}
    assert {chain.supervision.http.rpartition(":")[2], "5556"} == inner
    assert (
        f":{chain.supervision.http.rpartition(':')[2]}/health" in SERVICE["healthcheck"]["test"][3]
    )


@pytest.fixture
def chain(tmp_path):
    """The chain of the container, with ports of its own."""
    shutil.copytree(CHAIN.parent, tmp_path / "chain")
    path = tmp_path / "chain" / "chain.toml"
    text = path.read_text().replace("0.0.0.0:9464", f"127.0.0.1:{free_port()}")
    path.write_text(text.replace('"0.0.0.0", port = 5556', f'"127.0.0.1", port = {free_port()}'))
    (tmp_path / "chain" / "images").mkdir()
    with h5py.File(tmp_path / "chain" / "detector.h5", "w") as file:
        file["q"] = np.linspace(0.1, 1.0, 100).reshape(10, 10)
    return path


def test_the_chain_has_no_mistakes(chain):
    assert check_chain(chain) == []


def test_nor_has_that_of_the_example_units(chain):
    shutil.copy(TOP / "deploy" / "systemd" / "chain.toml", chain)
    assert check_chain(chain) == []


def namespace(*command):
    """A command as process 1 of a namespace of its own."""
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *map(str, command)]


def can_make_namespaces():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(namespace("true"), capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_make_namespaces(),
    reason="run as root with the program unshare: it makes a namespace of processes",
)


@contextlib.contextmanager
def process_1(chain, output):
    """Supervise a chain as process 1; yields the program outside, which ends with it."""
    supervise = Path(sys.executable).parent / "arroyo-supervise"
    environ = {"PATH": os.environ["PATH"], "HOME": str(output.parent)}
    environ |= {f"ARROYO_{name}_DIR": str(output.parent / name) for name in ("RUN", "STATE")}
    with output.open("w") as file:
        outer = subprocess.Popen(
            namespace(supervise, chain.name), cwd=chain.parent, env=environ, stdout=file
        )
    try:
        yield outer
    finally:
        outer.kill()
        outer.wait()


def stop(outer):
    """What the container's engine does to end process 1."""
    (inner,) = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
    os.kill(inner, getattr(signal, values("STOPSIGNAL")[0]))


@needs_namespaces
def test_as_process_1_it_is_healthy_and_drains_when_it_is_told_to_end(chain, tmp_path):
    output = tmp_path / "output"
    with process_1(chain, output) as outer:
        port = load_chain(chain).supervision.http.rpartition(":")[2]
        program, *arguments = SERVICE["healthcheck"]["test"][1:]
        assert program == "python"
        check = [sys.executable, *(each.replace("9464", port) for each in arguments)]
        assert outer.poll() is None, output.read_text()
        wait_until(
            lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0,
            output.read_text,
        )
        stop(outer)
        assert outer.wait(DEADLINE_S) == 0, output.read_text()


@needs_namespaces
def test_as_process_1_it_ends_when_it_is_told_to_while_modules_are_imported(tmp_path):
    begun = tmp_path / "begun"
    (tmp_path / "slow.py").write_text(f"import time; open({str(begun)!r}, 'w'); time.sleep(600)")
    chain = tmp_path / "slow.toml"
    chain.write_text("""
        [chain]
        name = "slow"
        [stages.images]
        listener = "slow:Images"
        [stages.patterns]
        publisher = "slow:Patterns"
        inputs = ["images"]
    """)
    with process_1(chain, tmp_path / "output") as outer:
        wait_until(begun.exists, (tmp_path / "output").read_text)
        stop(outer)
        assert outer.wait(20) == 128 + signal.SIGTERM
