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

import arroyo

ORDINARY, OTHER = 65534, 65533
PROGRAMS = {
    "arroyo": "arroyo.cli.main:arroyo",
    "arroyo-stage": "arroyo.cli.stage:main",
    "arroyo-supervise": "arroyo.cli.supervise:main",
}
DEADLINE_S = 120.0


class Account:
    """An account of this machine, with a home that it has just got."""

    def __init__(self, uid):
        self.uid = uid
        self.python = find_python(uid)
        self.home = Path(tempfile.mkdtemp(prefix="arroyo-home-"))
        os.chown(self.home, uid, uid)
        self.home.chmod(0o755)
        self.environ = {
            "HOME": str(self.home),
            "PATH": os.defpath,
            # Where the interpreter of the tests, which this account may not use, has its packages.
            "PYTHONPATH": os.pathsep.join([str(Path(arroyo.__file__).parents[1]), *sys.path]),
        }
        self.started = []

    def start(self, program, *arguments, **environ):
        """Start a program of Arroyo in the account's home."""
        module, _, function = PROGRAMS[program].partition(":")
        code = f"import sys; sys.argv[0] = {program!r}; from {module} import {function}; "
        command = [self.python, "-P", "-c", f"{code}{function}()", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=self.home,
            env=self.environ | environ,
            user=self.uid,
            group=self.uid,
            extra_groups=[],
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


def find_python(uid):
    """Find an interpreter like this one that the account may use."""
    candidates = [sys.executable, f"/usr/bin/python{sysconfig.get_python_version()}"]
    for candidate in filter(os.path.exists, candidates):
        try:
            subprocess.run([candidate, "-c", "import zlib"], user=uid, check=True, stderr=DEVNULL)
        except (PermissionError, subprocess.CalledProcessError):
            continue
        return candidate
    return pytest.skip(f"install Python where others may use it: user {uid} may not use this one")


@pytest.fixture
def account():
    """Make accounts by their numbers; what they have started is ended after the test."""
    if os.geteuid() != 0:
        pytest.skip("run as root, who alone may be somebody else")
    made = []

    def make(uid):
        made.append(Account(uid))
        return made[-1]

    yield make
    for each in made:
        each.close()
