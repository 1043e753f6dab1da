"""The verdict on a chain that has ended: which promise did not hold, and the figures. PURE.

Its evidence are the accounts of sources and sinks; see `oracle_stages`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fault.bench import SHOWN, Bench, Run, Verdict
from fault.fold_bench import FoldBench
from fault.oracle_stages import EFFECT


@dataclass
class Evidence:
    """What a chain has left behind."""

    handed: dict
    """`Handed` lines of each source, in the order of writing."""
    published: dict
    """`Published` lines of each sink."""
    effects: dict
    """Files of each idempotent sink, by name: what is in them."""


def judge(chain, evidence):
    """Judge the evidence of a chain that has ended.

    A source that died loses what was under way, and has to say what; all others lose nothing.
    """
    verdict = Verdict()
    for source in chain.sources:
        runs = read_runs(source.name, evidence.handed[source.name])
        verdict.figures["handed over"] += sum(len(run.crcs) for run in runs.values())
        verdict.figures["runs"] += len(runs)
        for sink in chain.sinks:
            lines = evidence.published[sink.name]
            if chain.ways(source.name, sink.name):
                Bench(chain, source, sink, runs, lines, verdict).judge()
            for fold in chain.folds:
                if chain.ways(source.name, fold.name) and chain.ways(fold.name, sink.name):
                    FoldBench(chain, source, sink, runs, lines, verdict, fold=fold).judge()
    for sink in chain.sinks:
        if sink.idempotent:
            _judge_effects(sink, evidence, verdict)
    return verdict


def read_runs(source, lines):
    """Sort a source's account by run: (life, number) to Run."""
    runs = {}
    for line in lines:
        if line.kind == "End":
            for run in runs.values():
                run.ended = run.ended or run.life == line.life
            continue
        run = runs.setdefault((line.life, line.run), Run(source, line.life))
        if line.kind == "Event":
            run.crcs[line.index] = line.crc
        run.closed = run.closed or line.kind == "Stop"
    return runs


def _judge_effects(sink, evidence, verdict):
    """What an idempotent sink has kept: each event that it has published, in one place."""
    places = Counter()
    for name, content in evidence.effects[sink.name].items():
        for index, _, life in EFFECT.iter_unpack(content):
            if index:
                places[name, life, index - 1] += 1
    twice = [key for key, count in places.items() if count > 1]
    verdict.figures["duplicates at idempotent sinks"] += len(twice)
    verdict.require(not twice, f"{sink.name} keeps {len(twice)} twice: {twice[:SHOWN]}")
    events = {line.key for line in evidence.published[sink.name] if line.kind == "Event"}
    # A kill may come between the keeping and the note of it, but then it comes again.
    verdict.require(
        len(events) == len(places),
        f"{sink.name} keeps {len(places)} events, and has published {len(events)}",
    )
