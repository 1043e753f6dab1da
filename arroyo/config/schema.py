"""chain.toml as msgspec Structs: every key, its type, default and meaning, declared once.

These are the tables as they are written. `graph` holds what they mean, `reader` goes from one
to the other. PURE: no file is read here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Link = Literal["push-pull", "pub-sub"]
Order = Literal["any", "source"]
Restart = Literal["on-failure", "always", "never"]
WhenFull = Literal["block", "drop-newest", "drop-oldest"]
Delivery = Literal["reliable", "best-effort"]
OnFailed = Literal["hold", "stop-chain"]

Duration = float | str
"""Seconds, or text with a unit: ``"250 ms"``, ``"5 s"``, ``"2 min"``, ``"1 h"``."""

DurationOrZero = Annotated[float | str, Meta(description="0: no limit")]
"""A `Duration`, or 0 for no limit."""

Size = int | str
"""Bytes, or text with a unit: ``"64 KiB"``, ``"256 MiB"``, ``"2 GiB"``, ``"1 MB"``."""


class InputTable(msgspec.Struct, forbid_unknown_fields=True):
    """One input of a stage, where it says more than the name of the stage above."""

    stage: str
    link: Link = "push-pull"


class ChainTable(msgspec.Struct, forbid_unknown_fields=True):
    """``[chain]``: what concerns all stages."""

    name: str
    messages: list[str] = []
    """Users' own message types, each ``module:Class``."""
    env: dict[str, str] = {}
    """Environment of every stage, on top of the supervisor's."""


class SupervisorTable(msgspec.Struct, forbid_unknown_fields=True):
    """``[supervisor]``: how the chain is watched."""

    max_restarts: Annotated[int, Meta(ge=0)] = 5
    """More unexpected ends of one replica within `within_s` make it FAILED."""
    within_s: Duration = 60.0
    chain_max_restarts: Annotated[int, Meta(ge=0)] = 20
    """The same for all replicas together."""
    stop_timeout_s: Duration = 30.0
    """One deadline for the whole chain to drain and stop."""
    on_failed: OnFailed = "hold"
    """``hold`` leaves the rest running, ``stop-chain`` stops it."""


class StageTable(msgspec.Struct, forbid_unknown_fields=True):
    """``[stages.NAME]``: one stage. Exactly one of listener, operator, publisher."""

    listener: str | None = None
    operator: str | None = None
    publisher: str | None = None
    options: dict[str, Any] = {}
    """Arguments of the class's constructor."""
    inputs: list[str | InputTable] = []
    replicas: Annotated[int, Meta(ge=1, le=1024)] = 1
    order: Order = "any"
    dispatch: str = "balanced"
    """``balanced``, or ``key:FIELD``: same value of that metadata field, same replica."""
    on_error: str = "quarantine"
    """What a raising `process()` leads to: ``quarantine``, ``retry:N`` (then quarantine),
    ``skip`` or ``crash``."""
    restart: Restart = "on-failure"
    backoff_s: Duration = 0.5
    """First wait after the restart at once; doubles up to 30 s."""
    process_timeout_s: DurationOrZero = 30.0
    """With one message in `process()` or `publish()` for longer, a supervised stage is taken for
    hung: its stack is noted down, and it is started again. 0: never."""
    start_timeout_s: Duration = 60.0
    cpus: list[Annotated[int, Meta(ge=0)]] = []
    """Processors the stage may use; numerical libraries get as many threads."""
    nice: Annotated[int, Meta(ge=-20, le=19)] = 0
    env: dict[str, str] = {}
    listen: str | None = None
    """``tcp://host:port`` of the stage's sockets; default: ipc in the run directory."""
    window: Annotated[int, Meta(ge=1)] | None = None
    """Sources only: messages that may be under way at once (65,536)."""
    window_bytes: Size | None = None
    """Sources only: payload bytes that may be under way at once (256 MiB)."""
    when_full: WhenFull | None = None
    """Sources only: what `process()` does when the window is full (``block``)."""
    delivery: Delivery | None = None
    """Sources only: ``best-effort`` counts and names what is lost instead of sending it again
    (``reliable``)."""


class ChainFile(msgspec.Struct, forbid_unknown_fields=True):
    """A whole chain.toml."""

    chain: ChainTable
    stages: dict[str, StageTable]
    supervisor: SupervisorTable = msgspec.field(default_factory=SupervisorTable)
