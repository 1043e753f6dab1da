"""Rude stages, real frames, and faults beside them: every good frame once, every other named.

``ARROYO_RUDE_FAULTS=1000`` makes the campaign as long as one likes.
"""

import json
import os
import re

import pytest
from chains import unread, wait_until
from fault.faults import FAULTS
from fault.rude_campaign import ClockStep, FullDisk, RudeCampaign
from fault.rude_stages import PERIOD
from fault.test_clock_jumps import clock

__all__ = ["clock"]

STRIKES = int(os.environ.get("ARROYO_RUDE_FAULTS", "20"))
SEED = int(os.environ.get("ARROYO_RUDE_SEED", "9"))
FAST = {"rate_hz": 40.0, "work_s": 0.02, "idle_s": 2.0}
"""So that all kinds of frames have come within some seconds."""
PACE = FAST if STRIKES <= 100 else FAST | {"rate_hz": 9.0}
"""In a long campaign, the quarantine has room for what is bad among the frames."""


@pytest.mark.timeout(120 + 5 * STRIKES)
def test_a_rude_chain_keeps_every_good_frame_and_names_every_other(tmp_path, small_disk, clock):
    campaign = RudeCampaign(tmp_path / "chain", SEED, **PACE)
    campaign.chain.environ |= clock.environ
    small_disk(32 * 1024, tmp_path / "chain" / "disk")
    faults = {"kill": FAULTS["kill"], "disk": FullDisk(), "clock": ClockStep(clock)}
    try:
        campaign.supervise()
        counts = campaign.run(faults, strikes=STRIKES, tell=print)
        broken, figures = campaign.finish()
    finally:
        campaign.close()
    print(dict(counts), figures)
    assert not broken, "\n".join([*broken, f"seed {SEED}, {figures}"])
    assert figures["published"] > 400


@pytest.mark.timeout(300)
def test_a_bad_day_costs_no_good_frame_and_the_account_is_true(tmp_path):
    """Nobody reads the terminal, and each stage is killed in turn."""
    campaign = RudeCampaign(tmp_path / "chain", SEED, **FAST)
    chain = campaign.chain
    try:
        with unread(chain, "arroyo-supervise", chain.path) as supervisor:
            chain.wait_until_ready()
            campaign.feed()
            for place, name in enumerate(["frames.0", "integrate.0", "integrate.1", "gather.0"]):
                wait_until(lambda wanted=60 * (place + 1): campaign.written >= wanted, chain.text)
                wait_until(lambda victim=name: victim in chain.pids(), chain.text)
                chain.kill(name)
            wait_until(lambda: campaign.written >= PERIOD, chain.text, 60.0)
            wait_until(lambda: "file.0" in chain.pids(), chain.text)
            chain.kill("file.0")
            campaign.end_feeding()
            wait_until(lambda: supervisor.poll() is not None, chain.text, 120.0)
            broken, figures = campaign.judge(supervisor.returncode)
        account = account_of(chain)
    finally:
        campaign.close()
    assert not broken, "\n".join([*broken, f"{figures}"])
    assert (
        f"{figures['bad']} messages are in quarantine; see: arroyo quarantine list rude" in account
    )
    # What the source had in flight when it was killed has been handed over again.
    assert int(re.search(r"frames: (\d+) received", account)[1]) >= figures["frames"] - 1
    assert "1 rejected" in account
    assert "filtered" not in account
    assert "lost" not in account


def account_of(chain):
    """What the supervisor says at the end, as its log keeps it."""
    lines = chain.run_directory.log("supervisor").read_text().splitlines()
    return "\n".join(json.loads(line)["message"] for line in lines[-8:])
