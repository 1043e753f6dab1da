import os

import pytest
from batches import make_batch

from arroyo.codec import Body, Reason
from arroyo.protocol.values.deliveries import Output
from arroyo.runner.relay.counters import Counters
from arroyo.telemetry.status_page import StatusPage, read_status_page
from arroyo.telemetry.status_words import INPUTS


@pytest.fixture
def written(tmp_path):
    """What stands on the status page once counts were written there."""
    page = StatusPage(tmp_path / "page", os.getpid(), 1)

    def write(counters, inputs=("src",)):
        counters.write(page, inputs)
        return read_status_page(tmp_path / "page")

    yield write
    page.close()


def test_what_is_sent_again_counts_as_received_and_as_repeated(written):
    counters = Counters()
    counters.take_up(make_batch(), 2)
    counters.take_up(make_batch(attempt=1), 3)
    page = written(counters)
    assert (page["received"], page["repeated"]) == (5, 3)


def test_what_was_received_is_told_by_input_whatever_the_replica(written):
    counters = Counters()
    for sender, count in (("dark.0", 1), ("images.0", 2), ("images.1", 3)):
        counters.take_up(make_batch(sender=sender), count)
    page = written(counters, ("images", "dark"))
    assert (page["input_0"], page["input_1"]) == (5, 1)


def test_inputs_beyond_those_of_the_page_count_with_its_last(written):
    inputs = [f"in{number}" for number in range(INPUTS + 2)]
    counters = Counters()
    for stage in inputs:
        counters.take_up(make_batch(sender=f"{stage}.0"), 1)
    page = written(counters, inputs)
    assert [page[f"input_{place}"] for place in range(INPUTS)] == [1] * (INPUTS - 1) + [3]


def test_of_an_operator_results_count_as_sent_and_what_has_none_by_its_reason(written):
    counters = Counters()
    several = Output([b"ab", b"c"], 3)
    ends = [Output(reason=Reason.FILTERED), Output(reason=Reason.SKIPPED)]
    counters.give_out([b"abcd", several, *ends], publishes=False)
    page = written(counters)
    names = ("sent", "bytes_out", "filtered", "skipped")
    assert [page[name] for name in names] == [3, 7, 1, 1]


def test_of_a_publisher_all_but_what_it_raised_on_counts_as_sent():
    counters = Counters()
    counters.give_out([None, None, Output(reason=Reason.SKIPPED)], publishes=True)
    assert (counters.sent, counters.skipped, counters.bytes_out) == (2, 1, 0)


def test_results_that_are_small_all_of_them_count_by_their_body():
    body = Body()
    body.append(b"ab")
    body.append(b"cde")
    counters = Counters()
    counters.give_out(body, publishes=False)
    assert (counters.sent, counters.bytes_out) == (2, body.size)
