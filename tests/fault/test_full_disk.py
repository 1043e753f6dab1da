"""A disk without room: the sink waits for some, and logs are no reason to stop."""

import contextlib
import os
import subprocess

import pytest
from chains import wait_until

MIB = 1 << 20


@pytest.fixture
def small_disk():
    """Mount a disk of 1 MiB on a folder, until the test is over."""
    mounted = []

    def mount(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Leave no room in a folder; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_sink_whose_disk_was_full_loses_nothing(make_campaign, small_disk, wait_for_account):
    campaign = make_campaign("line", 1, rate_hz=500.0, events=500, runs=3, on_error="crash")
    disk = small_disk(campaign.chain.folder / "disk")
    (campaign.chain.folder / "kept.published").symlink_to(disk / "kept.published")
    campaign.supervise()
    wait_for_account(campaign, "kept", 100)
    ballast = fill(disk)
    campaign.supervisor.wait_for("the disk is full", count=2)
    ballast.unlink()
    wait_for_account(campaign, "kept", 1000)
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)


def test_logs_without_room_stop_nobody(make_campaign, small_disk):
    campaign = make_campaign("line", 1, events=500, runs=2)
    logs = small_disk(campaign.chain.run_directory.path / "log")
    fill(logs)
    campaign.supervise()
    wait_until(lambda: not campaign.supervisor.runs, campaign.chain.text)
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)
    assert verdict.figures["handed over"] == 1000
