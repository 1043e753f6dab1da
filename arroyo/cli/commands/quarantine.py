"""`arroyo quarantine`: shows messages in quarantine, sends them again or drops them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from arroyo.cli.exits import Command, Group
from arroyo.config.reader import find_chain
from arroyo.control.accepted_chain import load_accepted
from arroyo.control.shared_folders import find_folders
from arroyo.errors import UsageError
from arroyo.identifiers import is_name
from arroyo.runner.quarantine.returning import send_back
from arroyo.runner.quarantine.store import Quarantine, QuarantineEntry, outline
from arroyo.supervision.live.running_chain import RunningChain

_REASON_CHARACTERS = 60
_NAMED = 10
"""So many messages are named that nothing is done with."""
_EMPTY = "the quarantine is empty"


@click.group("quarantine", cls=Group)
def command() -> None:
    """Show messages in quarantine, send them again, or drop them.

    The chain may be running or not.
    """


def _subcommand(name: str) -> Callable[[Callable[..., None]], click.Command]:
    return command.command(name, cls=Command)


_CHAIN = click.argument("chain")
_NUMBERS = click.argument("ids", nargs=-1, metavar="[ID]...")
_ALL = click.option("--all", "every", is_flag=True, help="All messages in quarantine.")
_STAGE = click.option(
    "--stage", default="", metavar="STAGE", help="All messages that this stage failed on."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@_subcommand("list")
@_CHAIN
@_JSON
def list_entries(chain: str, as_json: bool) -> None:
    """List the messages in quarantine, oldest first."""
    store = _store(chain)
    waiting, returning = store.entries(), store.requeued()
    if as_json:
        rows = [_row(entry, "quarantined") for entry in waiting]
        rows += [_row(entry, "requeued") for entry in returning]
        click.echo(json.dumps(rows))
        return
    if not waiting and not returning:
        click.echo(_EMPTY)
        return
    click.echo(f"{'ID':<16}  {'WHEN':<19}  {'STAGE':<16}  {'TRIES':>5}  MESSAGE: REASON")
    for entry in waiting:
        click.echo(_line(entry))
    for entry in returning:
        click.echo(f"{_line(entry)} (on its way back)")


@_subcommand("show")
@_CHAIN
@_NUMBERS
@_ALL
@_STAGE
@_JSON
def show_entries(chain: str, ids: Sequence[str], every: bool, stage: str, as_json: bool) -> None:
    """Show messages: metadata, reason and stack; size, type and shape of the payload."""
    store = _store(chain)
    found, left = _select(store, ids, every, stage), _returning(store, every, stage)
    shown = [_row(entry) | _plain(outline(store.message(entry.id))) for entry in found]
    if as_json:
        click.echo(json.dumps(shown))
        return
    for fields in shown:
        stack = fields.pop("stack")
        fields["time"] = _when(fields["time"])
        for name, value in fields.items():
            if value not in ("", []):
                click.echo(f"{name.replace('_', ' ')}: {_in_words(value)}")
        click.echo(f"{stack.rstrip()}\n" if stack else "")
    if left:
        click.echo(f"not shown: {_in_short(left)}; name IDs to see them", err=True)
    elif not shown:
        click.echo(_EMPTY)


@_subcommand("requeue")
@_CHAIN
@_NUMBERS
@_ALL
@_STAGE
def requeue_entries(chain: str, ids: Sequence[str], every: bool, stage: str) -> None:
    """Send messages again, into the stage that failed on them.

    Their source does so within a second, or when the chain runs again; if their run has ended, when
    no other is open. They keep run, sequence and key. The stages get the Start of their run with
    them, so their results go where those of the run are. A message that fails again comes back
    here.
    """
    store = _store(chain)
    done, problems = [], []
    selected, left = _select(store, ids, every, stage), _returning(store, every, stage)
    for returned in send_back(store, _file_of(chain), selected):
        if returned.refusal:
            problems.append(str(returned))
        else:
            done.append(returned.id)
            click.echo(returned)
    if left:
        click.echo(f"already requeued: {_in_short(left)}")
    elif not selected:
        click.echo(_EMPTY)
    _note(chain, "requeue", done)
    if problems:
        raise UsageError("\n".join(problems))


@_subcommand("drop")
@_CHAIN
@_NUMBERS
@_ALL
@_STAGE
def drop_entries(chain: str, ids: Sequence[str], every: bool, stage: str) -> None:
    """Delete messages.

    --all and --stage leave those that are on their way back by `requeue`; their IDs delete these.
    """
    store = _store(chain)
    entries, left = _select(store, ids, every, stage), _returning(store, every, stage)
    for entry in entries:
        store.drop(entry.id)
        click.echo(f"{entry.id} ({entry.key}) is dropped")
    if left:
        it = "it" if len(left) == 1 else "them"
        click.echo(
            f"not dropped: {_in_short(left)}, as somebody has requeued {it}; "
            f"to drop {it} all the same: arroyo quarantine drop {chain} ID..."
        )
    elif not entries:
        click.echo(_EMPTY)
    _note(chain, "drop", [entry.id for entry in entries])


@_subcommand("export")
@_CHAIN
@click.argument("number", metavar="ID")
@click.argument("path", type=click.Path(path_type=Path))
def export_entry(chain: str, number: str, path: Path) -> None:
    """Write one message to PATH, for other programs.

    As an array if PATH ends in .npy or .tif; with all its fields, the payload in base64, if it ends
    in .json.
    """
    from arroyo.cli.output.exporting import export

    store = _store(chain)
    entry = store.find(number)
    export(entry, store.message(number), path)
    click.echo(f"{entry.id} ({entry.key}) is in {path}")


def _file_of(chain: str) -> Path | None:
    """Return the chain file; None: the chain is named, and does not run."""
    try:
        return find_chain(chain)
    except UsageError:
        return None


def _note(chain: str, verb: str, ids: Sequence[str]) -> None:
    """Have the event log of the chain say what was done, if it runs."""
    RunningChain.named(_name(chain), os.environ).note_quarantine(verb, ids)


def _store(chain: str) -> Quarantine:
    return Quarantine(_folder(_name(chain)))


def _name(chain: str) -> str:
    if not is_name(chain) or Path(chain).is_file() or not _folder(chain).is_dir():
        return load_accepted(find_chain(chain)).name
    return chain


def _folder(name: str) -> Path:
    state = find_folders(name, os.environ).state
    if reason := state.folder.hidden():
        raise UsageError(f"can't see the quarantine of chain {name}: {reason}")
    return state.quarantine


def _select(
    store: Quarantine, ids: Sequence[str], every: bool, stage: str
) -> list[QuarantineEntry]:
    if bool(ids) + every + bool(stage) != 1:
        raise UsageError("name the IDs of the messages, or give --stage, or --all for all of them")
    if stage:
        return store.of_stage(stage)
    return store.entries() if every else [store.find(number) for number in dict.fromkeys(ids)]


def _returning(store: Quarantine, every: bool, stage: str) -> list[QuarantineEntry]:
    """Return what ``--all`` and ``--stage`` leave, since it is on its way back."""
    return [entry for entry in store.requeued() if every or entry.stage == stage]


def _in_short(returning: Sequence[QuarantineEntry]) -> str:
    count = len(returning)
    names = ", ".join(entry.id for entry in returning[:_NAMED])
    more = ", ..." if count > _NAMED else ""
    return f"{count} {'message' if count == 1 else 'messages'} on the way back ({names}{more})"


def _row(entry: QuarantineEntry, state: str | None = None) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(entry)
    return row if state is None else {"state": state, **row}


def _line(entry: QuarantineEntry) -> str:
    reason = " ".join(entry.reason.split())
    if len(reason) > _REASON_CHARACTERS:
        reason = f"{reason[: _REASON_CHARACTERS - 1]}…"
    where = f"{entry.stage}.{entry.replica}"
    return (
        f"{entry.id:<16}  {_when(entry.time)}  {where:<16}  {entry.attempts:>5}  "
        f"{entry.key}: {reason}"
    )


def _when(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON would give them back; what it can't hold as Python writes it."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields, enc_hook=repr))
    return plain


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
