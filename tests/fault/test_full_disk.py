"""A disk without room: the sink waits for some, and logs are no reason to stop."""

from chains import wait_until
from small_disk import fill


def test_a_sink_whose_disk_was_full_loses_nothing(make_campaign, small_disk, wait_for_account):
    campaign = make_campaign("line", 1, rate_hz=500.0, events=500, runs=3, on_error="crash")
    disk = small_disk(1024, campaign.chain.folder / "disk")
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
    logs = small_disk(1024, campaign.chain.run_directory.path / "log")
    fill(logs)
    campaign.supervise()
    wait_until(lambda: not campaign.supervisor.runs, campaign.chain.text)
    verdict = campaign.finish()
    assert not verdict.broken, "\n".join(verdict.broken)
    assert verdict.figures["handed over"] == 1000
