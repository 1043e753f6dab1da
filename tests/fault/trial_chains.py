"""Chains to be tried, and what must reach each of their sinks. PURE."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import chains

ONE_RUN = 1_000_000_000
"""More events than a campaign can have."""
NO_BACKOFF_S = 1e-30
"""Still nothing after all the doublings: a trial is no crash loop."""


@dataclass(frozen=True)
class TrialStage:
    """A stage of `oracle_stages`, with what it does to the events that pass it."""

    name: str
    inputs: tuple[str, ...] = ()
    replicas: int = 1
    keeps: int = 1
    """An operator keeps each so-many-th event."""
    parts: int = 1
    """An operator makes so many of each event."""
    folds: int = 0
    """An operator makes one output of so many events, which nothing below filters or cuts."""
    sink: bool = False
    idempotent: bool = True
    replayable: bool = False
    """A source begins again with what was not acknowledged, and has one run."""
    ordered: bool = False
    sleep_s: float = 0.0
    spin_s: float = 0.0


@dataclass(frozen=True)
class TrialChain:
    """Stages from the sources down."""

    stages: tuple[TrialStage, ...]

    @property
    def sources(self):
        return [stage for stage in self.stages if not stage.inputs]

    @property
    def sinks(self):
        return [stage for stage in self.stages if stage.sink]

    @property
    def folds(self):
        return [stage for stage in self.stages if stage.folds]

    @property
    def below_sources(self):
        """Names of all operators and sinks."""
        return [stage.name for stage in self.stages if stage.inputs]

    def ways(self, source, sink):
        """All ways from a source to a sink, each as the operators on it.

        A fold ends the ways from above, and is a source to what is below.
        """
        by_name = {stage.name: stage for stage in self.stages}

        def above(name):
            if name == source:
                yield ()
            for each in by_name[name].inputs:
                for way in above(each):
                    yield (*way, by_name[name])

        ways = [way[:-1] for way in above(sink)]
        return [way for way in ways if not any(stage.folds for stage in way)]

    def expected(self, source, sink, index):
        """Parts of an event that a sink must get: by how many ways."""
        wanted = Counter()
        for way in self.ways(source, sink):
            if all(index % stage.keeps == 0 for stage in way):
                parts = [range(stage.parts) for stage in way if stage.parts > 1]
                wanted.update(itertools.product(*parts))
        return wanted

    def filtered(self, source, index):
        """Whether an event ends on some way; None where it is cut in parts, which nobody counts."""
        ends = [*self.sinks, *self.folds]
        ways = [way for end in ends for way in self.ways(source, end.name)]
        if any(stage.parts > 1 for way in ways for stage in way):
            return None
        return any(index % stage.keeps for way in ways for stage in way)

    def tables(self, *, size_bytes, events, runs, rate_hz, timeout_s, window, on_error):
        """Write the tables of the chain file."""
        return "".join(
            self._table(stage, size_bytes, events, runs, rate_hz, timeout_s, window, on_error)
            for stage in self.stages
        )

    @staticmethod
    def _table(stage, size_bytes, events, runs, rate_hz, timeout_s, window, on_error):
        keys = f"backoff_s = {NO_BACKOFF_S}\n"
        if not stage.inputs:
            if stage.replayable:
                events, runs = ONE_RUN, 1
            runs = {} if runs is None else {"runs": runs}
            return chains.listener(
                stage.name,
                f"oracle_stages:{'Replayable' * stage.replayable}Source",
                keys=f"{keys}window = {window}",
                path=f"{stage.name}.handed",
                size_bytes=size_bytes,
                events=events,
                rate_hz=rate_hz,
                **runs,
            )
        keys += f"replicas = {stage.replicas}\nprocess_timeout_s = {timeout_s}\n"
        keys += f'on_error = "{on_error}"'
        if stage.ordered:
            keys += '\norder = "source"'
        inputs = list(stage.inputs)
        if stage.sink:
            kind = "IdempotentSink" if stage.idempotent else "Sink"
            return chains.publisher(
                stage.name,
                inputs,
                f"oracle_stages:{kind}",
                keys=keys,
                name=stage.name,
                path=f"{stage.name}.published",
            )
        if stage.folds:
            return chains.operator(
                stage.name,
                "oracle_stages:Fold",
                inputs,
                keys=keys,
                name=stage.name,
                inputs=stage.folds,
            )
        return chains.operator(
            stage.name,
            "oracle_stages:Work",
            inputs,
            keys=keys,
            name=stage.name,
            keeps=stage.keeps,
            parts=stage.parts,
            sleep_s=stage.sleep_s,
            spin_s=stage.spin_s,
        )


def _chain(*stages):
    return TrialChain(stages)


def _sink(name, *inputs, **settings):
    return TrialStage(name, inputs, sink=True, **settings)


TRIAL_CHAINS = {
    "line": _chain(
        TrialStage("source"), TrialStage("work", ("source",)), _sink("kept", "work", ordered=True)
    ),
    "branching": _chain(
        TrialStage("source"),
        TrialStage("work", ("source",), replicas=2),
        TrialStage("thin", ("work",), keeps=3),
        _sink("kept", "thin", ordered=True),
        _sink("told", "work", idempotent=False, ordered=True),
    ),
    "replayable": _chain(
        TrialStage("source", replayable=True),
        TrialStage("work", ("source",), replicas=2),
        TrialStage("thin", ("work",), keeps=3),
        _sink("kept", "thin", ordered=True),
        _sink("told", "work", idempotent=False, ordered=True),
    ),
    "fan-out": _chain(
        TrialStage("source"),
        TrialStage("work", ("source",), replicas=2, spin_s=0.0001),
        _sink("first", "work"),
        _sink("second", "work", idempotent=False),
        _sink("third", "source", ordered=True),
    ),
    "diamond": _chain(
        TrialStage("source"),
        TrialStage("left", ("source",), sleep_s=0.0001),
        TrialStage("right", ("source",), replicas=2, keeps=2),
        TrialStage("join", ("left", "right"), replicas=2),
        _sink("kept", "join", "source"),
    ),
    "split": _chain(
        TrialStage("source"),
        TrialStage("cut", ("source",), replicas=2, parts=3),
        TrialStage("thin", ("cut",), replicas=2, keeps=4),
        TrialStage("again", ("thin",), parts=2),
        _sink("kept", "again", ordered=True),
        _sink("told", "cut", idempotent=False),
    ),
    "fold": _chain(
        TrialStage("source"),
        TrialStage("work", ("source",), replicas=2, keeps=2),
        TrialStage("fold", ("work",), folds=5, ordered=True),
        TrialStage("more", ("fold",), replicas=2),
        _sink("kept", "more"),
        _sink("told", "work", idempotent=False, ordered=True),
    ),
    "replicated-fold": _chain(
        TrialStage("source"),
        TrialStage("work", ("source",), replicas=2),
        TrialStage("fold", ("work",), folds=5, replicas=2),
        TrialStage("more", ("fold",)),
        _sink("told", "more", idempotent=False),
        _sink("kept", "source", ordered=True),
    ),
    "replicated-sinks": _chain(
        TrialStage("source"),
        TrialStage("work", ("source",), replicas=2, keeps=2),
        _sink("kept", "work", replicas=3),
        _sink("told", "source", replicas=2, idempotent=False),
    ),
    "two-sources": _chain(
        TrialStage("left"),
        TrialStage("right"),
        TrialStage("work", ("left", "right"), replicas=2, keeps=2),
        _sink("kept", "work", ordered=True),
    ),
    "two-sources-fold": _chain(
        TrialStage("left"),
        TrialStage("right"),
        TrialStage("fold", ("left", "right"), folds=5),
        _sink("kept", "fold"),
    ),
}
