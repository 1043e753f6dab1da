"""Small chains that between them have every feature of the link protocol."""

from __future__ import annotations

from unit.protocol.model import chain, listener, operator, publisher

TOPOLOGIES = {
    "linear": chain(listener("src"), operator("pass", "src"), publisher("out", "pass")),
    "direct": chain(listener("src"), publisher("out", "src")),
    "replicas": chain(
        listener("src"),
        operator("pass", "src", replicas=3),
        operator("filter", "pass", replicas=2),
        publisher("out", "filter"),
    ),
    "filters": chain(
        listener("src"),
        operator("filter", "src", replicas=2),
        operator("skip", "filter"),
        publisher("skip_out", "skip"),
    ),
    "fan-out": chain(
        listener("src"),
        operator("filter", "src", replicas=2),
        publisher("out1", "filter"),
        publisher("out2", "filter"),
        publisher("out3", "src"),
    ),
    "diamond": chain(
        listener("src"),
        operator("filter", "src"),
        operator("split", "src", replicas=2),
        publisher("out", "filter", "split"),
    ),
    "deep diamond": chain(
        listener("src"),
        operator("pass1", "src"),
        operator("pass2", "src"),
        operator("skip", "pass1", "pass2", replicas=2),
        publisher("out1", "skip"),
        publisher("out2", "skip", "src"),
    ),
    "two sources": chain(
        listener("src1"),
        listener("src2", replicas=2),
        operator("filter", "src1", "src2", replicas=2),
        publisher("out", "filter"),
    ),
    "replicated sinks": chain(
        listener("src"),
        operator("split", "src", replicas=2),
        publisher("out", "split", replicas=2),
    ),
    "by key": chain(
        listener("src"),
        operator("split", "src", replicas=2),
        operator("pass", "split", replicas=2, dispatch_key="k"),
        publisher("out", "pass", replicas=3, dispatch_key="k"),
    ),
    "nested splits": chain(
        listener("src"),
        operator("split1", "src"),
        operator("split2", "split1", replicas=2),
        operator("sieve", "split2"),
        publisher("out", "sieve"),
    ),
    "ordered sink": chain(
        listener("src"),
        operator("split", "src", replicas=3),
        operator("skip", "split"),
        publisher("out", "skip", order="source"),
        publisher("other", "src"),
    ),
    "ordered operator": chain(
        listener("src"),
        operator("filter", "src", replicas=2),
        operator("pass", "filter", order="source"),
        operator("split", "pass", replicas=2),
        publisher("out", "split", order="source"),
    ),
    "ordered diamond": chain(
        listener("src"),
        operator("pass", "src", replicas=2),
        operator("filter", "src", replicas=2),
        publisher("out", "pass", "filter", order="source"),
    ),
    "fold": chain(listener("src"), operator("fold", "src"), publisher("out", "fold")),
    "ordered fold": chain(
        listener("src"),
        operator("pass", "src", replicas=2),
        operator("fold", "pass", order="source"),
        publisher("out", "fold"),
    ),
    "fold replicas": chain(
        listener("src"),
        operator("split", "src", replicas=2),
        operator("fold", "split", replicas=2),
        operator("pass", "fold", replicas=2),
        publisher("out", "pass"),
        publisher("other", "split"),
    ),
    "fold above replicas": chain(
        listener("src"),
        operator("pass", "src", replicas=2),
        operator("fold", "pass"),
        operator("later", "fold", replicas=3),
        publisher("out", "later"),
    ),
    "folds in a row": chain(
        listener("src"),
        operator("fold1", "src"),
        operator("pass", "fold1"),
        operator("fold2", "pass"),
        publisher("out", "fold2"),
        publisher("live", "~fold1"),
    ),
    "three folds": chain(
        listener("src"),
        operator("fold1", "src"),
        operator("fold2", "fold1"),
        operator("fold3", "fold2"),
        publisher("out", "fold3"),
    ),
    "fold diamond": chain(
        listener("src"),
        operator("pass", "src"),
        operator("filter", "src", replicas=2),
        operator("fold", "pass", "filter"),
        publisher("out1", "fold"),
        publisher("out2", "fold", order="source"),
        publisher("other", "pass"),
    ),
    "fold of two sources": chain(
        listener("src1"),
        listener("src2", replicas=2),
        operator("fold_some", "src1", "src2"),
        publisher("out", "fold_some", replicas=2),
    ),
    "fatal": chain(listener("src"), operator("fatal", "src"), publisher("out", "fatal")),
    "fatal replicas": chain(
        listener("src"),
        operator("pass", "src", replicas=2),
        operator("fatal", "pass", replicas=2),
        operator("split", "fatal"),
        publisher("out", "split", order="source"),
        publisher("other", "pass"),
    ),
    "fatal parts": chain(
        listener("src"),
        operator("split", "src", replicas=2),
        publisher("fatal_out", "split"),
    ),
    "pub-sub": chain(
        listener("src"),
        operator("filter", "src", replicas=2),
        publisher("out", "filter"),
        operator("split", "~filter", replicas=2),
        publisher("live", "split"),
        publisher("live2", "~src"),
    ),
    "all pub-sub": chain(listener("src", replicas=2), publisher("live", "~src")),
}

OVERLAPPING = chain(
    listener("src1"),
    listener("src2", replicas=2),
    operator("fold1", "src1", "src2"),
    operator("fold2", "fold1"),
    operator("fold_total", "fold2"),
    publisher("out", "fold_total"),
)
"""Runs that overlap, and a fold without a bound, of which a death may lose what it holds."""

SCRIPTS = ("S123T", "321", "S22TS13T", "S21S11T2T", "S2TT12", "S31", "2S22T1", "ST", "11T11TS1T1")
