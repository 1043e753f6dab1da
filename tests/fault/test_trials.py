"""Short campaigns with fixed seeds: whatever goes wrong, the chain keeps its promises.

`scripts/faults` runs the long ones.
"""

import os
import signal

import pytest
from chains import kill
from fault.faults import FAULTS, Pause
from fault.oracle_stages import ENOUGH

KIB = 1 << 10
MIB = 1 << 20
BREAKS = {name: FAULTS[name] for name in ("kill", "term", "frames")}


def assert_kept(verdict):
    assert not verdict.broken, "\n".join(verdict.broken)


@pytest.mark.parametrize(
    ("size_bytes", "rate_hz"), [(100, 2000.0), (MIB, 40.0)], ids=["100B", "1MiB"]
)
def test_random_kills_lose_nothing(make_campaign, size_bytes, rate_hz):
    campaign = make_campaign("branching", 3, size_bytes=size_bytes, rate_hz=rate_hz)
    campaign.supervise()
    counts = campaign.run({"kill": FAULTS["kill"]}, strikes=30, pause_s=0.1)
    assert counts == {"kill": 30}
    verdict = campaign.finish()
    assert_kept(verdict)
    assert verdict.figures["handed over"] > 100
    assert verdict.figures["duplicates at idempotent sinks"] == 0
    assert "quarantined" not in campaign.supervisor.text


@pytest.mark.parametrize("topology", ["branching", "fold"])
def test_a_kill_in_any_phase_loses_nothing(make_campaign, topology):
    campaign = make_campaign(topology, 21)
    campaign.supervise()
    struck = []
    campaign.run({"kill": FAULTS["kill-in-phase"]}, strikes=8, pause_s=0.05, tell=struck.append)
    assert len({line.rpartition(" ")[2] for line in struck}) >= 3, struck
    assert_kept(campaign.finish())


def test_kills_at_full_speed_lose_nothing(make_campaign):
    campaign = make_campaign("branching", 4, events=20_000, rate_hz=0.0)
    campaign.supervise()
    campaign.run({"kill": FAULTS["kill"]}, strikes=6, pause_s=0.15)
    assert_kept(campaign.finish())


@pytest.mark.parametrize(
    ("topology", "size_bytes", "rate_hz"),
    [("fold", 100, 2000.0), ("fold", 80 * KIB, 400.0), ("replicated-fold", 80 * KIB, 400.0)],
)
def test_what_folds_hold_is_in_their_outputs_whoever_dies(
    make_campaign, topology, size_bytes, rate_hz
):
    campaign = make_campaign(topology, 14, size_bytes=size_bytes, rate_hz=rate_hz)
    campaign.supervise()
    campaign.run({"kill": FAULTS["kill"], "stop": Pause(0.1, 0.3)}, strikes=15, pause_s=0.1)
    verdict = campaign.finish()
    assert_kept(verdict)
    assert verdict.figures["outputs of folds"] > 50


def test_a_storm_of_kills_below_two_sources_makes_no_verdict_on_shared_memory(make_campaign):
    """What comes again was finished meanwhile, again and again, and its payloads are gone."""
    campaign = make_campaign("two-sources-fold", 16, size_bytes=64 * KIB, rate_hz=300.0)
    campaign.supervise()
    campaign.run({"kill": FAULTS["kill"]}, strikes=12, pause_s=0.15)
    verdict = campaign.finish()
    assert_kept(verdict)
    assert verdict.figures["outputs of folds"] > 50
    assert "/dev/shm" not in campaign.chain.text()


def test_replicas_of_sinks_publish_each_event_once(make_campaign):
    campaign = make_campaign("replicated-sinks", 15)
    campaign.supervise()
    campaign.run({"kill": FAULTS["kill"]}, strikes=15, pause_s=0.1)
    assert_kept(campaign.finish())


@pytest.mark.parametrize("topology", ["fan-out", "diamond", "split", "two-sources"])
def test_each_kind_of_chain_stands_breaks_and_orderly_ends(make_campaign, topology):
    campaign = make_campaign(topology, 5, rate_hz=1000.0)
    campaign.supervise()
    campaign.run(BREAKS, strikes=6, pause_s=0.1)
    assert_kept(campaign.finish())


@pytest.mark.parametrize(("name", "strikes"), [("hang", 1), ("hang-in-c", 1), ("memory", 3)])
def test_an_operator_that_meets_its_fate_loses_nothing(make_campaign, name, strikes):
    campaign = make_campaign("branching", 6, timeout_s=1.0, on_error="crash")
    campaign.supervise()
    campaign.run({name: FAULTS[name]}, strikes=strikes)
    assert_kept(campaign.finish())
    # A lack of memory shows where it wants to: in `process()`, or in what is around it.
    words = "hung in process()" if "hang" in name else "(try 1 of"
    assert words in campaign.supervisor.text


def test_a_lack_of_descriptors_loses_nothing(make_campaign):
    campaign = make_campaign("branching", 7, on_error="crash")
    campaign.supervise()
    campaign.run({"descriptors": FAULTS["descriptors"]}, strikes=2)
    assert_kept(campaign.finish())


def test_a_stop_of_two_seconds_loses_nothing(make_campaign):
    """Each process is stopped once, all of them at moments of their own."""
    campaign = make_campaign("line", 8, timeout_s=1.0)
    campaign.supervise()
    for stages in (["source"], ["work"], ["kept"]):
        campaign.stages = stages
        assert campaign.strike(Pause(2.0, 2.0)) is not None
    assert_kept(campaign.finish())
    assert "killed" not in campaign.supervisor.text


def test_a_killed_supervisor_takes_nothing_along(make_campaign):
    campaign = make_campaign("branching", 9)
    campaign.supervise()
    counts = campaign.run({"supervisor": FAULTS["supervisor"]}, strikes=1, pause_s=0.5)
    assert counts == {"supervisor": 1}
    assert_kept(campaign.finish())


def test_a_source_that_dies_again_and_again_names_what_is_lost(make_campaign, wait_for_account):
    """Also where it dies before it has closed the run of the life before."""
    campaign = make_campaign("branching", 31, events=20_000, rate_hz=0.0, stages=["source"])
    campaign.supervise()
    wait_for_account(campaign, "told", 1000)
    campaign.run({"kill": FAULTS["kill"]}, strikes=5, pause_s=0.4)
    verdict = campaign.finish()
    assert_kept(verdict)
    assert verdict.figures["named as lost"] > 0


def test_an_input_that_ends_while_its_source_is_down_loses_nothing(make_campaign, wait_for_account):
    campaign = make_campaign("replayable", 12)
    campaign.supervise()
    wait_for_account(campaign, "told", 200)
    pids = campaign.chain.pids()
    os.kill(pids["kept.0"], signal.SIGSTOP)
    wait_for_account(campaign, "told", 1000)  # nobody acknowledges them
    os.kill(pids["source.0"], signal.SIGKILL)
    (campaign.chain.folder / ENOUGH).touch()
    os.kill(pids["kept.0"], signal.SIGCONT)
    assert_kept(campaign.finish())


def test_a_chain_that_loses_a_stage_while_it_stops_still_ends(make_campaign, wait_for_account):
    campaign = make_campaign("branching", 11, rate_hz=0.0)
    campaign.supervise()
    wait_for_account(campaign, "told", 1000)
    pids = campaign.chain.pids()
    campaign.supervisor.send(signal.SIGTERM)
    kill(pids["work.1"])
    os.kill(pids["kept.0"], signal.SIGKILL)
    assert_kept(campaign.finish())
