"""chain.toml as msgspec Structs: every key with its type, default and meaning, declared once.

These are the tables as they are written; `graph` holds what they mean, and `reader` goes from one
to the other. The descriptions end up in the JSON Schema, where editors show them, and in the page
CHAIN_FILE.md. PURE: no file is read here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .event_names import EventName

Link = Literal["push-pull", "pub-sub"]
Order = Literal["any", "source"]
Restart = Literal["on-failure", "always", "never"]
WhenFull = Literal["block", "drop-newest", "drop-oldest"]
Delivery = Literal["reliable", "best-effort"]
OnFailed = Literal["hold", "stop-chain", "exit"]

Duration = float | str
"""Seconds, or text with a unit: ``"250 ms"``, ``"5 s"``, ``"2 min"``, ``"1 h"``."""

ZERO_IS_NO_LIMIT = {"zero": "no limit"}
"""In `Meta.extra` of a `Duration` that may be 0."""

Size = int | str
"""Bytes, or text with a unit: ``"64 KiB"``, ``"256 MiB"``, ``"2 GiB"``, ``"1 MB"``."""


class InputTable(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of `inputs`, where it says more than the name of the stage above."""

    stage: Annotated[str, Meta(description="Name of the stage above.")]
    link: Annotated[
        Link,
        Meta(
            description="push-pull: each message goes to one replica, nothing is lost. "
            "pub-sub: each replica gets a copy; a slow one loses messages, which are counted, "
            "and never slows the stage above."
        ),
    ] = "push-pull"


class ChainTable(msgspec.Struct, forbid_unknown_fields=True):
    """Settings for all stages."""

    name: Annotated[str, Meta(description="Name of the chain. One chain of a name runs at a time.")]
    messages: Annotated[
        list[str], Meta(description="Message types of your own, each `module:Class`.")
    ] = []
    env: Annotated[
        dict[str, str],
        Meta(description="Environment variables of every stage, added to the supervisor's."),
    ] = {}


class OnEventTable(msgspec.Struct, forbid_unknown_fields=True):
    """`on_event`, where it says more than the program."""

    command: Annotated[
        list[str],
        Meta(description="The program and its arguments; it gets the event as JSON on stdin."),
    ]
    events: Annotated[
        list[EventName],
        Meta(description="For which events it runs; by default for all that are no INFO."),
    ] = []


class SupervisorTable(msgspec.Struct, forbid_unknown_fields=True):
    """How the chain is watched."""

    max_restarts: Annotated[
        int,
        Meta(
            ge=0,
            description="A replica that ends unexpectedly more often than this within `within_s` "
            "is FAILED.",
        ),
    ] = 5
    within_s: Annotated[Duration, Meta(description="The time over which restarts are counted.")] = (
        60.0
    )
    chain_max_restarts: Annotated[
        int, Meta(ge=0, description="The same limit for all replicas of the chain together.")
    ] = 20
    stop_timeout_s: Annotated[
        Duration,
        Meta(description="Time for the whole chain to drain and stop; what is left is killed."),
    ] = 30.0
    on_failed: Annotated[
        OnFailed,
        Meta(
            description="What follows when a replica is FAILED: hold leaves the rest running, "
            "stop-chain drains the chain and ends it, exit ends it at once, for systemd or a "
            "container to start it anew."
        ),
    ] = "hold"
    on_event: Annotated[
        list[str] | OnEventTable | None,
        Meta(
            description="Program that is run when something has happened, to page somebody: it "
            "and its arguments as a list, or a table. It gets the event as JSON on stdin, and has "
            "30 s; the chain waits for nothing."
        ),
    ] = None
    http: Annotated[
        str | None,
        Meta(
            description="Address at which metrics for Prometheus are served while the chain runs, "
            "such as `127.0.0.1:9464`; needs the extra `metrics`."
        ),
    ] = None


class ReadyTable(msgspec.Struct, forbid_unknown_fields=True):
    """How a program is known to be ready that does not say so; exactly one of these."""

    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="The program is ready when something listens on this TCP port."),
    ] = None
    log: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="The program is ready when it has printed a line with this text."),
    ] = None


