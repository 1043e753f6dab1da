"""`FoldBench`: judges what one sink has got of the outputs of one fold. PURE.

Where the inputs come in one order, each is in the output of one key. Where they do not, a fold
that died may give out other outputs of the same inputs: each is in one at least.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from fault.bench import SHOWN, Bench


class FoldBench(Bench):
    """Judges by what was folded into the outputs; parameters as those of `Bench`, and `fold`."""

    def __init__(self, *account, fold):
        self.fold = fold
        super().__init__(*account)
        self.place = f"{self.sink.name} from {fold.name}"
        above = [each for each in self.chain.sources if self.chain.ways(each.name, fold.name)]
        if len(above) > 1:
            # A sink sees the fold as the origin of the runs of all of them.
            lives = {run.life for run in self.runs.values()}
            self.by_run = {
                name: lines
                for name, lines in self.by_run.items()
                if any(line.source_life in lives for line in lines)
            }

    @property
    def origin(self):
        return self.fold.name

    @staticmethod
    def of_source(totals):
        return totals["inputs"]

    def judge_lives(self, name, lines):
        for replica, own in by_replica(lines).items():
            super().judge_lives(f"{name} of {replica}", own)

    def judge_events(self, name, run, events, totals):
        self.verdict.figures["outputs of folds"] += len({line.key for line in events})
        wrong = [
            index
            for line in events
            for index, crc in (*line.inputs, (line.index, line.crc))
            if run.crcs.get(index, crc) != crc
        ]
        self.require(not wrong, f"run {name}: wrong checksum at {wrong[:SHOWN]}")
        contents = defaultdict(set)
        for line in events:
            contents[line.key].add(line.inputs)
        outputs = [inputs for versions in contents.values() for inputs in versions]
        got = Counter(index for inputs in outputs for index, _ in inputs)
        wanted = {index for index in run.crcs if self.reaches_fold(index)}
        lost = [(index,) for index in wanted - got.keys()]
        if not run.ended:
            lost = self.leave_out_named(name, run, lost, totals)
        self.verdict.figures["lost"] += len(lost)
        self.require(not lost, f"run {name}: {len(lost)} in no output: {sorted(lost)[:SHOWN]}")
        latest = max(run.crcs, default=-1) + (not run.ended)
        more = got.keys() - wanted - ({latest} if not run.ended else set())
        self.require(not more, f"run {name}: {len(more)} too many: {sorted(more)[:SHOWN]}")
        if self.fold.ordered:
            twice = [index for index, count in got.items() if count > 1]
            self.verdict.figures["folded twice"] += len(twice)
            self.require(
                not twice, f"run {name}: {len(twice)} in two outputs: {sorted(twice)[:SHOWN]}"
            )

    def reaches_fold(self, index):
        return bool(self.chain.expected(self.source.name, self.fold.name, index))

    def judge_totals(self, name, run, lines, events):
        replicas = by_replica(lines)
        self.require(
            len(replicas) == self.fold.replicas, f"run {name} comes from {sorted(replicas)} alone"
        )
        for replica, own in replicas.items():
            events = [line for line in own if line.kind == "Event"]
            super().judge_totals(f"{name} of {replica}", run, own, events)
            outputs = len({line.key for line in events})
            sent = {line.totals["sent"] for line in own if line.kind == "Stop"}
            self.require(
                sent <= {outputs}, f"run {name} of {replica} has sent {sent}, not {outputs} outputs"
            )

    def judge_counts(self, name, run, totals):
        super().judge_counts(name, run, self.of_source(totals))

    def judge_losses(self, name, totals, events):
        self.count_missing(name, self.of_source(totals))


def by_replica(lines):
    """Lines of each replica of the fold, by its name."""
    found = defaultdict(list)
    for line in lines:
        found[line.source].append(line)
    return found
