from arroyo.codec import Kind
from arroyo.protocol.source.input import InputBatch, Run


def test_what_a_listener_hands_over_comes_from_no_quarantine_and_leaves_no_gap():
    batch = InputBatch(Kind.EVENTS, [b"x"], size=1)
    assert (batch.enters, batch.returned, batch.gap) == ("", None, False)


def test_a_run_that_opened_itself_has_no_start():
    assert Run("run", implicit=True, base=5).start is None
