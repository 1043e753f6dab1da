"""What must be true of a finished schedule of the model, whatever went wrong in it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from unit.protocol.model import BrokenPromiseError, Node, World, folds, work_on

from arroyo.codec import Kind, Reason
from arroyo.config.graph import Chain
from arroyo.protocol.source.suspects import DEATHS


def check(world: World, *, last_resorts: bool = False) -> None:
    """Raise BrokenPromiseError for the first promise that does not hold."""
    for node in world.nodes.values():
        if node.stage.role == "listener":
            _require(node.machine.ledger.empty, f"the ledger of {node.name} is not empty")
            _check_source(world, node)
        elif folds(node.stage):
            for source in node.machine.outputs.runs.values():
                _require(source.ledger.empty, f"the ledger of {node.name} is not empty")
            _check_fold(world, node)
    _require(bool(world.fatal) or not world.isolated, "a plain death has put aside a message")
    replicas = max(node.stage.replicas for node in world.nodes.values())
    for item, deaths in world.fatal.items():
        # Other replicas may have it when one dies, and a death may keep one from telling.
        most = DEATHS * replicas + world.untold
        _require(deaths <= most, f"{item} has ended {deaths} processes")
        _require(world.isolated, f"{item} is not in quarantine")
    _require(
        last_resorts or not world.last_resorts, "the source had to send all again as a last resort"
    )


def _check_source(world: World, source: Node) -> None:
    runs = [run for run in world.events[str(source.name)] if run]
    for number, stages in enumerate(ways(world.chain, source.name.stage)):
        sinks = [node for node in world.nodes.values() if node.stage.name == stages[-1]]
        if any(folds(world.chain.stages[name]) for name in stages):
            continue
        if sinks[0].stage.role == "publisher":
            wanted = [outcomes(stages, run) for run in runs]
            for sink in sinks:
                _check_alone(sink, source, number)
            _check_events(sinks, source, number, wanted, world.foul)
            _check_controls(world, sinks, source, number, runs)
    wanted_by_losers = {
        item
        for stages in _all_ways(world.chain, source.name.stage)
        for run in runs
        for item in outcomes(stages, run)
    }
    for node in world.nodes.values():
        for entry in _events(node, source):
            _require(entry[6] in wanted_by_losers, f"{node.name} has invented {entry}")


def _check_events(
    sinks: list[Node], source: Node, path: int, wanted: list[list[Any]], foul: set[Any]
) -> None:
    """Every event at least once, and once only where nobody died."""
    entries = [entry for sink in sinks for entry in _events(sink, source, path)]
    got = Counter(entry[6] for entry in entries)
    for item in itertools.chain(*wanted):
        if item in foul and not got[item]:
            continue  # it has killed a stage on another path
        _require(got[item] > 0, f"{item} has not arrived by path {path}")
        if not any(sink.deaths for sink in sinks):
            _require(got[item] == 1, f"{item} has arrived {got[item]} times by path {path}")
    _require(set(got) <= set(itertools.chain(*wanted)), f"path {path} has more than was sent")
    names: dict[Any, set[str]] = {}
    for entry in entries:
        names.setdefault(entry[2], set()).add(entry[6][:2])
    for run in wanted:
        ours = {item[:2] for item in run}
        of_run = [name for name, items in names.items() if items & ours]
        _require(len(of_run) <= 1, f"one run has the names {of_run}")
        _require(all(names[name] <= ours for name in of_run), f"{of_run} holds foreign events")


def _check_fold(world: World, fold: Node) -> None:
    """Each input is in an output that every sink below has got, and once only without deaths."""
    if not _is_last_fold(world.chain, fold.name.stage):
        return
    inputs, runs = _inputs_of(world, fold)
    last = [way[-1] for way in ways(world.chain, fold.name.stage)]
    for name in dict.fromkeys(last):
        sinks = [node for node in world.nodes.values() if node.stage.name == name]
        entries = [entry for sink in sinks for entry in sink.journal]
        entries = [entry for entry in entries if entry[1].startswith(f"{fold.name.stage}.")]
        events = [entry for entry in entries if entry[0] == Kind.EVENTS]
        got = Counter(leaf for entry in events for leaf in leaves(entry[6]))
        times = last.count(name)
        for item, count in inputs.items():
            _require(got[item] >= count * times, f"{item} has reached {name} {got[item]} times")
        _require(set(got) <= set(inputs), f"{name} has got more than there was")
        if not any(node.deaths for node in world.nodes.values()):
            _require(got.total() == inputs.total() * times, f"{name} has got {got}")
        # What an idempotent sink holds: the last output of each key. An older one never takes the
        # place of a newer one, in which there are other inputs.
        by_key = {entry[1:4] + entry[7:]: entry[6] for entry in events}
        kept = Counter(leaf for item in by_key.values() for leaf in leaves(item))
        _require(set(kept) == set(inputs), f"{name} has {kept} by key, of {inputs}")
        if fold.stage.order == "source":
            # Where the inputs come in one order, the outputs are the same in each life.
            _require(kept == inputs, f"{name} has {kept} by key, of {inputs}")
        for sink in sinks:
            starts = {entry[2] for entry in sink.journal if _is(entry, Kind.START, fold)}
            stops = {entry[2] for entry in sink.journal if _is(entry, Kind.STOP, fold)}
            _require(len(starts) == runs, f"{sink.name} has got {starts}, not {runs} Starts")
            _require(starts <= stops, f"{sink.name} has got no Stop of {starts - stops}")
        _check_fold_totals(fold, [entry for sink in sinks for entry in sink.journal])


def _check_fold_totals(fold: Node, entries: list[Any]) -> None:
    """Each Stop counts the outputs of its run, whichever life of the fold has given them out."""
    for stop in entries:
        if _is(stop, Kind.STOP, fold):
            same_run = [each for each in entries if each[:3] == (Kind.EVENTS, *stop[1:3])]
            outputs = {each[7] for each in same_run}
            totals = stop[6][2]
            _require(totals["sent"] == len(outputs), f"{totals} of {fold.name} for {outputs}")


def _inputs_of(world: World, fold: Node) -> tuple[Counter[Any], int]:
    """Everything that the replicas of a fold have to get, and of how many runs with a Start."""
    inputs: Counter[Any] = Counter()
    runs = 0
    for source in world.nodes.values():
        if source.stage.role != "listener":
            continue
        ways_here = list(_ways_to(world.chain, source.name.stage, fold.name.stage))
        starts = [each for each in world.scripts[str(source.name)] if each.kind == Kind.START]
        runs += len(starts) if ways_here else 0
        for way, run in itertools.product(ways_here, world.events[str(source.name)]):
            inputs.update(outcomes(way, run))
    return inputs, runs


def leaves(item: Any) -> list[Any]:
    """What was folded into an item."""
    if item[0] != "fold":
        return [item]
    return [leaf for each in item[1] for leaf in leaves(each)]


def _is_last_fold(chain: Chain, stage: str) -> bool:
    return not any(folds(chain.stages[name]) for way in ways(chain, stage) for name in way[1:])


def _ways_to(chain: Chain, stage: str, end: str) -> Iterator[list[str]]:
    """Stages along each way from `stage` to `end`, itself left out; through folds as well."""
    below = [each.name for each, link in chain.downstream(stage) if link == "push-pull"]
    for name in below:
        if name == end:
            yield [stage]
        else:
            yield from ([stage, *way] for way in _ways_to(chain, name, end))


def _check_alone(sink: Node, source: Node, path: int) -> None:
    """What one replica that never died has seen, in its order."""
    if sink.deaths:
        return
    entries = _events(sink, source, path)
    if sink.stage.order == "source":
        places = [(entry[4], entry[5]) for entry in entries]
        _require(places == sorted(places), f"{sink.name} has got {places} out of order")
    seen = Counter((entry[2], entry[4], entry[5]) for entry in entries)
    _require(max(seen.values(), default=1) == 1, f"{sink.name} has finished one thing twice")


def _check_controls(
    world: World, sinks: list[Node], source: Node, path: int, runs: list[list[Any]]
) -> None:
    """Each replica has got Start and Stop of each run, with true totals."""
    started = [intake for intake in world.scripts[str(source.name)] if intake.kind == Kind.START]
    stopped = [intake for intake in world.scripts[str(source.name)] if intake.kind == Kind.STOP]
    for sink in sinks:
        starts = {entry[2] for entry in sink.journal if _is(entry, Kind.START, source)}
        stops = {entry[2]: entry for entry in sink.journal if _is(entry, Kind.STOP, source)}
        _require(len(starts) == len(started), f"{sink.name} has got {len(starts)} Starts")
        _require(starts <= set(stops), f"{sink.name} has got no Stop of {starts - set(stops)}")
        _require(len(stops) >= len(stopped), f"{sink.name} has got {len(stops)} Stops")
        for entry in stops.values():
            _check_totals(world, source, entry, runs)


def _check_totals(world: World, source: Node, stop: Any, runs: list[list[Any]]) -> None:
    totals = stop[6][2]
    mentioned = {
        entry[6][:2]
        for node in world.nodes.values()
        for entry in _events(node, source)
        if entry[2] == stop[2]
    }
    for run in runs:
        if mentioned & set(run):
            _require(totals["sent"] == len(run), f"{totals} of {run}")
            foul = len(world.foul.intersection(run))
            _require(totals["quarantined"] == foul, f"{totals}, though {foul} were fatal")
            for reason, name in ((Reason.FILTERED, "filtered"), (Reason.SKIPPED, "skipped")):
                buried = sum(
                    reason
                    in {_end_of(stages, item) for stages in ways(world.chain, source.name.stage)}
                    for item in run
                )
                _require(totals[name] == buried, f"{totals}, though {buried} were {name}")


def _end_of(stages: list[str], item: Any) -> Reason | None:
    """Why a message ended whole on a way; None if it or parts of it came through."""
    items = [item]
    for stage in stages[1:]:
        if len(items) != 1 and stage != stages[1]:
            return None
        items, reason = work_on(stage, items[0])
        if not items:
            return Reason.FILTERED if reason is None else reason
        if len(items) > 1:
            return None
    return None


def outcomes(stages: list[str], items: list[Any]) -> list[Any]:
    """What a sink at the end of `stages` publishes of `items`."""
    for stage in stages[1:]:
        if not stage.startswith("fold"):
            items = [result for item in items for result in work_on(stage, item)[0]]
    return items


def ways(chain: Chain, stage: str) -> Iterator[list[str]]:
    """Stages along each path from `stage`, in the order of the paths' numbers."""
    below = [each.name for each, link in chain.downstream(stage) if link == "push-pull"]
    if not below:
        yield [stage]
    for name in below:
        for way in ways(chain, name):
            yield [stage, *way]


def _all_ways(chain: Chain, stage: str) -> Iterator[list[str]]:
    if not chain.downstream(stage):
        yield [stage]
    for below, _ in chain.downstream(stage):
        for way in _all_ways(chain, below.name):
            yield [stage, *way]


def _events(node: Node, source: Node, path: int | None = None) -> list[Any]:
    return [
        entry
        for entry in node.journal
        if _is(entry, Kind.EVENTS, source) and (path is None or entry[3] == path)
    ]


def _is(entry: Any, kind: Kind, source: Node) -> bool:
    return bool(entry[0] == kind and entry[1] == str(source.name))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenPromiseError(otherwise)
