"""Arroyo as somebody's account runs it: nothing set but HOME and PATH, in a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from subprocess import DEVNULL

import pytest
from chains import PROGRAMS

import arroyo

ORDINARY, OTHER = 65534, 65533
PYTHON = Path(f"/usr/bin/python{sysconfig.get_python_version()}")
"""Used by whoever may not use that of the tests."""
DEADLINE_S = 120.0


class Account:
    """An account of this machine, with a home that it has just got.

    `programs`: the folder of the installed programs.
    """

    def __init__(self, uid, programs):
        self.uid = uid
        self.programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="arroyo-home-"))
        os.chown(self.home, uid, uid)
        self.home.chmod(0o755)
        self.environ = {"HOME": str(self.home), "PATH": os.defpath}
        self.started = []

    def command(self, program, *arguments):
        """Write the command that goes on as an installed program in this account."""
        return become(self.uid, self.programs / program, *arguments)

    def start(self, program, *arguments, **environ):
        """Start an installed program in the account's home."""
        process = subprocess.Popen(
            self.command(program, *arguments),
            cwd=self.home,
            env=self.environ | environ,
            stdin=DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, program, *arguments, code=0, **environ):
        """Run a program to its end; return what it said."""
        process = self.start(program, *arguments, **environ)
        said, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == code, said
        return said

    def places(self, chain):
        """The run directory and the state directory of a chain, by default."""
        if self.uid == 0:
            return Path("/run/arroyo", chain), Path("/var/lib/arroyo", chain)
        return self.home / ".cache/arroyo/run" / chain, self.home / ".local/state/arroyo" / chain

    def write(self, path, text):
        """Write a file of the account; return its path."""
        file = self.home / path
        for folder in reversed([each for each in file.parents if not each.exists()]):
            folder.mkdir()
            os.chown(folder, self.uid, self.uid)
        file.write_text(text)
        os.chown(file, self.uid, self.uid)
        return file

    def close(self):
        """End what still runs, and take the home away."""
        for process in self.started:
            if process.poll() is None:
                process.terminate()
            process.communicate()
        shutil.rmtree(self.home)


def become(uid, *command):
    """Write the command that goes on as another user."""
    ids = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    # What setpriv starts itself still has root's rights to files: `env` has not.
    return ["setpriv", *ids, "env", *map(str, command)]


def may_use(uid, programs):
    command = become(uid, programs / "arroyo", "--version")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install(folder):
    """Put the programs into a folder, with an interpreter that anybody may use.

    It has the packages of the one that runs the tests.
    """
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", folder], check=True)
    packages = folder / "lib" / PYTHON.name / "site-packages"
    packages.joinpath("tests.pth").write_text(
        "\n".join([str(Path(arroyo.__file__).parents[1]), *sys.path])
    )
    for program in PROGRAMS.glob("arroyo*"):
        copy = Path(shutil.copy(program, folder / "bin"))
        copy.write_text(program.read_text().replace(str(PROGRAMS), str(copy.parent)))
    return folder / "bin"


@pytest.fixture(scope="session")
def programs_for_anybody():
    """The installed programs, or a copy of them, where ordinary accounts may run them."""
    if may_use(ORDINARY, PROGRAMS):
        yield PROGRAMS
        return
    with tempfile.TemporaryDirectory(prefix="arroyo-programs-") as folder:
        Path(folder).chmod(0o755)
        copied = install(Path(folder)) if PYTHON.exists() else Path(folder)
        if not may_use(ORDINARY, copied):
            pytest.skip(f"install {PYTHON}, and Arroyo where others may read it")
        yield copied


@pytest.fixture
def account(request):
    """Make accounts by their numbers; what they have started is ended after the test."""
    if os.geteuid() != 0:
        pytest.skip("run as root, who alone may be somebody else")
    made = []

    def make(uid, kind=Account):
        anybody = uid and request.getfixturevalue("programs_for_anybody")
        made.append(kind(uid, anybody or PROGRAMS))
        return made[-1]

    yield make
    for each in made:
        each.close()
