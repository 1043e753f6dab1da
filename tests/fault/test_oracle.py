"""The oracle sees what is wrong: each broken promise, made by hand, is found."""

import msgspec
import pytest
from fault.accounts import handed_over
from fault.oracle import Evidence, judge
from fault.oracle_stages import EFFECT, Published, place_of
from fault.trial_chains import TrialChain, TrialStage
from run_totals import totals_of

SOURCE_LIFE, LIFE, NEXT_LIFE = 10, 20, 21
EVENTS = 6
CHAIN = TrialChain(
    (
        TrialStage("source"),
        TrialStage("thin", ("source",), keeps=2),
        TrialStage("kept", ("thin",), sink=True, ordered=True),
    )
)
TOTALS = totals_of(EVENTS, filtered=EVENTS // 2)


def event(index, life=LIFE):
    key = f"source.0/run/{index}"
    return Published(
        life, "Event", "source.0", "run", 0, key, SOURCE_LIFE, 0, index, (), 100 + index
    )


def control(kind, life=LIFE):
    key = f"source.0/run/{kind.lower()}"
    totals = TOTALS if kind == "Stop" else None
    return Published(life, kind, "source.0", "run", 0, key, SOURCE_LIFE, 0, totals=totals)


def evidence():
    """What a chain that has kept all promises leaves behind."""
    handed = handed_over(SOURCE_LIFE, EVENTS)
    lines = [control("Start"), event(0), event(2), event(4), control("Stop")]
    rows = [EFFECT.pack(index + 1, 100 + index, SOURCE_LIFE) for index in (0, 2, 4)]
    name, _ = place_of(lines[1].key)
    effects = {name: rows[0] + bytes(EFFECT.size) + rows[1] + bytes(EFFECT.size) + rows[2]}
    return Evidence({"source": handed}, {"kept": lines}, {"kept": effects})


def lose(found):
    del found.published["kept"][2]


def repeat_in_one_life(found):
    found.published["kept"].insert(2, event(0))


def swap(found):
    lines = found.published["kept"]
    lines[1], lines[2] = lines[2], lines[1]


def invent(found):
    found.published["kept"].insert(2, event(1))


def spoil(found):
    found.published["kept"][1].crc = 7


def forget_the_start(found):
    del found.published["kept"][0]


def say_stop_twice(found):
    found.published["kept"].append(control("Stop"))


def say_stop_too_early(found):
    lines = found.published["kept"]
    lines[3], lines[4] = lines[4], lines[3]


def forget_the_stop(found):
    del found.published["kept"][-1]


def tell_false_totals(found):
    found.published["kept"][-1].totals = TOTALS | {"filtered": 1}


def forget_the_run(found):
    found.published["kept"].clear()


def keep_twice(found):
    (name,) = found.effects["kept"]
    content = found.effects["kept"][name]
    found.effects["kept"][name] = content + content[: EFFECT.size]


def keep_nothing(found):
    found.effects["kept"].clear()


def lose_with_the_source_and_count_wrong(found):
    del found.handed["source"][-1]
    found.published["kept"][-1].totals = TOTALS | {"lost": 2, "missing": [(1, 2)]}


def lose_with_the_source_and_say_nothing(found):
    del found.handed["source"][-1]
    found.published["kept"][-1].totals = TOTALS | {"lost": 1, "missing": [(3, 4)]}
    lose(found)


def lose_with_the_source_and_count_too_few(found):
    del found.handed["source"][-1]
    missing = {"sent": EVENTS - 2, "lost": 1, "lost_at_most": 2, "missing": [(3, 4)]}
    found.published["kept"][-1].totals = TOTALS | missing


BREAKS = {
    lose: "lost",
    repeat_in_one_life: "twice",
    swap: "out of order",
    invent: "too many",
    spoil: "checksum",
    forget_the_start: "begins with Event",
    say_stop_twice: "Stop 2 times",
    say_stop_too_early: "Stop 1 times, at 3",
    forget_the_stop: "no Stop",
    tell_false_totals: "filtered",
    forget_the_run: "not come at all",
    keep_twice: "keeps 1 twice",
    keep_nothing: "keeps 0 events",
    lose_with_the_source_and_say_nothing: "1 lost",
    lose_with_the_source_and_count_too_few: "2 were handed over beyond those",
    lose_with_the_source_and_count_wrong: "counts its losses wrong",
}


def test_kept_promises_are_seen_as_kept():
    verdict = judge(CHAIN, evidence())
    assert verdict.broken == []
    assert verdict.figures["handed over"] == EVENTS


@pytest.mark.parametrize("spoil_it", BREAKS, ids=lambda each: each.__name__)
def test_a_broken_promise_is_seen(spoil_it):
    found = evidence()
    spoil_it(found)
    sentences = judge(CHAIN, found).broken
    assert any(BREAKS[spoil_it] in sentence for sentence in sentences), sentences


def test_what_a_restarted_sink_publishes_again_is_no_broken_promise():
    found = evidence()
    lines = found.published["kept"]
    lines[3:3] = [control("Start", NEXT_LIFE), event(2, NEXT_LIFE)]
    lines[-2:] = [event(4, NEXT_LIFE), control("Stop", NEXT_LIFE)]
    verdict = judge(CHAIN, found)
    assert verdict.broken == []
    assert verdict.figures["published again by kept"] == 1


REPLICATED = TrialChain((*CHAIN.stages[:2], TrialStage("kept", ("thin",), sink=True, replicas=2)))


def spread():
    """What two replicas leave behind, each with Start and Stop and a part of the events."""
    found = evidence()
    found.published["kept"][3:3] = [control("Start", NEXT_LIFE), event(4, NEXT_LIFE)]
    found.published["kept"][5:] = [control("Stop"), control("Stop", NEXT_LIFE)]
    return found


def test_replicas_of_a_sink_share_the_events():
    assert judge(REPLICATED, spread()).broken == []


def test_a_replica_that_publishes_what_another_has_is_seen():
    found = spread()
    found.published["kept"].insert(5, event(2, NEXT_LIFE))
    (sentence,) = judge(REPLICATED, found).broken
    assert "1 came to two replicas: ['source.0/run/2']" in sentence


def test_a_replica_without_a_stop_is_seen():
    found = spread()
    del found.published["kept"][-1]
    (sentence,) = judge(REPLICATED, found).broken
    assert "no Stop for 1" in sentence


def test_parts_and_ways_multiply_what_is_expected():
    chain = TrialChain(
        (
            TrialStage("source"),
            TrialStage("cut", ("source",), parts=2),
            TrialStage("thin", ("source",), keeps=3),
            TrialStage("kept", ("cut", "thin", "source"), sink=True),
        )
    )
    assert chain.expected("source", "kept", 3) == {(0,): 1, (1,): 1, (): 2}
    assert chain.expected("source", "kept", 1) == {(0,): 1, (1,): 1, (): 1}


def test_lines_of_an_account_are_read_as_they_were_written():
    line = event(3)
    assert msgspec.json.decode(msgspec.json.encode(line), type=Published) == line