class StageTable(msgspec.Struct, forbid_unknown_fields=True):
    """One stage. It has exactly one of listener, operator, publisher, command."""

    listener: Annotated[
        str | None,
        Meta(description="The stage is a listener of this class, `module:Class`."),
    ] = None
    operator: Annotated[
        str | None,
        Meta(description="The stage is an operator of this class, `module:Class`."),
    ] = None
    publisher: Annotated[
        str | None,
        Meta(description="The stage is a publisher of this class, `module:Class`."),
    ] = None
    command: Annotated[
        list[str] | None,
        Meta(
            description="The stage is this program, with its arguments; no shell is used. It runs "
            "as long as the other stages do."
        ),
    ] = None
    ready: Annotated[
        Literal["notify"] | ReadyTable | None,
        Meta(
            description="Programs only: how it is known to be ready. A table with `port` or `log`; "
            "notify: it says READY=1 itself (sd_notify). By default it is as soon as it runs."
        ),
    ] = None
    options: Annotated[
        dict[str, Any],
        Meta(
            description="Arguments of the class's constructor. Relative paths mean the chain "
            "file's folder."
        ),
    ] = {}
    parameters: Annotated[
        dict[str, Any],
        Meta(
            description="Values that `arroyo set` can change while the chain runs: attributes of "
            "the class, or what its `set_parameters()` takes."
        ),
    ] = {}
    inputs: Annotated[
        list[str | InputTable],
        Meta(description="The stages above, by name or as a table. Not for listeners."),
    ] = []
    replicas: Annotated[
        int, Meta(ge=1, le=1024, description="Number of processes that share the stage's work.")
    ] = 1
    order: Annotated[
        Order,
        Meta(
            description="any: messages are taken as they come. source: in the order in which "
            "their source sent them, whatever the replicas above did."
        ),
    ] = "any"
    dispatch: Annotated[
        str,
        Meta(
            description="How messages are shared out among replicas: `balanced`, or `key:FIELD`: "
            "the same value of that metadata field goes to the same replica."
        ),
    ] = "balanced"
    on_error: Annotated[
        str,
        Meta(
            description="What happens to a message when `process()` or `publish()` raises: "
            "`quarantine`, `retry:N` (then quarantine), `skip`, or `crash`."
        ),
    ] = "quarantine"
    restart: Annotated[
        Restart, Meta(description="When the supervisor starts a process again after it ended.")
    ] = "on-failure"
    backoff_s: Annotated[
        Duration,
        Meta(
            description="The first restart is immediate; the second waits this long, and the "
            "wait doubles up to 30 s."
        ),
    ] = 0.5
    process_timeout_s: Annotated[
        Duration,
        Meta(
            description="A stage with one message in `process()` or `publish()` for longer than "
            "this is hung: its stacks are saved and it is restarted. 0: no limit.",
            extra=ZERO_IS_NO_LIMIT,
        ),
    ] = 30.0
    start_timeout_s: Annotated[
        Duration,
        Meta(description="A process that is not READY after this time has failed to start."),
    ] = 60.0
    cpus: Annotated[
        list[Annotated[int, Meta(ge=0)]],
        Meta(
            description="Processors that the stage may use. Numerical libraries get as many "
            "threads."
        ),
    ] = []
    nice: Annotated[
        int, Meta(ge=-20, le=19, description="Scheduling priority; 19 yields to everybody.")
    ] = 0
    memory_max_bytes: Annotated[
        Size | None,
        Meta(
            description="A process with more memory of its own than this is killed, and started "
            "again by `restart`. Payloads in shared memory do not count."
        ),
    ] = None
    open_files: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(description="Number of files and sockets that a process may have open."),
    ] = None
    env: Annotated[
        dict[str, str],
        Meta(description="Environment variables of this stage, added to the chain's."),
    ] = {}
    listen: Annotated[
        str | None,
        Meta(
            description="Address of the stage's sockets, `tcp://host:port`. By default they are "
            "unix sockets in the run directory."
        ),
    ] = None
    window: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Listeners only: number of messages in flight at once; `process()` waits "
            "when it is reached. Default 65,536."
        ),
    ] = None
    window_bytes: Annotated[
        Size | None,
        Meta(description="Listeners only: the same in bytes. Default 256 MiB."),
    ] = None
    when_full: Annotated[
        WhenFull | None,
        Meta(
            description="Listeners only: what `process()` does when the window is full. block "
            "(default) waits; drop-newest and drop-oldest lose messages, which are counted."
        ),
    ] = None
    delivery: Annotated[
        Delivery | None,
        Meta(
            description="Listeners only: reliable (default) redelivers what was lost; "
            "best-effort counts it as lost."
        ),
    ] = None


class ChainFile(msgspec.Struct, forbid_unknown_fields=True):
    """A whole chain.toml."""

    chain: ChainTable
    stages: Annotated[
        dict[str, StageTable], Meta(description="The stages, each a table `[stages.NAME]`.")
    ]
    supervisor: SupervisorTable = msgspec.field(default_factory=SupervisorTable)


def render_schema() -> str:
    """Return the JSON Schema of chain.toml, readable, the same on each call."""
    schema = msgspec.json.schema(ChainFile)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
