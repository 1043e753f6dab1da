"""The replica of an operator that folds, with a script in place of its neighbours."""

import pytest
from slab_usage import slabs_in_use
from stage_fakes import line_of, run_stage

from arroyo import Event, Operator, Start, Stop
from arroyo.codec import DETACH_BYTES, Ack, Kind
from arroyo.runner.user_code.error_policy import StageFailedError

START, STOP = Start({"sample": "ceria"}), Stop({"totals": {"sent": 5, "complete": True}})


class Sums(Operator):
    """Gives out the sum of every three numbers, and of what is left at the Stop."""

    folds = True
    max_inputs = 3

    def __init__(self):
        self.numbers = []
        self.closed = False

    def process(self, message):
        if isinstance(message, Event):
            self.numbers.append(message.metadata["n"])
        if self.numbers and (isinstance(message, Stop) or len(self.numbers) == 3):
            found, self.numbers = Event({"sum": sum(self.numbers)}), []
            return found
        return None

    def close(self):
        self.closed = True


def events(*numbers):
    return [Event({"n": number}) for number in numbers]


def one_run(above):
    yield above.batch(START, kind=Kind.START)
    yield above.batch(*events(1, 2), base=1)
    yield above.batch(*events(3, 4, 5), base=1)
    yield above.batch(STOP, kind=Kind.STOP, base=1)
    yield above.end(final=True)


@pytest.fixture
def run(tmp_path):
    """Run the process of a fold; arguments as those of `run_stage`."""

    def run_one(made, feed=one_run, **options):
        source = ("listener", "src", "own:Src", {})
        fold = ("operator", "fold", "own:Sums", {})
        chain = line_of(tmp_path, source, fold, ("publisher", "sink", "own:Sink", {}))
        return run_stage(chain, "fold", made, feed, **options)

    return run_one


def acknowledged(above):
    """Places that the source need not keep any more."""
    acks = [ack for ack in above.told(Ack) if not ack.taken]
    return {place for ack in acks for first, end in ack.ranges for place in range(first, end)}


def test_a_fold_sends_its_outputs_as_a_source_in_a_run_with_totals_of_its_own(run):
    operator = Sums()
    context, _, below = run(operator)
    assert [type(message) for message in context.messages] == [Start, Event, Event, Stop]
    sums = [message.metadata["sum"] for message in context.messages if isinstance(message, Event)]
    assert sums == [6, 9]
    totals = context.messages[-1].data["totals"]
    assert (totals["sent"], totals["complete"]) == (2, True)
    assert totals["inputs"] == STOP.data["totals"]
    assert {record.source for record, _ in below.batches} == {"fold.0"}
    assert below.ends == [True]
    assert operator.closed


def test_inputs_are_acknowledged_when_an_output_that_covers_them_is_finished(run):
    _, above, _ = run(Sums())
    assert acknowledged(above) == set(range(7))


def test_what_it_holds_is_not_acknowledged(run):
    def without_end(above):
        yield above.batch(START, kind=Kind.START)
        yield above.batch(*events(1, 2, 3, 4), base=1)

    def script(context):
        if context.counts["received"] == 4:
            context.signals.stop()

    context, above, _ = run(Sums(), without_end, script=script)
    assert 4 not in acknowledged(above)
    assert {1, 2, 3} <= acknowledged(above)
    assert context.found["received"] == 4


def test_the_status_page_counts_inputs_and_outputs_those_at_the_stop_too(run):
    context, _, below = run(Sums())
    assert [context.found[word] for word in ("received", "sent", "errors")] == [5, 2, 0]
    outputs = [items for record, items in below.batches if record.kind is Kind.EVENTS]
    assert context.found["bytes_out"] == sum(len(item) for items in outputs for item in items)


def test_what_raises_at_the_stop_ends_it_and_nothing_of_that_is_acknowledged(run):
    class Fails(Sums):
        def process(self, message):
            if isinstance(message, Stop):
                raise ValueError("no sense in it")
            return super().process(message)

    pages, operator = [], Fails()
    with pytest.raises(StageFailedError, match="no sense in it on a Stop"):
        run(operator, pages=pages)
    assert operator.closed
    assert pages[0]["errors"] == 1


def test_shared_memory_of_outputs_that_are_not_sent_is_given_back(run):
    class Spoilt(Operator):
        folds = True

        def process(self, message):
            if isinstance(message, Event):
                return [Event({}, bytes(DETACH_BYTES)), Event({"cannot travel": object()})]
            return message

    used = []
    run(Spoilt(), script=lambda context: used.append(slabs(context)))
    assert max(used) == 0


def slabs(context):
    pool = context.payloads._pool
    return 0 if pool is None else slabs_in_use(pool)


def test_its_next_life_sends_in_a_new_epoch(run):
    epochs = [{record.epoch for record, _ in run(Sums())[2].batches} for _ in range(2)]
    assert max(epochs[0]) < min(epochs[1])
