"""A wall clock that jumps: nobody is restarted, nothing is lost."""

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chains import kill, wait_until
from fault.faults import FAULTS, wait

HOUR_S = 3600
JUMPS_S = (HOUR_S, -HOUR_S, 400 * 24 * HOUR_S)


class JumpingClock:
    """A wall clock for the programs that are started with `environ`."""

    def __init__(self, folder):
        library, self.file = folder / "jumping_clock.so", folder / "offset"
        self.jump(0)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "jumping_clock.c"],
            check=True,
        )
        self.environ = {"LD_PRELOAD": str(library), "JUMPING_CLOCK": str(self.file)}

    def jump(self, offset_s):
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(offset_s.to_bytes(8, "little", signed=True))


@pytest.fixture
def clock(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("install a C compiler (cc): a clock that jumps is made with it")
    return JumpingClock(tmp_path)


def test_a_clock_that_jumps_disturbs_nobody(make_campaign, clock):
    campaign = make_campaign("branching", 1, timeout_s=1.0, rate_hz=500.0)
    campaign.chain.environ |= clock.environ
    campaign.supervise()
    for offset_s in JUMPS_S:
        clock.jump(offset_s)
        wait(0.5)
    assert campaign.supervisor.text.count("ready after") == 7
    campaign.run({"kill": FAULTS["kill"]}, strikes=3)
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)
    # So that it is known to have jumped.
    log = campaign.chain.run_directory.log("supervisor").read_text().splitlines()
    last = datetime.fromisoformat(json.loads(log[-1])["time"])
    assert last > datetime.now(UTC) + timedelta(days=399)


@pytest.mark.parametrize("topology", ["branching", "fold", "replicated-fold"])
def test_stages_that_come_back_with_an_earlier_clock_are_known(make_campaign, clock, topology):
    campaign = make_campaign(topology, 5, timeout_s=1.0, rate_hz=500.0)
    campaign.chain.environ |= clock.environ
    campaign.supervise()
    for offset_s in (-HOUR_S, -2 * HOUR_S):
        clock.jump(offset_s)
        for name, pid in campaign.chain.pids().items():
            stage = name.partition(".")[0]
            if stage in campaign.stages:
                kill(pid)
                wait_until(lambda name=name, pid=pid: comes_back(campaign, name, pid))
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)


def comes_back(campaign, name, pid):
    row = campaign.chain.status()[name]
    return row["state"] == "READY" and row["pid"] != pid
