"""Fixtures of the tests that let things go wrong."""

import pytest
from chains import make_chain, wait_until
from fault.campaign import Campaign
from fault.trial_chains import TRIAL_CHAINS

__all__ = ["make_chain", "make_campaign", "wait_for_account"]


@pytest.fixture
def make_campaign(tmp_path):
    """Make campaigns against a chain of `TRIAL_CHAINS`; all that was started ends with the test."""
    made = []

    def make(topology, seed, **settings):
        folder = tmp_path / f"campaign{len(made)}"
        made.append(Campaign(folder, TRIAL_CHAINS[topology], seed, **settings))
        return made[-1]

    yield make
    for campaign in made:
        campaign.close()


@pytest.fixture
def wait_for_account():
    """Wait until a sink has so many lines in its account."""

    def wait(campaign, sink, count):
        path = f"{sink}.published"
        wait_until(
            lambda: campaign.chain.count(path) >= count,
            lambda: (
                f"{campaign.chain.count(path)} of {count} lines\n"
                f"{campaign.chain.text()}\n{campaign.chain.history()}"
            ),
        )

    return wait
