"""`Bench`: judges what one sink has got of one source. PURE."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from run_totals import totals_of

SHOWN = 5
"""Examples that a broken promise names."""


@dataclass
class Run:
    """What a source says of one run."""

    source: str
    life: int
    crcs: dict = field(default_factory=dict)
    closed: bool = False
    """The listener has said Stop."""
    ended: bool = False
    """The source's life came to an orderly end, at some time."""


@dataclass
class Verdict:
    """Broken promises, each a sentence; and figures for people."""

    broken: list = field(default_factory=list)
    figures: Counter = field(default_factory=Counter)

    def require(self, holds, sentence):
        if not holds:
            self.broken.append(sentence)


class Bench:
    """Judges what one sink has got of one source."""

    def __init__(self, chain, source, sink, runs, lines, verdict):
        self.chain, self.source, self.sink = chain, source, sink
        self.runs, self.verdict = runs, verdict
        self.place = f"{sink.name} from {source.name}"
        self.lines = [line for line in lines if line.source.partition(".")[0] == self.origin]
        self.by_run = defaultdict(list)
        for line in self.lines:
            self.by_run[line.run].append(line)

    @property
    def origin(self):
        """Stage that the messages come from, as the sink sees it."""
        return self.source.name

    def judge(self):
        self.judge_sharing()
        seen = set()
        for name, lines in self.by_run.items():
            labels = {
                (line.source_life, line.source_run) for line in lines if line.source_life != 0
            }
            self.require(len(labels) <= 1, f"run {name} mixes {labels}")
            events = [line for line in lines if line.kind == "Event"]
            if not labels:
                continue  # a Start or Stop that a dying source has left
            label = labels.pop()
            seen.add(label)
            run = self.runs.get(label) or Run(self.source.name, label[0])
            self.judge_lives(name, lines)
            totals = [line.totals for line in lines if line.kind == "Stop"]
            self.judge_events(name, run, events, self.of_source(totals[-1]) if totals else None)
            self.judge_totals(name, run, lines, events)
        for label, run in self.runs.items():
            self.require(
                label in seen or not (run.closed and run.ended),
                f"run {label[1]} of life {label[0]} has not come at all",
            )

    def require(self, holds, sentence):
        self.verdict.require(holds, f"{self.place}: {sentence}")

    @staticmethod
    def of_source(totals):
        """What a Stop's totals say of the source's messages."""
        return totals

    def judge_sharing(self):
        """What one replica of the sink has published, another does not while that one lives."""
        spans = {}
        for place, line in enumerate(self.lines):
            spans[line.life] = (spans.get(line.life, (place,))[0], place)
        latest, both = {}, []
        for line in self.lines:
            former = latest.setdefault(line.key, line.life) if line.kind == "Event" else line.life
            if former != line.life:
                latest[line.key] = line.life
                if spans[former][1] > spans[line.life][0]:
                    both.append(line.key)
        self.require(not both, f"{len(both)} came to two replicas: {both[:SHOWN]}")

    def judge_lives(self, name, lines):
        """In each life of the sink: Start first and once, Stop last and at most once."""
        lives = defaultdict(list)
        for line in lines:
            lives[line.life].append(line)
        for life, own in lives.items():
            kinds = [line.kind for line in own]
            self.require(
                kinds[0] == "Start" and kinds.count("Start") == 1,
                f"run {name} in life {life} begins with {kinds[0]}, "
                f"and has Start {kinds.count('Start')} times",
            )
            self.require(
                kinds.count("Stop") <= 1 and "Stop" not in kinds[:-1],
                f"run {name} in life {life} has Stop {kinds.count('Stop')} times, "
                f"at {kinds.index('Stop') if 'Stop' in kinds else -1} of {len(kinds)}",
            )
            # What a fold gave out in a former life has the same key, but another epoch.
            again = Counter(
                (line.epoch, line.index, line.parts, line.path)
                for line in own
                if line.kind == "Event"
            )
            twice = [key for key, count in again.items() if count > 1]
            self.require(
                not twice,
                f"run {name}: {len(twice)} came twice in life {life}: {twice[:SHOWN]}",
            )

    def judge_events(self, name, run, events, totals):
        got = defaultdict(set)
        deliveries = Counter()
        wrong = []
        for line in events:
            got[line.index, line.parts].add(line.path)
            deliveries[line.key] += 1
            if run.crcs.get(line.index, line.crc) != line.crc:
                wrong.append(line.index)
        again = sum(deliveries.values()) - len(deliveries)
        self.verdict.figures["published"] += len(events)
        self.verdict.figures[f"published again by {self.sink.name}"] += again
        self.require(not wrong, f"run {name}: wrong checksum at {wrong[:SHOWN]}")
        wanted = {
            (index, parts): ways
            for index in run.crcs
            for parts, ways in self.chain.expected(self.source.name, self.sink.name, index).items()
        }
        lost = [key for key, ways in wanted.items() if len(got.get(key, ())) < ways]
        if not run.ended:
            lost = self.leave_out_named(name, run, lost, totals)
        self.verdict.figures["lost"] += len(lost)
        self.require(not lost, f"run {name}: {len(lost)} lost: {sorted(lost)[:SHOWN]}")
        # A source that died may have handed over one more than it has noted.
        latest = max(run.crcs, default=-1) + (not run.ended)
        more = [
            key
            for key, paths in got.items()
            if len(paths) > wanted.get(key, 0) and not (key[0] == latest and not run.ended)
        ]
        self.require(not more, f"run {name}: {len(more)} too many: {sorted(more)[:SHOWN]}")
        if self.sink.ordered:
            self.judge_order(name, events)

    def leave_out_named(self, name, run, lost, totals):
        """What is lost with a source, but is neither named as missing nor after all that is."""
        if totals is None:
            return lost
        first = min(run.crcs)
        missing = {
            first + number
            for start, end in totals.get("missing", ())
            for number in range(start, end)
        }
        uncounted = sum(index >= first + totals["sent"] for index in run.crcs)
        self.verdict.figures["handed to a dying source and not counted"] += uncounted
        unseen = totals.get("lost_at_most", totals["lost"]) - totals["lost"]
        self.require(
            uncounted <= unseen,
            f"run {name}: {uncounted} were handed over beyond those that are counted, "
            f"of {unseen} at most",
        )
        return [key for key in lost if key[0] not in missing and key[0] < first + totals["sent"]]

    def judge_order(self, name, events):
        """In the order of the source: within each life, and in what came for the first time."""
        latest = defaultdict(lambda: -1)
        known = set()
        wrong = []
        for line in events:
            key = (line.index, line.parts, line.path)
            orders = [line.life] if key in known else [line.life, "first"]
            known.add(key)
            for order in orders:
                if line.index < latest[order]:
                    wrong.append((latest[order], line.index))
                latest[order] = line.index
        self.verdict.figures["out of order"] += len(wrong)
        self.require(not wrong, f"run {name}: {len(wrong)} out of order: {sorted(wrong)[:SHOWN]}")

    def judge_totals(self, name, run, lines, events):
        stops = [line.totals for line in lines if line.kind == "Stop"]
        lives = {line.life for line in lines if line.kind == "Stop"}
        if len(lives) < self.sink.replicas:
            self.require(False, f"run {name} has no Stop for {self.sink.replicas - len(lives)}")
            return
        totals = stops[-1]
        self.require(
            all(other == totals for other in stops), f"run {name} has Stops that differ: {stops}"
        )
        if run.ended:
            self.judge_counts(name, run, totals)
        else:
            self.judge_losses(name, totals, events)

    def judge_counts(self, name, run, totals):
        """A run whose source did not die: nothing is missing, and all is counted."""
        filtered = [self.chain.filtered(self.source.name, index) for index in run.crcs]
        told = totals_of(
            len(run.crcs),
            filtered=totals["filtered"] if None in filtered else sum(filtered),
            complete=run.closed,
        )
        wrong = {word: totals.get(word) for word in told if totals.get(word) != told[word]}
        self.require(
            not wrong,
            f"run {name} has totals {wrong} instead of { {word: told[word] for word in wrong} }",
        )

    def judge_losses(self, name, totals, events):
        """A run whose source died: what did not come has to be named."""
        self.count_missing(name, totals)
        came = {
            int(line.key.rpartition("/")[2].partition(".")[0].partition("@")[0]) for line in events
        }
        numbers = set(range(totals["sent"]))
        self.require(came <= numbers, f"run {name} has more than {totals['sent']} sent")

    def count_missing(self, name, totals):
        missing = {
            number for first, end in totals.get("missing", ()) for number in range(first, end)
        }
        self.require(
            totals["lost"] == len(missing), f"run {name} counts its losses wrong: {totals}"
        )
        self.verdict.figures["named as lost"] += len(missing)
