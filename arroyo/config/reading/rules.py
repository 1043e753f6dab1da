"""The rules of a chain. PURE.

Each rule is a function that yields a sentence, beginning with its place, for each mistake. Rules
don't depend on each other, so one mistake is reported once and hides no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from arroyo.config.graph import Chain, Hook, Role
from arroyo.config.http_address import HttpAddress
from arroyo.config.listen import Listen
from arroyo.config.parameters import parameter_problems
from arroyo.config.schema import InputTable, StageTable
from arroyo.config.suggestions import did_you_mean
from arroyo.identifiers import NAME_RULE, is_name

from .programs import program_problems
from .tables import Tables

MAX_PATHS = 1024
"""Most paths from one source to its sinks: each costs a bit in every entry of the ledger."""

ROLES: dict[str, Role] = {
    **{"listener": "listener", "operator": "operator", "publisher": "publisher"},
    "command": "program",
}
"""The keys that say what a stage is, and its role by each."""
SOURCE_KEYS = ("window", "window_bytes", "when_full", "delivery")
TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
DISPATCH = re.compile(r"balanced|key:(.+)")
_ON_ERROR = re.compile(r"quarantine|skip|crash|retry:([1-9]\d{0,3})")


def broken_rules(tables: Tables) -> Iterator[str]:
    """Yield a sentence for each mistake in the tables of a chain file."""
    for rule in _RULES:
        yield from rule(tables)


def _name_rule(tables: Tables) -> Iterator[str]:
    if tables.chain.name and not is_name(tables.chain.name):
        yield f"chain.name: found {tables.chain.name!r}; {NAME_RULE}"
    for name in tables.stages:
        if not is_name(name):
            yield f"stages.{name}: {NAME_RULE}"
    for index, target in enumerate(tables.chain.messages):
        if not TARGET.fullmatch(target):
            yield f"chain.messages[{index}]: found {target!r}, expected {_as_target(target)}"


def _role_rule(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        keys = role_keys(table)
        if len(keys) > 1:
            yield f"stages.{name}: found {' and '.join(keys)}, expected one of them"
        elif not keys and name not in tables.damaged:
            yield (
                f"stages.{name}: found no role; add a key listener, operator or publisher with "
                "'module:Class', or command with a program"
            )
        for key in keys:
            found = getattr(table, key)
            if key != "command" and not TARGET.fullmatch(found):
                yield f"stages.{name}.{key}: found {found!r}, expected {_as_target(found)}"
    keys_found = {key for table in tables.stages.values() for key in role_keys(table)}
    if tables.stages and not tables.damaged and "listener" not in keys_found:
        yield "stages: found no listener, so no message would ever come in; add one"


def _as_target(found: str) -> str:
    """Say what is expected in place of a text that does not name a class."""
    module, _, name = found.partition(":") if ":" in found else found.rpartition(".")
    module = module.removesuffix(".py").strip("./").replace("/", ".")
    meant = f"{module}:{name.removesuffix('()')}"
    is_meant = TARGET.fullmatch(meant) and not found.endswith(".py")
    return "'module:Class'" + (f"; did you mean {meant!r}?" if is_meant else "")


def _input_rule(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        place = f"stages.{name}.inputs"
        if _is_source(table) and table.inputs:
            yield f"{place}: a listener has no inputs; it receives from the outside"
        if not table.inputs and _is_below(table) and name not in tables.damaged:
            yield f"{place}: found none; name the stages from which {name} gets its messages"
        seen: set[str] = set()
        for index, source in enumerate(inputs_of(table)):
            yield from (
                f"{place}[{index}]: {problem}"
                for problem in _input_problems(source.stage, name, seen, tables)
            )
            seen.add(source.stage)


def _input_problems(source: str, stage: str, seen: set[str], tables: Tables) -> Iterator[str]:
    above = tables.stages.get(source)
    if not source and stage in tables.damaged:
        return  # the missing key was reported
    if source == stage:
        yield f"{stage} is its own input; name another stage"
    elif above is None:
        others = [name for name in tables.stages if name != stage]
        yield f"there is no stage {source!r}{did_you_mean(source, others)}"
    elif above.publisher is not None:
        yield (
            f"{source} is a publisher, which has no output; name the inputs of {source} instead, "
            f"or its class under operator = if that is an Operator"
        )
    elif above.command is not None:
        yield f"{source} is a program, which sends no messages; a listener can read what it offers"
    if source in seen:
        yield f"{source} is named twice; leave one out"


def _loop_rule(tables: Tables) -> Iterator[str]:
    """Report every loop once: walk up the inputs, depth first."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> Iterator[str]:
        if name in path:
            loop = path[path.index(name) :]
            if len(loop) > 1:  # a stage that takes itself is named by the input rule
                yield (
                    f"stages.{loop[0]}.inputs: the chain runs in a loop: "
                    f"{' → '.join([loop[0], *reversed(loop)])}"
                )
        elif name not in done and name in tables.stages:
            for source in inputs_of(tables.stages[name]):
                yield from walk(source.stage, [*path, name])
            done.add(name)

    for name in tables.stages:
        yield from walk(name, [])


