"""What the conformance suite lets a connector off: what its page says, but no missing server."""

from pathlib import Path

import pytest
from brokers import BROKERS, limits_of, load_broker
from memory_broker import MemoryBroker

import arroyo.connectors

PAGE = Path(arroyo.connectors.__file__).with_name("README.md")


@pytest.mark.parametrize("spec", BROKERS)
def test_what_a_connector_cannot_keep_is_on_its_page(spec):
    page = " ".join(PAGE.read_text().split())
    assert [words for words in limits_of(spec) if words not in page] == []


class Uninstalled(MemoryBroker):
    """A broker whose server is not on this machine."""

    @staticmethod
    def find_missing():
        return "that server is not installed"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_a_missing_server_skips_its_tests_but_fails_them_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="that server is not installed"):
        load_broker(f"{__name__}:Uninstalled")
