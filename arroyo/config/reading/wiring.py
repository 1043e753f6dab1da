"""The chain made of the tables of a chain file. PURE."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from arroyo.config.graph import Chain, Input, Stage, Supervision
from arroyo.config.schema import StageTable

from .programs import make_program, process_keys
from .rules import (
    DISPATCH,
    ROLES,
    SOURCE_KEYS,
    TARGET,
    broken_rules,
    inputs_of,
    role_keys,
    target_of,
    too_many_paths,
)
from .tables import Tables
from .variables import as_plain

_OnError = Literal["quarantine", "skip", "retry", "crash"]


def wire(tables: Tables, path: Path, problems: list[str]) -> Chain:
    """Make a chain of the tables of the file `path`; broken rules are added to `problems`.

    The chain is whole only if there were no problems. Otherwise it has the stages whose class is
    known, so that these can be checked as well.
    """
    problems.extend(broken_rules(tables))
    chain = Chain(
        name=tables.chain.name,
        folder=path.parent,
        path=path,
        stages={
            name: make_program(name, table) if table.command else _make_stage(name, table)
            for name, table in tables.stages.items()
            if len(role_keys(table)) == 1 and (table.command or TARGET.fullmatch(target_of(table)))
        },
        messages=tuple(tables.chain.messages),
        env=tables.chain.env,
        supervision=Supervision.of(tables.supervisor),
    )
    if not problems:
        problems.extend(too_many_paths(chain))
    return chain


def _make_stage(name: str, table: StageTable) -> Stage:
    dispatch = DISPATCH.fullmatch(table.dispatch)
    on_error, _, retries = table.on_error.partition(":")
    defaults = {key: value for key in SOURCE_KEYS if (value := getattr(table, key)) is not None}
    return Stage(
        name=name,
        role=ROLES[role_keys(table)[0]],
        target=target_of(table),
        options=table.options,
        parameters=as_plain(table.parameters),
        inputs=tuple(Input(source.stage, source.link) for source in inputs_of(table)),
        replicas=table.replicas,
        order=table.order,
        dispatch_key=dispatch[1] if dispatch else None,
        on_error=_on_error(on_error),
        retries=int(retries) if retries.isdecimal() else 0,
        process_timeout_s=float(table.process_timeout_s),
        listen=table.listen,
        **process_keys(table),
        **defaults,
    )


def _on_error(word: str) -> _OnError:
    return next((known for known in get_args(_OnError) if known == word), "quarantine")