def _stage_rules(tables: Tables) -> Iterator[str]:
    for name, table in tables.stages.items():
        of_program = program_problems(table, damaged=name in tables.damaged)
        yield from (f"stages.{name}.{problem}" for problem in of_program)
        yield from (f"stages.{name}.{problem}" for problem in _key_problems(table))
        if table.replicas > 1:
            yield from (f"stages.{name}.{problem}" for problem in _replica_problems(table))


def _key_problems(table: StageTable) -> Iterator[str]:
    yield from parameter_problems(table.parameters)
    if not DISPATCH.fullmatch(table.dispatch):
        yield f"dispatch: found {table.dispatch!r}, expected 'balanced' or 'key:FIELD'"
    if not _ON_ERROR.fullmatch(table.on_error):
        yield (
            f"on_error: found {table.on_error!r}, "
            "expected 'quarantine', 'retry:N', 'skip' or 'crash'"
        )
    if _is_source(table) and table.order != "any":
        yield "order: a listener has no inputs to order; set it on a stage below"
    if _is_source(table) and table.dispatch != "balanced":
        yield "dispatch: a listener has no inputs to share out; set it on a stage below"
    if _is_below(table):
        for key in SOURCE_KEYS:
            if getattr(table, key) is not None:
                yield f"{key}: only a listener has this key; set it there"


def _replica_problems(table: StageTable) -> Iterator[str]:
    if table.order == "source":
        yield 'replicas: order = "source" needs one replica, or each would wait for the others'
    for source in inputs_of(table):
        if source.link == "pub-sub":
            yield (
                f"replicas: the pub-sub link from {source.stage} gives every replica each "
                "message, so the work would be done more than once; use one replica or push-pull"
            )


def _dispatch_rule(tables: Tables) -> Iterator[str]:
    """A message carries one dispatch key, so all stages that take it need the same."""
    fields: dict[str, tuple[str, str]] = {}
    for name, table in tables.stages.items():
        field = table.dispatch.partition(":")[2]
        for source in inputs_of(table) if field else ():
            first, other = fields.setdefault(source.stage, (name, field))
            if other != field and source.link == "push-pull":
                yield (
                    f"stages.{name}.dispatch: found the key {field!r}, but {first}, which "
                    f"takes {source.stage} too, has {other!r}; use the same key for both"
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
                f"stages.{second}.listen: port {port} belongs to stage {first}; a stage takes "
                "two ports for each replica, upwards from the one in its address"
            )


def _http_rule(tables: Tables) -> Iterator[str]:
    try:
        if tables.supervisor.http is not None:
            HttpAddress.parse(tables.supervisor.http)
    except ValueError as error:
        yield f"supervisor.http: {error}"


def _hook_rule(tables: Tables) -> Iterator[str]:
    found = tables.supervisor.on_event
    command = None if found is None else Hook.of(found).command
    if command is not None and not "".join(command[:1]):
        yield "supervisor.on_event: found no program, expected one and its arguments as a list"
    elif command is not None and any("\0" in word for word in command):
        yield "supervisor.on_event: found a zero byte, which no program's argument can have"


def _env_rule(tables: Tables) -> Iterator[str]:
    places = {"chain.env": tables.chain.env}
    places |= {f"stages.{name}.env": table.env for name, table in tables.stages.items()}
    for place, variables in places.items():
        for name, value in variables.items():
            if not name or "=" in name or "\0" in name:
                yield f"{place}: found {name!r}, expected the name of a variable, without a '='"
            elif "\0" in value:
                yield f"{place}.{name}: found a zero byte, which no variable can have"


def too_many_paths(chain: Chain) -> Iterator[str]:
    """Yield a sentence for each source with too many paths over push-pull links."""
    # Counted from the sinks up.
    ways: dict[str, int] = {}
    for level in reversed(chain.levels):
        for stage in level:
            below = [to.name for to, link in chain.downstream(stage.name) if link == "push-pull"]
            ways[stage.name] = sum(ways[name] for name in below) or 1
    for stage in chain.levels[0]:
        if ways[stage.name] > MAX_PATHS:
            yield (
                f"stages.{stage.name}: found {ways[stage.name]} paths from it to the ends of the "
                f"chain, expected {MAX_PATHS} at most; join stages, or use pub-sub links"
            )


def inputs_of(table: StageTable) -> list[InputTable]:
    """Return the entries of `inputs`, all as tables."""
    return [InputTable(found) if isinstance(found, str) else found for found in table.inputs]


def role_keys(table: StageTable) -> list[str]:
    """Return the keys that say what a stage is; exactly one, where the rules are kept."""
    return [key for key in ROLES if getattr(table, key) is not None]


def target_of(table: StageTable) -> str:
    """Return the value of the first of these keys."""
    return str(getattr(table, role_keys(table)[0]))


def _is_source(table: StageTable) -> bool:
    return role_keys(table) == ["listener"]


def _is_below(table: StageTable) -> bool:
    return role_keys(table) in (["operator"], ["publisher"])


_RULES = (
    _name_rule,
    _role_rule,
    _input_rule,
    _loop_rule,
    _stage_rules,
    _dispatch_rule,
    _listen_rule,
    _hook_rule,
    _env_rule,
    _http_rule,
)
