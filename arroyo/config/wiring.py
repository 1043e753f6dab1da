"""The rules of a chain: which tables together make one that can run. PURE.

Each rule is one function that yields what breaks it, each a sentence that begins with its place.
Rules don't build on one another, so one mistake is reported once and hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

from arroyo.identifiers import NAME_RULE, is_name

from .addresses import Listen
from .graph import Chain, Input, Role, Stage, Supervision
from .schema import InputTable, StageTable, SupervisorTable
from .suggestions import did_you_mean
from .tables import Tables

MAX_PATHS = 1024
"""Ways from one source to its sinks; every one costs a bit of the source's ledger."""

_ROLES: tuple[Role, ...] = get_args(Role)
_SOURCE_KEYS = ("window", "window_bytes", "when_full", "delivery")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_DISPATCH = re.compile(r"balanced|key:(.+)")
_ON_ERROR = re.compile(r"quarantine|skip|crash|retry:([1-9]\d{0,3})")

_OnError = Literal["quarantine", "skip", "retry", "crash"]


def wire(tables: Tables, path: Path, problems: list[str]) -> Chain:
    """Put the tables of the file `path` together; broken rules are added to `problems`.

    The chain is whole only when there were no problems; else it has the stages whose class is
    known, so that those can be looked at as well.
    """
    for rule in _RULES:
        problems.extend(rule(tables))
    chain = Chain(
        name=tables.chain.name,
        folder=path.parent,
        path=path,
        stages={
            name: _make_stage(name, table)
            for name, table in tables.stages.items()
            if len(_roles(table)) == 1 and _TARGET.fullmatch(_target(table))
        },
        messages=tuple(tables.chain.messages),
        env=tables.chain.env,
        supervision=_make_supervision(tables.supervisor),
    )
    if not problems:
        problems.extend(_path_rule(chain))
    return chain


def _name_rule(tables: Tables) -> Iterator[str]:
    if tables.chain.name and not is_name(tables.chain.name):
        yield f"chain.name: found {tables.chain.name!r}; {NAME_RULE}"
    for name in tables.stages:
        if not is_name(name):
            yield f"stages.{name}: {NAME_RULE}"
    for index, target in enumerate(tables.chain.messages):
        if not _TARGET.fullmatch(target):
            yield f"chain.messages[{index}]: found {target!r}, expected 'module:Class'"


