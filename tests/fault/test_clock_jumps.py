"""A wall clock that jumps: nobody is restarted, nothing is lost."""

import shutil
import subprocess

import pytest
from fault.faults import FAULTS, wait

JUMPS = ("+1h", "-1h", "+400d", "+0")


@pytest.fixture
def jumping_clock(tmp_path):
    """Environment in which a file says how wrong the clock is, and that file."""
    if shutil.which("faketime") is None:
        pytest.skip("a clock that jumps needs the program faketime")
    shown = subprocess.run(
        ["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True
    ).stdout
    (preload,) = [line for line in shown.splitlines() if line.startswith("LD_PRELOAD=")]
    file = tmp_path / "clock"
    file.write_text("+0")
    return file, {
        "LD_PRELOAD": preload.partition("=")[2],
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def test_a_clock_that_jumps_disturbs_nobody(make_campaign, jumping_clock):
    clock, environ = jumping_clock
    campaign = make_campaign("branching", 1, timeout_s=1.0, rate_hz=500.0)
    campaign.chain.environ |= environ
    campaign.supervise()
    for jump in JUMPS:
        clock.write_text(jump)
        wait(0.5)
    assert campaign.supervisor.text.count("ready after") == 7
    campaign.run({"kill": FAULTS["kill"]}, strikes=4)
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)
