"""Disks that are soon full, for tests: a small file system in memory, and small files."""

from __future__ import annotations

import contextlib
import resource
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of so many KiB, and files, on a folder, until the test is over."""
    mounted = []

    def mount(size_kib, folder=tmp_path / "disk", files=1000):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"size={size_kib}k,nr_inodes={files},mode=0700",
                "tmpfs",
                folder,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # Nothing else is as full as a full disk.
            pytest.skip(f"run as root, who alone may mount a small disk: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        # Lazily, so that a test that fails with a file in its hands leaves no mount.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Leave no room in a folder; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@contextlib.contextmanager
def small_files(size):
    """Have the kernel take no more than so many bytes of a file from this process meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