def _role_rule(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        roles = _roles(table)
        if len(roles) > 1:
            yield f"stages.{name}: found {' and '.join(roles)}, expected one of them"
        elif not roles and name not in tables.damaged:
            yield (
                f"stages.{name}: what is it? expected a key {_ROLES[0]}, {_ROLES[1]} or "
                f"{_ROLES[2]} with its 'module:Class'"
            )
        for role in roles:
            if not _TARGET.fullmatch(getattr(table, role)):
                yield (
                    f"stages.{name}.{role}: found {getattr(table, role)!r}, expected 'module:Class'"
                )
    roles_found = {role for table in tables.stages.values() for role in _roles(table)}
    if tables.stages and not tables.damaged and "listener" not in roles_found:
        yield "stages: none of them is a listener, so nothing would ever come in"


def _input_rule(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        place = f"stages.{name}.inputs"
        if _is_source(table) and table.inputs:
            yield f"{place}: a listener has no inputs; it receives from the outside"
        if not table.inputs and _is_below(table) and name not in tables.damaged:
            yield f"{place}: {name} has none; name the stages that it gets its messages from"
        seen: set[str] = set()
        for index, source in enumerate(_inputs(table)):
            yield from (
                f"{place}[{index}]: {problem}"
                for problem in _input_problems(source.stage, name, seen, tables)
            )
            seen.add(source.stage)


def _input_problems(source: str, stage: str, seen: set[str], tables: Tables) -> Iterator[str]:
    above = tables.stages.get(source)
    if not source:
        return  # said already: the key is missing
    if source == stage:
        yield f"{stage} takes itself as an input"
    elif above is None:
        others = [name for name in tables.stages if name != stage]
        yield f"there is no stage {source!r}{did_you_mean(source, others)}"
    elif above.publisher is not None:
        yield f"{source} is a publisher, and nothing comes out of one; take what it takes"
    if source in seen:
        yield f"{source} is an input already"


def _loop_rule(tables: Tables) -> Iterator[str]:
    """Name every loop once: walk up the inputs, depth first."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> Iterator[str]:
        if name in way:
            loop = way[way.index(name) :]
            if len(loop) > 1:  # a stage that takes itself is named by the input rule
                yield (
                    f"stages.{loop[0]}.inputs: the chain runs in a loop: "
                    f"{' → '.join([loop[0], *reversed(loop)])}"
                )
        elif name not in done and name in tables.stages:
            for source in _inputs(tables.stages[name]):
                yield from walk(source.stage, [*way, name])
            done.add(name)

    for name in tables.stages:
        yield from walk(name, [])


def _stage_rules(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        yield from (f"stages.{name}.{problem}" for problem in _key_problems(table))
        if table.replicas > 1:
            yield from (f"stages.{name}.{problem}" for problem in _replica_problems(table))


def _key_problems(table: StageTable) -> Iterator[str]:
    if not _DISPATCH.fullmatch(table.dispatch):
        yield f"dispatch: found {table.dispatch!r}, expected 'balanced' or 'key:FIELD'"
    if not _ON_ERROR.fullmatch(table.on_error):
        yield (
            f"on_error: found {table.on_error!r}, "
            "expected 'quarantine', 'retry:N', 'skip' or 'crash'"
        )
    if _is_source(table) and table.order != "any":
        yield "order: a listener has no inputs that could be put in order"
    if _is_source(table) and table.dispatch != "balanced":
        yield "dispatch: a listener has no inputs that could be shared out"
    if _is_below(table):
        for key in _SOURCE_KEYS:
            if getattr(table, key) is not None:
                yield f"{key}: only a listener has one; set it there"


def _replica_problems(table: StageTable) -> Iterator[str]:
    if table.order == "source":
        yield 'replicas: order = "source" needs one replica, or each would wait for the others'
    for source in _inputs(table):
        if source.link == "pub-sub":
            yield (
                f"replicas: the pub-sub link from {source.stage} gives every replica each "
                "message, so the work would be done more than once; use one replica or push-pull"
            )


def _dispatch_rule(tables: Tables) -> Iterator[str]:
    """One key goes with each message, so all that take it are dispatched by the same."""
    fields: dict[str, tuple[str, str]] = {}
    for name, table in tables.stages.items():
        field = table.dispatch.partition(":")[2]
        for source in _inputs(table) if field else ():
            first, other = fields.setdefault(source.stage, (name, field))
            if other != field and source.link == "push-pull":
                yield (
                    f"stages.{name}.dispatch: found the key {field!r}, but {first}, which takes "
                    f"{source.stage} too, has {other!r}; stages with a common input need one key"
                )


def _listen_rule(tables: Tables) -> Iterator[str]:
    taken: list[tuple[str, Listen]] = []
    for name, table in tables.stages.items():
        if table.listen is None:
            continue
        try:
            taken.append((name, Listen.parse(table.listen, table.replicas)))
        except ValueError as error:
            yield f"stages.{name}.listen: {error}"
    for (first, one), (second, other) in combinations(taken, 2):
        if port := one.first_common_port(other):
            yield (
                f"stages.{second}.listen: port {port} is stage {first}'s already; a stage "
                "takes two ports for each replica, upwards from the one in its address"
            )


def _path_rule(chain: Chain) -> Iterator[str]:
    """Count the ways down push-pull links, from the sinks up (`levels` is in that order)."""
    ways: dict[str, int] = {}
    for level in reversed(chain.levels):
        for stage in level:
            below = [to.name for to, link in chain.downstream(stage.name) if link == "push-pull"]
            ways[stage.name] = sum(ways[name] for name in below) or 1
    for stage in chain.levels[0]:
        if ways[stage.name] > MAX_PATHS:
            yield (
                f"stages.{stage.name}: there are {ways[stage.name]} ways from it to the ends of "
                f"the chain, expected {MAX_PATHS} at most; join stages, or use pub-sub links"
            )


def _make_stage(name: str, table: StageTable) -> Stage:
    dispatch = _DISPATCH.fullmatch(table.dispatch)
    on_error, _, retries = table.on_error.partition(":")
    defaults = {key: value for key in _SOURCE_KEYS if (value := getattr(table, key)) is not None}
    return Stage(
        name=name,
        role=_roles(table)[0],
        target=_target(table),
        options=table.options,
        inputs=tuple(Input(source.stage, source.link) for source in _inputs(table)),
        replicas=table.replicas,
        order=table.order,
        dispatch_key=dispatch[1] if dispatch else None,
        on_error=_on_error(on_error),
        retries=int(retries) if retries.isdecimal() else 0,
        restart=table.restart,
        backoff_s=float(table.backoff_s),
        process_timeout_s=float(table.process_timeout_s),
        start_timeout_s=float(table.start_timeout_s),
        cpus=tuple(table.cpus),
        nice=table.nice,
        env=table.env,
        listen=table.listen,
        **defaults,
    )


def _on_error(word: str) -> _OnError:
    return next((known for known in get_args(_OnError) if known == word), "quarantine")


def _make_supervision(table: SupervisorTable) -> Supervision:
    return Supervision(
        max_restarts=table.max_restarts,
        within_s=float(table.within_s),
        chain_max_restarts=table.chain_max_restarts,
        stop_timeout_s=float(table.stop_timeout_s),
        on_failed=table.on_failed,
    )


def _inputs(table: StageTable) -> list[InputTable]:
    return [InputTable(found) if isinstance(found, str) else found for found in table.inputs]


def _roles(table: StageTable) -> list[Role]:
    return [role for role in _ROLES if getattr(table, role) is not None]


def _target(table: StageTable) -> str:
    return str(getattr(table, _roles(table)[0]))


def _is_source(table: StageTable) -> bool:
    return _roles(table) == ["listener"]


def _is_below(table: StageTable) -> bool:
    return _roles(table) in (["operator"], ["publisher"])


_RULES = (
    _name_rule,
    _role_rule,
    _input_rule,
    _loop_rule,
    _stage_rules,
    _dispatch_rule,
    _listen_rule,
)
