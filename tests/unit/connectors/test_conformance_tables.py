"""What the conformance suite lets a connector off stands on the page for users."""

from pathlib import Path

import pytest
from brokers import BROKERS, limits_of

import arroyo.connectors

PAGE = Path(arroyo.connectors.__file__).with_name("README.md")


@pytest.mark.parametrize("spec", BROKERS)
def test_what_a_connector_cannot_keep_is_on_its_page(spec):
    page = " ".join(PAGE.read_text().split())
    assert [words for words in limits_of(spec) if words not in page] == []
