"""The first chain of a new user, in whose shells nothing at all is set.

Neither HOME nor PATH, no XDG directory, no language; the programs are named by their whole paths.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from accounts import DEADLINE_S, ORDINARY, Account
from chains import wait_until

ROOT = 0
NAME = f"first-{os.getpid()}"
EVENTS = 30
STAGES = f"""
import threading

import numpy as np

from arroyo import Event, Listener, Operator, Publisher


class Images(Listener):
    def __init__(self, operator):
        super().__init__(operator)
        self.stopped = threading.Event()

    def start(self):
        for index in range({EVENTS}):
            self.operator.process(Event.from_array(np.full((64, 512), index), index=index))
        self.stopped.wait()

    def stop(self):
        self.stopped.set()


class Sums(Operator):
    kept = ()

    def process(self, message):
        if isinstance(message, Event):
            self.kept = (*self.kept, message.array)
            print("Übersicht:", [int(each[0, 0]) for each in self.kept])
        return message


class Write(Publisher):
    def publish(self, message):
        if isinstance(message, Event):
            with open("sums", "a") as file:
                print(message.array.sum(), file=file)
"""
CHAIN = f"""
[chain]
name = "{NAME}"
[stages.images]
listener = "first_stages:Images"
[stages.sums]
operator = "first_stages:Sums"
inputs = ["images"]
[stages.write]
publisher = "first_stages:Write"
inputs = ["sums"]
"""


class Newcomer(Account):
    """An account without any environment, whose home is in the user database."""

    def __init__(self, *account):
        super().__init__(*account)
        self.environ = {}
        self.users = self.write("users", f"newcomer:x:{self.uid}:{self.uid}::{self.home}:/bin/sh\n")

    def command(self, program, *arguments):
        words = super().command(program, *arguments)
        if self.uid == ROOT:  # whose home is nowhere looked for
            return words
        bound = 'mount --bind "$0" /etc/passwd && exec env -i "$@"'
        return ["unshare", "--mount", "sh", "-c", bound, self.users, *words]


@pytest.fixture(params=[ROOT, ORDINARY], ids=["root", "ordinary"])
def newcomer(request, account):
    made = account(request.param, Newcomer)
    in_own_mounts = ["unshare", "--mount", "true"]
    if made.uid and subprocess.run(in_own_mounts, capture_output=True, check=False).returncode:
        pytest.skip("run as root with the program unshare: it gives the user database a home")
    made.write("chain/first_stages.py", STAGES)
    made.write("chain/chain.toml", CHAIN)
    yield made
    for place in made.places(NAME):
        shutil.rmtree(place, ignore_errors=True)


def test_a_first_chain_works_and_a_second_shell_finds_it(newcomer):
    file, sums = newcomer.home / "chain/chain.toml", newcomer.home / "chain/sums"
    supervisor = newcomer.start("arroyo-supervise", "chain/chain.toml")
    wait_until(lambda: sums.exists() and sums.read_text().count("\n") == EVENTS)
    assert Path(f"/proc/{supervisor.pid}/environ").read_bytes() == b""
    assert sums.read_text().split() == [str(64 * 512 * index) for index in range(EVENTS)]
    assert [place.stat().st_uid for place in newcomer.places(NAME)] == [newcomer.uid] * 2

    chains = json.loads(newcomer.run("arroyo", "ps", "--json"))
    (listed,) = [row for row in chains if row["chain"] == NAME]
    assert (listed["pid"], listed["state"], listed["file"]) == (supervisor.pid, "READY", str(file))
    for chain in (NAME, "chain/chain.toml", file):
        status = json.loads(newcomer.run("arroyo", "status", chain, "--json"))
        states = {row["stage"]: row["state"] for row in status["stages"]}
        assert states == dict.fromkeys(("images", "sums", "write"), "READY")
    printed = f"Übersicht: {list(range(EVENTS))}"
    wait_until(lambda: printed in newcomer.run("arroyo", "logs", NAME, "sums"))

    assert f"chain {NAME} ended well" in newcomer.run("arroyo", "stop", NAME)
    said, _ = supervisor.communicate(timeout=DEADLINE_S)
    assert supervisor.returncode == 0, said
    assert "STOPPED" in newcomer.run("arroyo", "status", NAME)


def test_who_has_no_home_is_told_what_to_set(account):
    nobody = account(ORDINARY)
    nobody.environ = {}
    nobody.write("chain/first_stages.py", STAGES)
    said = nobody.run("arroyo-supervise", nobody.write("chain/chain.toml", CHAIN), code=78)
    assert "; set ARROYO_RUN_DIR to a folder in which you may make it" in said
