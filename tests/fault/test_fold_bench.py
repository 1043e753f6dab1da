"""The oracle sees what is wrong with a fold: each broken promise, made by hand, is found."""

import pytest
from fault.accounts import handed_over
from fault.oracle import Evidence, judge
from fault.oracle_stages import Published
from fault.trial_chains import TrialChain, TrialStage
from run_totals import totals_of

SOURCE_LIFE, LIFE, EPOCH, NEXT_EPOCH = 10, 20, 30, 31
EVENTS = 6
TOTALS = totals_of(3, inputs=totals_of(EVENTS))


def chain_of(**settings):
    return TrialChain(
        (
            TrialStage("source"),
            TrialStage("fold", ("source",), folds=2, **settings),
            TrialStage("kept", ("fold",), sink=True, idempotent=False),
        )
    )


def output(sequence, *indices, epoch=EPOCH):
    key = f"fold.0/run/{sequence}"
    line = Published(LIFE, "Event", "fold.0", "run", 0, key, SOURCE_LIFE, 0, epoch=epoch)
    line.index, line.crc = indices[0], 100 + indices[0]
    line.inputs = tuple((index, 100 + index) for index in indices)
    return line


def control(kind):
    key = f"fold.0/run/{kind.lower()}"
    totals = TOTALS if kind == "Stop" else None
    return Published(LIFE, kind, "fold.0", "run", 0, key, SOURCE_LIFE, 0, totals=totals)


def evidence():
    handed = handed_over(SOURCE_LIFE, EVENTS)
    outputs = [output(0, 0, 1), output(1, 2, 3), output(2, 4, 5)]
    return Evidence({"source": handed}, {"kept": [control("Start"), *outputs, control("Stop")]}, {})


def lose(lines):
    lines[2].inputs = lines[2].inputs[:1]


def fold_twice(lines):
    lines[3].inputs += lines[1].inputs


def change_an_output_over_a_death(lines):
    lines.insert(4, output(2, 4, epoch=NEXT_EPOCH))
    lines.insert(5, output(3, 5, epoch=NEXT_EPOCH))


def repeat_in_one_life_of_the_fold(lines):
    lines.insert(3, lines[2])


def invent(lines):
    lines[3].inputs += ((9, 109),)


def spoil_an_input(lines):
    lines[1].inputs = ((0, 100), (1, 7))


def forget_the_stop(lines):
    del lines[-1]


def count_outputs_wrong(lines):
    lines[-1].totals = TOTALS | {"sent": 4}


def count_inputs_wrong(lines):
    lines[-1].totals = TOTALS | {"inputs": TOTALS["inputs"] | {"sent": 5}}


def forget_a_replica(lines):
    lines.clear()


BREAKS = {
    lose: "in no output",
    fold_twice: "in two outputs",
    change_an_output_over_a_death: "in two outputs",
    repeat_in_one_life_of_the_fold: "came twice",
    invent: "too many",
    spoil_an_input: "wrong checksum",
    forget_the_stop: "no Stop",
    count_outputs_wrong: "not 3 outputs",
    count_inputs_wrong: "has totals",
    forget_a_replica: "not come at all",
}


def test_kept_promises_of_a_fold_are_seen_as_kept():
    verdict = judge(chain_of(ordered=True), evidence())
    assert verdict.broken == []
    assert verdict.figures["outputs of folds"] == EVENTS / 2


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda each: each.__name__)
def test_a_broken_promise_of_a_fold_is_seen(spoil):
    found = evidence()
    spoil(found.published["kept"])
    sentences = judge(chain_of(ordered=True), found).broken
    assert any(BREAKS[spoil] in sentence for sentence in sentences), sentences


def test_an_output_that_comes_again_from_the_next_life_is_no_broken_promise():
    found = evidence()
    found.published["kept"].insert(4, output(2, 4, 5, epoch=NEXT_EPOCH))
    assert judge(chain_of(ordered=True), found).broken == []


def test_without_an_order_the_next_life_may_fold_otherwise():
    found = evidence()
    found.published["kept"].insert(4, output(2, 5, 4, epoch=NEXT_EPOCH))
    assert judge(chain_of(), found).broken == []


def test_each_replica_of_a_fold_has_to_come():
    (sentence,) = judge(chain_of(replicas=2), evidence()).broken
    assert "comes from ['fold.0'] alone" in sentence


def test_a_fold_ends_the_ways_from_above():
    chain = chain_of()
    assert chain.ways("source", "kept") == []
    assert chain.expected("source", "fold", 3) == {(): 1}
    assert chain.expected("fold", "kept", 3) == {(): 1}
