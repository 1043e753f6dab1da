"""A link between two hosts that is cut: two network namespaces play the hosts."""

import contextlib
import os
import shutil
import subprocess

import pytest
from chains import PROGRAMS, Program, wait_until
from fault.faults import wait

HOSTS = {"source": "10.231.0.1", "work": "10.231.0.1", "kept": "10.231.0.2"}
PORTS = {"source": 5000, "work": 5010, "kept": 5000}
SILENCE_S = 7.0
"""Longer than it takes to miss a peer that says nothing (6 s)."""


class TwoHosts:
    """Two network namespaces with one cable between them."""

    def __init__(self):
        mark = os.getpid()
        self.names = {HOSTS["source"]: f"arroyo{mark}a", HOSTS["kept"]: f"arroyo{mark}b"}

    def connect(self):
        first, second = self.names.values()
        for name in self.names.values():
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", first, "type", "veth",
           "peer", "name", "cable", "netns", second)  # fmt: skip
        for address, name in self.names.items():
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "cable", "up")

    @contextlib.contextmanager
    def cut(self):
        name = self.names[HOSTS["source"]]
        ip("-n", name, "link", "set", "cable", "down")
        try:
            yield
        finally:
            ip("-n", name, "link", "set", "cable", "up")

    def start(self, chain, stage):
        """Start a stage by hand on its host."""
        host = self.names[HOSTS[stage]]
        command = [shutil.which("ip"), "netns", "exec", host, PROGRAMS / "arroyo-stage"]
        program = Program([*command, chain.path, stage], chain.folder, chain.environ)
        chain.programs.append(program)
        return program

    def remove(self):
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(
            f"run where network namespaces can be made (CAP_NET_ADMIN): {done.stderr.strip()}"
        )


@pytest.fixture
def hosts():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip(
            "run as root with the program ip (package iproute2): it makes network namespaces"
        )
    two = TwoHosts()
    try:
        two.connect()
        yield two
    finally:
        two.remove()


@pytest.fixture
def spread(make_campaign):
    """A chain of three stages whose sink is on another host."""
    campaign = make_campaign("line", 1, rate_hz=1000.0)
    text = campaign.chain.path.read_text()
    for stage, host in HOSTS.items():
        table = f"[stages.{stage}]\n"
        listen = f'listen = "tcp://{host}:{PORTS[stage]}"\n'
        text = text.replace(table, table + listen)
    campaign.chain.path.write_text(text)
    return campaign


def finish(campaign, programs):
    (campaign.chain.folder / "enough").touch()
    codes = {name: program.wait(60) for name, program in programs.items()}
    assert codes == dict.fromkeys(codes, 0), campaign.chain.text()
    verdict = campaign.judge()
    assert not verdict.broken, "\n".join(verdict.broken)


def test_a_cut_link_loses_nothing(spread, hosts, wait_for_account):
    programs = {name: hosts.start(spread.chain, name) for name in HOSTS}
    wait_for_account(spread, "kept", 200)
    with hosts.cut():
        wait(SILENCE_S)
    before = spread.chain.count("kept.published")
    wait_for_account(spread, "kept", before + 500)
    finish(spread, programs)


def test_a_sink_that_dies_unseen_behind_a_cut_link_loses_nothing(spread, hosts, wait_for_account):
    programs = {name: hosts.start(spread.chain, name) for name in HOSTS}
    wait_for_account(spread, "kept", 200)
    with hosts.cut():
        programs["kept"].kill()
        programs["kept"] = hosts.start(spread.chain, "kept")
        wait_until(lambda: "kept.0" in spread.chain.pids(), spread.chain.text)
        wait(0.5)
    before = spread.chain.count("kept.published")
    wait_for_account(spread, "kept", before + 500)
    finish(spread, programs)
